package namespace

import (
	"slices"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// overlay is what the leader has proposed and not yet applied. With the applied state beneath it, it is the state that
// the next request is checked against. Evaluator.mu guards it. A value stays until the entry that proposed it last is
// applied, so the order in which applied entries are noticed does not matter: an earlier one finds a later sequence
// and leaves the value alone.
type overlay struct {
	base    inodestore.Reader
	dirs    map[dfs.InodeID]map[string]pendingInode
	records map[recordKey]pendingRecord
	absent  *absence
}

// pendingInode is a proposed value (nil: deleted), and the entry that proposed it last.
type pendingInode struct {
	inode    *inodestore.Inode
	sequence uint64
}

// pendingRecord is the same for a record.
type pendingRecord struct {
	value    []byte // nil: deleted
	sequence uint64
}

type recordKey struct {
	table inodestore.Table
	key   string
}

// newOverlay begins with nothing proposed. base is the store of the machine: Reader's calls are safe beside Apply.
func newOverlay(base inodestore.Reader) *overlay {
	return &overlay{base: base, dirs: map[dfs.InodeID]map[string]pendingInode{}, records: map[recordKey]pendingRecord{},
		absent: newAbsence()}
}

// Child is the entry as it will be. It asks what is proposed first: the applied state may be changing at this moment, but
// only in what some entry under way has proposed, and all of that is here until it is applied. So the base needs no lock.
func (o *overlay) Child(parent dfs.InodeID, name string) (*inodestore.Inode, error) {
	names := o.dirs[parent]
	if p, ok := names[name]; ok {
		return p.inode, nil
	}
	if o.absent.absent(parent, name) {
		return nil, nil
	}
	n, err := o.base.Child(parent, name)
	if n == nil && err == nil {
		err = o.absent.missed(o.base, parent, names)
	}
	return n, err
}

// record is a record as it will be; the argument of Child holds for it too. The value must not be changed.
func (o *overlay) record(t inodestore.Table, key []byte) ([]byte, error) {
	if p, ok := o.records[recordKey{t, string(key)}]; ok {
		return p.value, nil
	}
	return o.base.Record(t, key)
}

// openWrites lists what a session has begun to write and is not applied yet.
// It looks through all that is pending, which the bounds of batches keep small. Ids are in ascending order, so that
// equal states make equal entries.
func (o *overlay) openWrites(id dfs.SessionID) []dfs.InodeID {
	var out []dfs.InodeID
	for k, p := range o.records {
		if w, err := decodeOpenWrite(p.value); k.table == inodestore.TableOpenWrite && p.value != nil && err == nil && w.session == id {
			out = append(out, dfs.InodeID(keyID([]byte(k.key))))
		}
	}
	slices.Sort(out)
	return out
}

// hasChildren tells whether a directory will have entries. It costs as much as there are pending entries of dir, and
// one applied entry, or as many as are about to be deleted.
// The base is listed without Machine's lock; the argument of Child holds for each entry of it.
func (o *overlay) hasChildren(dir dfs.InodeID) (bool, error) {
	names := o.dirs[dir]
	for _, p := range names {
		if p.inode != nil {
			return true, nil
		}
	}
	found := false
	err := o.base.List(dir, "", func(n *inodestore.Inode) bool {
		_, deleted := names[n.Name]
		found = !deleted
		return !found
	})
	return found, err
}

// note records one effect of entry sequence.
// Later effects of the same key replace earlier ones, of whatever entry. Answers are not noted here: pending mutations
// have a table of their own.
func (o *overlay) note(e *effect, sequence uint64) {
	switch e.kind {
	case effectPutInode:
		o.put(e.inode.Parent, e.inode.Name, pendingInode{e.inode, sequence})
		o.absent.put(e.inode.Parent, e.inode.Name)
	case effectDeleteInode:
		o.put(e.parent, e.name, pendingInode{nil, sequence})
	case effectPutRecord:
		o.records[recordKey{e.table, string(e.key)}] = pendingRecord{e.value, sequence}
	case effectDeleteRecord:
		o.records[recordKey{e.table, string(e.key)}] = pendingRecord{nil, sequence}
	}
}

// put sets what an entry of a directory will be.
func (o *overlay) put(parent dfs.InodeID, name string, p pendingInode) {
	names := o.dirs[parent]
	if names == nil {
		names = map[string]pendingInode{}
		o.dirs[parent] = names
	}
	names[name] = p
}

// forget drops what entry sequence proposed, now that it is applied, unless a later entry proposed it again.
func (o *overlay) forget(e *effect, sequence uint64) {
	switch e.kind {
	case effectPutInode:
		o.drop(e.inode.Parent, e.inode.Name, sequence)
	case effectDeleteInode:
		o.drop(e.parent, e.name, sequence)
	case effectPutRecord, effectDeleteRecord:
		k := recordKey{e.table, string(e.key)}
		if o.records[k].sequence == sequence {
			delete(o.records, k)
		}
	}
}

// drop is forget for one entry of a directory; a directory with nothing pending takes no memory.
func (o *overlay) drop(parent dfs.InodeID, name string, sequence uint64) {
	names := o.dirs[parent]
	if names[name].sequence != sequence {
		return
	}
	delete(names, name)
	if len(names) == 0 {
		delete(o.dirs, parent)
	}
}
