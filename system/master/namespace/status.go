package namespace

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
)

// MaxListEntries bounds one page of a listing.
const (
	MaxListEntries     = 10_000
	DefaultListEntries = 1_000
	maxListBytes       = 4 << 20 // well below the limit of a message, which no page may exceed
)

// listBytes is about what n takes in an answer.
func listBytes(n *inodestore.Inode) int {
	size := 128 + 2*len(n.Name) + len(n.Fingerprint)
	for name, value := range n.Xattr {
		size += len(name) + len(value)
	}
	return size
}

// Status answers for one path. Call it inside View. Directories on the way must be searchable for req's user; the
// entry itself needs no right to be looked at.
func (m *Machine) Status(r inodestore.Reader, req *Request, p dfs.Path) (*inodestore.Inode, error) {
	f, err := lookup(r, req, p)
	if err == nil {
		err = f.mustExist("status", p)
	}
	if err != nil {
		return nil, dfs.Wrap(err, "status", string(p))
	}
	return f.inode, nil
}

// Peek finds p's inode in the applied state without permission checks; nil when it does not exist. known is the deepest
// directory that exists on the way.
// missing counts the components below known. It is for the leader's own decisions, whose evaluation checks
// permissions.
func (m *Machine) Peek(p dfs.Path) (n, known *inodestore.Inode, missing int, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.PeekLocked(p)
}

// PathOf finds the path of an inode that has a location record; NotFound otherwise. A file that is being written has
// none, but is found through its open write. NotFound also for what lies below a removed directory.
func (m *Machine) PathOf(id dfs.InodeID) (p dfs.Path, n *inodestore.Inode, err error) {
	err = m.View(func(r inodestore.Reader) error {
		if n, err = located(r, r.Record, id); err != nil {
			return err
		}
		if n == nil {
			return dfs.Errorf(dfs.NotFound, "find path", "", "inode %d has no location", id)
		}
		p, err = pathOf(r, r.Record, n)
		return err
	})
	return p, n, err
}

// List answers one page of a directory: the entries after a name. Call it inside View. A file lists itself. after need
// not exist: the page begins with the first name greater than it, so a listing goes on although entries come and go.
// next is "" at the end. A page holds at most MaxListEntries and somewhat more than maxListBytes, since one inode is
// always given whole.
func (m *Machine) List(r inodestore.Reader, req *Request, p dfs.Path, after string, limit int) (entries []*inodestore.Inode, next string, err error) {
	const what = "list"
	f, err := lookup(r, req, p)
	if err == nil {
		err = f.mustExist(what, p)
	}
	if err != nil {
		return nil, "", dfs.Wrap(err, what, string(p))
	}
	if !f.inode.IsDir() {
		return []*inodestore.Inode{f.inode}, "", nil
	}
	if err := demand(req, f.inode, permRead, what, p); err != nil {
		return nil, "", err
	}
	if limit <= 0 {
		limit = DefaultListEntries
	}
	limit = min(limit, MaxListEntries)
	size := 0
	err = r.List(f.inode.ID, after, func(n *inodestore.Inode) bool {
		if len(entries) == limit || size > maxListBytes {
			next = entries[len(entries)-1].Name
			return false
		}
		size += listBytes(n)
		entries = append(entries, n)
		return true
	})
	return entries, next, dfs.Wrap(err, what, string(p))
}

// ToProto is an inode as clients see it. mounts is the table at the time of the answer: it says which store has the
// file, and under which path.
func ToProto(n *inodestore.Inode, p dfs.Path, mounts *mounttable.Table) *proto.FileStatus {
	s := &proto.FileStatus{
		Id: uint64(n.ID), Path: string(p), Type: uint32(n.Type), Length: n.Length, BlockSize: n.BlockSize,
		Version: n.Version, Completed: n.Completed(), Mode: n.Mode, Owner: n.Owner, Group: n.Group,
		ModTime: n.ModTime.UnixNano(), Persist: uint32(n.Persist), MountPoint: n.MountID != 0, Pinned: n.Pinned,
		ReplicationMin: n.ReplicationMin, ReplicationMax: n.ReplicationMax, ReplicationDurable: n.ReplicationDurable,
		Ttl: int64(n.TTL), TtlAction: uint32(n.TTLAction), Fingerprint: n.Fingerprint, Xattr: n.Xattr,
	}
	if mount, rel := mounts.Resolve(p); mount != nil {
		s.MountId, s.UfsPath = uint64(mount.ID), rel
	}
	return s
}

// PeekLocked is Peek for callers that are inside View already.
// Taking the read lock again inside View could wait for a writer that waits for View.
func (m *Machine) PeekLocked(p dfs.Path) (n, known *inodestore.Inode, missing int, err error) {
	f, err := lookup(m.store, &Request{Identity: dfs.Identity{User: "root"}}, p)
	return f.inode, f.deepest, f.missing, err
}
