package namespace

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// putLocation notes where n is found by its id. It must follow every rename, as relocate does.
func (t *txn) putLocation(n *inodestore.Inode) {
	t.putRecord(inodestore.TableLocation, idKey(uint64(n.ID)), location{n.Parent, n.Name}.encode())
}

// reindex keeps the location, persist and TTL records of a file in step with a change of it. before and n are the same
// inode, in the same place. A TTL is listed only for a file with content, and by its expiry: a changed modification
// time moves it. What a rename changes is relocate's.
// All three kinds of record are blind sets and deletes: deleting what is not there does no harm, so before need not
// have had its records.
func (t *txn) reindex(before, n *inodestore.Inode) {
	switch {
	case n.Persist == dfs.ToBePersisted:
		t.putRecord(inodestore.TablePersist, idKey(uint64(n.ID)), []byte{})
	case before.Persist == dfs.ToBePersisted:
		t.deleteRecord(inodestore.TablePersist, idKey(uint64(n.ID)))
	}
	switch {
	case needsLocation(n):
		t.putLocation(n)
	case needsLocation(before):
		t.deleteRecord(inodestore.TableLocation, idKey(uint64(n.ID)))
	}
	was, is := expiry(before), expiry(n)
	if was.Equal(is) && before.Completed() == n.Completed() {
		return
	}
	if !was.IsZero() {
		t.deleteRecord(inodestore.TableTTL, ttlKey(was, n.ID))
	}
	if !is.IsZero() && n.Completed() {
		t.putRecord(inodestore.TableTTL, ttlKey(is, n.ID), []byte{})
	}
}

// persistParents marks the directories above n as present in the under store, since its driver made them. It stops at
// the first that is marked already, since whoever marked it went on to the top, and at a mount point, which its store
// has as its root. n itself is not marked.
func (t *txn) persistParents(n *inodestore.Inode) error {
	for up := n; up.Parent != 0; {
		parent, err := located(t.e.view, t.e.view.record, up.Parent)
		if err != nil {
			return err
		}
		if parent == nil || parent.Persist == dfs.Persisted || parent.MountID != 0 {
			return nil
		}
		marked := *parent
		marked.Persist = dfs.Persisted
		t.putInode(&marked)
		up = parent
	}
	return nil
}

// persistUp marks dir, and the directories above it.
func (t *txn) persistUp(dir *inodestore.Inode) error {
	if dir.Persist == dfs.Persisted || dir.MountID != 0 {
		return nil
	}
	marked := *dir
	marked.Persist = dfs.Persisted
	t.putInode(&marked)
	return t.persistParents(dir)
}
