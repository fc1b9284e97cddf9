package namespace

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/ufs"
)

// syncChild brings one child in line and tells whether anything changed. The cases are in the order of what protects
// them: what is being written or is newer here stays whatever the store says; a directory goes by its own rules; what
// is left is replaced, refreshed or dropped.
// onRemoved hears of a file whose content is gone or is another kind of entry now, so that cached copies go. A changed
// content needs no such word: it has a new version.
func (t *txn) syncChild(parent *inodestore.Inode, entry SyncEntry, dir dfs.Path, onRemoved Removed) (bool, error) {
	n, err := t.e.view.Child(parent.ID, entry.Name)
	if err != nil {
		return false, err
	}
	switch {
	case n == nil && entry.Gone:
		return false, nil
	case n == nil:
		return true, t.addFromStore(parent, entry.Entry)
	case n.MountID != 0 || n.Writing || n.Persist != dfs.Persisted && !n.IsDir():
		return false, nil // a mount point, or Forebay's own newer content
	case n.IsDir() && !entry.Dir:
		return t.syncGoneDirectory(parent, n, entry, dir)
	}
	if entry.Gone || n.IsDir() != entry.Dir {
		t.drop(n)
		if !n.IsDir() && onRemoved != nil {
			t.then(func() { onRemoved(n) })
		}
		if entry.Gone {
			return true, nil
		}
		return true, t.addFromStore(parent, entry.Entry)
	}
	return t.refresh(n, entry.Entry), nil
}

// syncGoneDirectory is for a directory that the store no longer has as one. It goes only when it is empty: the caller has
// taken out what the store had in it, so what is left is known here alone (files that wait to be persisted, mounts) and
// is kept (contract C3). The directory then counts as not persisted, and is made anew with the first file that is.
func (t *txn) syncGoneDirectory(parent, n *inodestore.Inode, entry SyncEntry, dir dfs.Path) (bool, error) {
	if len(t.e.m.Mounts().Below(dir.Join(entry.Name))) > 0 {
		return false, nil
	}
	full, err := t.e.view.hasChildren(n.ID)
	switch {
	case err != nil:
		return false, err
	case full && n.Persist == dfs.Persisted:
		kept := *n
		kept.Persist, kept.Loaded = dfs.NotPersisted, true
		t.putInode(&kept)
		return true, nil
	case full || n.Persist != dfs.Persisted:
		return false, nil
	}
	t.drop(n)
	if entry.Gone {
		return true, nil
	}
	return true, t.addFromStore(parent, entry.Entry)
}

// refresh takes over a changed content as a new version (contract C4). A directory that was known here alone, and that the
// store has by now, counts as not loaded: whoever made it there may have put things in it that were never seen.
// A store that does not know a size (below 0) tells nothing about the content. Mode, owner and pins stay what they are
// here. Two contents with one fingerprint and one size are one content to us: how much a fingerprint tells is the
// driver's to say.
func (t *txn) refresh(n *inodestore.Inode, entry ufs.Entry) bool {
	after := *n
	if n.IsDir() {
		if n.Persist == dfs.Persisted {
			return false
		}
		after.Persist, after.Loaded = dfs.Persisted, false
		t.putInode(&after)
		return true
	}
	if n.Fingerprint == entry.Fingerprint && n.Length == entry.Size || entry.Size < 0 {
		return false
	}
	after.LastVersion++
	after.Version = after.LastVersion
	after.Length, after.ModTime, after.Fingerprint = entry.Size, entry.ModTime, entry.Fingerprint
	t.putInode(&after)
	t.reindex(n, &after)
	return true
}

// addFromStore adds what the store has and the namespace did not know, with the store's owner and mode, or the
// directory's owner and usual modes where the store has none. Sizes are taken as the store says, within bounds: a
// negative one is 0, and blocks grow until their number is within MaxFileBlocks. A directory is not loaded.
// Ids are new even for a path that was known before: a worker's blocks are named by id and version, and those of an
// earlier file must never serve this one.
func (t *txn) addFromStore(parent *inodestore.Inode, entry ufs.Entry) error {
	n := &inodestore.Inode{
		ID: dfs.InodeID(t.newID()), Parent: parent.ID, Name: entry.Name, Mode: entry.Mode, Owner: entry.Owner, Group: entry.Group,
		ModTime: entry.ModTime, Persist: dfs.Persisted,
	}
	if n.Owner == "" {
		n.Owner, n.Group = parent.Owner, parent.Group
	}
	if entry.Dir {
		n.Type = dfs.TypeDirectory
		if n.Mode == 0 {
			n.Mode = 0o755
		}
		t.putInode(n)
		t.putLocation(n)
		return nil
	}
	if n.Mode == 0 {
		n.Mode = 0o644
	}
	n.Length, n.Fingerprint, n.BlockSize = max(entry.Size, 0), entry.Fingerprint, dfs.DefaultBlockSizeBytes
	for n.BlockSize < maxBlockSizeBytes && n.Length/n.BlockSize >= MaxFileBlocks {
		n.BlockSize *= 2
	}
	n.Version, n.LastVersion = 1, 1
	t.putInode(n)
	return nil
}
