package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// Removed is called on the leader once files are gone from the namespace, so that their cached copies go too.
// It is called once for each file, outside of all locks, and must not wait. A leader that falls before loses the call:
// workers drop such copies when they need the place.
type Removed func(n *inodestore.Inode)

// CheckRemove tells what a removal would take away, without doing it.
// A refusal is told with the error that Remove would have.
func (e *Evaluator) CheckRemove(r Request, p dfs.Path, op *proto.Remove) (*inodestore.Inode, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.planRemove(&r, p, op)
}

// Remove takes an entry out. A directory's content goes at once from sight and then in bounded steps: see
// CollectGarbage.
// A file that is being written goes too: its writer's Complete is Stale. What the under store has is the caller's to
// remove first. The answer's count is 1, whatever lay below.
func (e *Evaluator) Remove(ctx context.Context, r Request, p dfs.Path, op *proto.Remove, onRemoved Removed) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		n, err := e.planRemove(&r, p, op)
		if err != nil {
			return err
		}
		t.drop(n)
		t.answer.inode, t.answer.count = n.ID, 1
		if onRemoved != nil && !n.IsDir() {
			t.then(func() { onRemoved(n) })
		}
		out.Inode = n
		return nil
	})
	return out, err
}

// planRemove checks a removal, without effects. e.mu is held.
// Directory and File in op are what rmdir(2) and unlink(2) promise about the kind of entry. Whether the user may
// remove what lies below a directory is not asked here: the caller walks it, with pauses.
func (e *Evaluator) planRemove(r *Request, p dfs.Path, op *proto.Remove) (*inodestore.Inode, error) {
	const what = "remove"
	if p.IsRoot() {
		return nil, dfs.Errorf(dfs.InvalidArgument, what, string(p), "the root cannot be removed")
	}
	f, err := lookup(e.view, r, p)
	if err == nil {
		err = f.mustExist(what, p)
	}
	if err != nil {
		return nil, dfs.Wrap(err, what, string(p))
	}
	table := e.m.Mounts()
	mount, _ := table.Resolve(p)
	switch {
	case table.At(p) != nil || len(table.Below(p)) > 0:
		return nil, dfs.Errorf(dfs.InvalidArgument, what, string(p), "a mount begins at it or below it: unmount first ('forebay fs unmount')")
	case mount != nil && mount.ReadOnly && !op.CacheOnly:
		return nil, dfs.Errorf(dfs.ReadOnly, what, string(p), "the mount at %s is read-only", mount.Path)
	case op.Directory && !f.inode.IsDir():
		return nil, dfs.Errorf(dfs.NotDirectory, what, string(p), "it is a file")
	case op.File && f.inode.IsDir():
		return nil, dfs.Errorf(dfs.IsDirectory, what, string(p), "it is a directory: ask for recursive removal")
	}
	if err := r.onlyIf(f.inode, what, p); err != nil {
		return nil, err
	}
	if err := demandEntry(r, f.parent, f.inode, what, p); err != nil {
		return nil, err
	}
	if !f.inode.IsDir() || op.Recursive {
		return f.inode, nil
	}
	full, err := e.view.hasChildren(f.inode.ID)
	if err == nil && full {
		err = dfs.Errorf(dfs.NotEmpty, what, string(p), "ask for recursive removal to take its content too")
	}
	return f.inode, err
}

// drop removes an inode and every record that names it. A directory with entries becomes garbage.
// What lies below a directory keeps its inodes and records until CollectGarbage takes them; nobody reaches it by a
// path any more, and by id only writers do, whose files go with the next step.
func (t *txn) drop(n *inodestore.Inode) {
	key := idKey(uint64(n.ID))
	t.deleteInode(n)
	if needsLocation(n) {
		t.deleteRecord(inodestore.TableLocation, key)
	}
	if when := expiry(n); !when.IsZero() && n.Completed() {
		t.deleteRecord(inodestore.TableTTL, ttlKey(when, n.ID))
	}
	if n.IsDir() {
		t.putRecord(inodestore.TableGarbage, key, []byte{})
		t.e.view.absent.drop(n.ID)
		return
	}
	if n.Persist == dfs.ToBePersisted {
		t.deleteRecord(inodestore.TablePersist, key)
	}
	if n.Writing {
		t.deleteRecord(inodestore.TableOpenWrite, key)
	}
}
