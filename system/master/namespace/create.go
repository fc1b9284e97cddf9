package namespace

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// Outcome is what a mutation tells besides success.
// In a replay all that is known is the ticket's answer; the caller finds the inode by its id, or says what it can.
type Outcome struct {
	Ticket *Ticket
	Inode  *inodestore.Inode // the inode made or changed, as proposed; nil in a replay
}

// Answer is the compact answer that the session remembers.
// It is valid at once in a replay, and otherwise once Wait has returned without an error.
func (t *Ticket) Answer() (id dfs.InodeID, version uint32, count int64) {
	return t.answer.inode, t.answer.version, t.answer.count
}

// Create makes a file that is being written, or begins a new version of one with overwrite. The file can be found at
// once and read once it is complete; until then its length and version are those of the version before. AlreadyExists
// without overwrite, IsDirectory with; InvalidArgument for numbers out of range and for write types that the mount
// cannot keep.
func (e *Evaluator) Create(ctx context.Context, r Request, p dfs.Path, op *proto.CreateFile) (Outcome, error) {
	const what = "create"
	if op.BlockSize != 0 && (op.BlockSize < minBlockSizeBytes || op.BlockSize > maxBlockSizeBytes || op.BlockSize%dfs.PageSizeBytes != 0) {
		return Outcome{}, dfs.Errorf(dfs.InvalidArgument, what, string(p), "block size %d: want a multiple of 1 MiB between 1 MiB and 4 GiB", op.BlockSize)
	}
	if p.IsRoot() {
		return Outcome{}, dfs.Errorf(dfs.IsDirectory, what, string(p), "the root is a directory")
	}
	if err := checkCreate(op, p); err != nil {
		return Outcome{}, err
	}
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		if err := e.checkWritable(what, p, dfs.WriteType(op.WriteType)); err != nil {
			return err
		}
		f, err := lookup(e.view, &r, p)
		if err != nil {
			return dfs.Wrap(err, what, string(p))
		}
		if f.inode != nil {
			out.Inode, err = t.overwrite(&r, f, p, op)
			return err
		}
		parent, err := t.parents(&r, f, p, op.Recursive, dfs.NotPersisted, what)
		if err != nil {
			return err
		}
		out.Inode = t.newFile(&r, parent, p.Name(), op)
		return nil
	})
	return out, err
}

// checkWritable refuses writes to read-only mounts, and under-store writes where no store is mounted.
// The applied table is asked. A mount that comes between create and complete is met by Complete's caller, who confirms
// the content where the file is then.
func (e *Evaluator) checkWritable(op string, p dfs.Path, w dfs.WriteType) error {
	mount, rel := e.m.Mounts().Resolve(p)
	if mount == nil {
		if w == dfs.WriteMustCache {
			return nil
		}
		return dfs.Errorf(dfs.InvalidArgument, op, string(p),
			"no under store is mounted here, so %s cannot be kept: mount one with 'forebay fs mount', or write with MUST_CACHE", w)
	}
	if mount.ReadOnly {
		return dfs.Errorf(dfs.ReadOnly, op, string(p), "the mount at %s is read-only", mount.Path)
	}
	return checkName(op, p, rel)
}

// checkName refuses what would hide an object that waits for its name in the under store, or be taken for one.
func checkName(op string, p dfs.Path, rel string) error {
	if ufs.IsStaged(rel) {
		return dfs.Errorf(dfs.InvalidArgument, op, string(p), "names that begin with %q are Forebay's own: choose another", ufs.TempPrefix)
	}
	return nil
}

// now is the time that inodes of this leadership get. It never goes back, so that a version is never older than the
// one before it, whatever the clock does. e.mu is held.
func (e *Evaluator) now() time.Time {
	e.lastTime = max(e.lastTime, e.h.Now().UnixNano())
	return time.Unix(0, e.lastTime)
}

// newFile makes a file whose first version r is writing. It has no location yet: its open write leads to it (see
// needsLocation).
// The mode's bits beyond 7777 are dropped. Persist is NotPersisted while it is being written, whatever the write type:
// nothing can be said of content that is not there.
func (t *txn) newFile(r *Request, parent *inodestore.Inode, name string, op *proto.CreateFile) *inodestore.Inode {
	n := &inodestore.Inode{
		ID: dfs.InodeID(t.newID()), Parent: parent.ID, Name: name, Type: dfs.TypeFile, Mode: op.Mode & 0o7777,
		Owner: r.Identity.User, Group: groupOf(r, parent), ModTime: t.e.now(), BlockSize: op.BlockSize,
		LastVersion: 1, Writing: true, Persist: dfs.NotPersisted,
		ReplicationMin: op.ReplicationMin, ReplicationMax: op.ReplicationMax, ReplicationDurable: op.ReplicationDurable,
		TTL: time.Duration(op.Ttl), TTLAction: dfs.TTLAction(op.TtlAction),
	}
	if n.BlockSize == 0 {
		n.BlockSize = dfs.DefaultBlockSizeBytes
	}
	t.putInode(n)
	t.beginWrite(r, n, dfs.WriteType(op.WriteType))
	return n
}

// putOpenWrite says who writes a version of a file, in place of whoever did before: a file has at most one open write,
// and taking it over is what makes the former writer's Complete Stale.
func (t *txn) putOpenWrite(id dfs.InodeID, w openWrite) {
	t.putRecord(inodestore.TableOpenWrite, idKey(uint64(id)), w.encode())
}

// beginWrite makes n.LastVersion the version that r is writing, and answers with it.
func (t *txn) beginWrite(r *Request, n *inodestore.Inode, w dfs.WriteType) {
	t.putOpenWrite(n.ID, openWrite{location{n.Parent, n.Name}, n.LastVersion, r.Session, w})
	t.answer.inode, t.answer.version = n.ID, n.LastVersion
}

// overwrite begins a new version of an existing file; the readable one stays until Complete. A write that another
// client had begun is taken over: its Complete will be refused as Stale.
func (t *txn) overwrite(r *Request, f found, p dfs.Path, op *proto.CreateFile) (*inodestore.Inode, error) {
	const what = "create"
	switch {
	case f.inode.IsDir():
		return nil, dfs.Errorf(dfs.IsDirectory, what, string(p), "a directory has this name")
	case !op.Overwrite:
		return nil, dfs.Errorf(dfs.AlreadyExists, what, string(p), "ask for overwrite to replace it")
	}
	if err := demand(r, f.inode, permWrite, what, p); err != nil {
		return nil, err
	}
	n := *f.inode
	n.LastVersion, n.Writing = n.LastVersion+1, true
	if op.BlockSize != 0 && n.Version == 0 {
		n.BlockSize = op.BlockSize
	}
	t.putInode(&n)
	t.beginWrite(r, &n, dfs.WriteType(op.WriteType))
	return &n, nil
}
