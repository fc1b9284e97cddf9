package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/ufs"
)

// SyncEntry is what the under store says of one child of a directory; Gone tells that it was looked for and not found.
type SyncEntry struct {
	ufs.Entry
	Gone bool
}

// SyncChildren brings children of dir in line with what the under store says, in one entry of the journal. The caller
// holds a claim on dir. It returns how many inodes changed. loaded marks the directory as wholly listed.
//
// What Forebay knows better stays: files that are being written, and files that the under store does not have yet. dir
// is made when the namespace does not know it: the store has it, and everything above it. onRemoved may be nil; it is
// told of files alone, once they are gone.
// Entries are taken in their order, and each name should occur once. NotDirectory when a file has dir's name by now:
// the caller looks at that path itself. No permission is asked: what the store has is so, whoever looked.
func (e *Evaluator) SyncChildren(ctx context.Context, claim *Claim, dir dfs.Path, entries []SyncEntry, loaded bool, onRemoved Removed) (int, error) {
	r := Request{Identity: dfs.Identity{User: "root"}, Claim: claim}
	changed := 0
	// What changes lies at or below what the caller has claimed, and claims exclude each other: nobody is in the way. Asking
	// for dir here would wait for the claims of its other entries, whose holders wait for ours.
	paths := []dfs.Path{dir}
	if claim != nil {
		paths = claim.paths
	}
	t, err := e.do(ctx, r, paths, func(t *txn) error {
		f, err := lookup(e.view, &r, dir)
		if err != nil {
			return err
		}
		parent := f.inode
		if parent == nil {
			parent = t.syncParents(f, dir)
		}
		if !parent.IsDir() {
			return dfs.Errorf(dfs.NotDirectory, "sync", string(dir), "the namespace has a file here")
		}
		for _, entry := range entries {
			did, err := t.syncChild(parent, entry, dir, onRemoved)
			if err != nil {
				return err
			}
			if did {
				changed++
			}
		}
		if loaded && !parent.Loaded {
			mark := *parent
			mark.Loaded = true
			t.putInode(&mark)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return changed, t.Wait(ctx)
}

// syncParents makes the directories on the way, which the under store has. They belong to who owns the directory
// above, since the store's own answer for each comes with its next look.
func (t *txn) syncParents(f found, dir dfs.Path) *inodestore.Inode {
	names := dir.Components()
	up := f.deepest
	for _, name := range names[len(names)-f.missing:] {
		up = t.newDirectory(&Request{Identity: dfs.Identity{User: up.Owner, Groups: []string{up.Group}}}, up, name, 0o755, dfs.Persisted, false)
	}
	return up
}
