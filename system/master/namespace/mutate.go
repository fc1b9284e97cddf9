package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// MakeDirectory makes a directory. persisted tells that the under store has it already.
func (e *Evaluator) MakeDirectory(ctx context.Context, r Request, p dfs.Path, op *proto.MakeDirectory, persisted bool) (Outcome, error) {
	const what = "mkdir"
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		f, err := lookup(e.view, &r, p)
		if err != nil {
			return dfs.Wrap(err, what, string(p))
		}
		if f.inode != nil {
			out.Inode, t.answer.inode = f.inode, f.inode.ID
			return existing(f.inode, op.Recursive, p)
		}
		if mount, _ := e.m.Mounts().Resolve(p); mount != nil && mount.ReadOnly {
			return dfs.Errorf(dfs.ReadOnly, what, string(p), "the mount at %s is read-only", mount.Path)
		}
		state := dfs.NotPersisted
		if persisted {
			state = dfs.Persisted
		}
		parent, err := t.parents(&r, f, p, op.Recursive, state, what)
		if err != nil {
			return err
		}
		out.Inode = t.newDirectory(&r, parent, p.Name(), op.Mode, state, true)
		if persisted { // from the deepest that existed: persistParents does not see what this very mutation makes
			err = t.persistUp(f.deepest)
		}
		t.answer.inode = out.Inode.ID
		return err
	})
	return out, err
}

func existing(n *inodestore.Inode, recursive bool, p dfs.Path) error {
	if recursive && n.IsDir() {
		return nil
	}
	if n.IsDir() {
		return dfs.Errorf(dfs.AlreadyExists, "mkdir", string(p), "the directory exists")
	}
	return dfs.Errorf(dfs.AlreadyExists, "mkdir", string(p), "a file has this name")
}

// Removed is called on the leader once files are gone from the namespace, so that their cached copies go too.
type Removed func(n *inodestore.Inode)

// Rename moves a file or directory. onReplaced is told of a file that it replaced.
func (e *Evaluator) Rename(ctx context.Context, r Request, from, to dfs.Path, op *proto.Rename, onReplaced Removed) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{from, to}, func(t *txn) error {
		plan, err := e.planRename(&r, from, to, op.NoReplace)
		if err != nil {
			return err
		}
		t.answer.inode, t.answer.version = plan.source.ID, plan.source.Version
		if out.Inode = plan.source; plan.same {
			return nil
		}
		if plan.replaced != nil {
			t.drop(plan.replaced)
			if !plan.replaced.IsDir() && onReplaced != nil {
				t.then(func() { onReplaced(plan.replaced) })
			}
		}
		moved := *plan.source
		moved.Parent, moved.Name = plan.parent.ID, to.Name()
		t.deleteInode(plan.source)
		t.putInode(&moved)
		if err := t.relocate(&moved); err != nil {
			return err
		}
		if moved.Persist == dfs.Persisted {
			if err := t.persistParents(&moved); err != nil {
				return err
			}
		}
		out.Inode = &moved
		return nil
	})
	return out, err
}

// relocate makes the records that lead to an inode lead to its new place.
func (t *txn) relocate(moved *inodestore.Inode) error {
	if needsLocation(moved) {
		t.putLocation(moved)
	}
	if !moved.Writing {
		return nil
	}
	open, found, err := openWriteOf(t.e.view.record, moved.ID)
	if err != nil || !found {
		return err
	}
	open.location = location{moved.Parent, moved.Name}
	t.putOpenWrite(moved.ID, open)
	return nil
}

type renamePlan struct {
	source, replaced, parent *inodestore.Inode
	same                     bool
}

// CheckRename tells what a rename would do, without doing it: for the caller that must ask the under store first.
func (e *Evaluator) CheckRename(r Request, from, to dfs.Path, noReplace bool) (source *inodestore.Inode, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	plan, err := e.planRename(&r, from, to, noReplace)
	return plan.source, err
}

func (e *Evaluator) planRename(r *Request, from, to dfs.Path, noReplace bool) (renamePlan, error) {
	const what = "rename"
	var plan renamePlan
	if err := e.checkRenamePaths(from, to); err != nil {
		return plan, err
	}
	src, err := lookup(e.view, r, from)
	if err == nil {
		err = src.mustExist(what, from)
	}
	if err == nil {
		err = demandEntry(r, src.parent, src.inode, what, from)
	}
	if err != nil {
		return plan, dfs.Wrap(err, what, string(from))
	}
	plan.source = src.inode
	dst, err := lookup(e.view, r, to)
	if err != nil {
		return plan, dfs.Wrap(err, what, string(to))
	}
	if dst.missing > 1 {
		return plan, dst.mustExist(what, to)
	}
	plan.parent = dst.deepest
	if dst.inode != nil {
		plan.parent = dst.parent
	}
	if plan.same = dst.inode != nil && dst.inode.ID == src.inode.ID; plan.same {
		return plan, nil
	}
	if dst.inode == nil {
		return plan, demand(r, plan.parent, permWrite|permExecute, what, to)
	}
	plan.replaced = dst.inode
	if noReplace {
		return plan, dfs.Errorf(dfs.AlreadyExists, what, string(to), "it exists, and replacing was not asked for")
	}
	if err := demandEntry(r, plan.parent, dst.inode, what, to); err != nil {
		return plan, err
	}
	return plan, e.checkReplace(src.inode, dst.inode, to)
}

func (e *Evaluator) checkRenamePaths(from, to dfs.Path) error {
	const what = "rename"
	if from.IsRoot() || to.IsRoot() {
		return dfs.Errorf(dfs.InvalidArgument, what, string(from), "the root cannot be renamed or replaced")
	}
	if from != to && from.Contains(to) {
		return dfs.Errorf(dfs.InvalidArgument, what, string(from), "%q lies inside it", to)
	}
	table := e.m.Mounts()
	for _, p := range []dfs.Path{from, to} {
		if table.At(p) != nil || len(table.Below(p)) > 0 {
			return dfs.Errorf(dfs.InvalidArgument, what, string(p), "a mount begins at it or below it: unmount first")
		}
	}
	a, _ := table.Resolve(from)
	b, _ := table.Resolve(to)
	if a != b {
		return dfs.Errorf(dfs.CrossMount, what, string(from), "%q lies on another mount: copy and remove instead ('forebay fs cp')", to)
	}
	if a != nil && a.ReadOnly {
		return dfs.Errorf(dfs.ReadOnly, what, string(from), "the mount at %s is read-only", a.Path)
	}
	return nil
}

func (e *Evaluator) checkReplace(source, target *inodestore.Inode, to dfs.Path) error {
	const what = "rename"
	switch {
	case target.IsDir() && !source.IsDir():
		return dfs.Errorf(dfs.IsDirectory, what, string(to), "a directory cannot be replaced by a file")
	case !target.IsDir() && source.IsDir():
		return dfs.Errorf(dfs.NotDirectory, what, string(to), "a file cannot be replaced by a directory")
	case !target.IsDir():
		return nil
	}
	full, err := e.view.hasChildren(target.ID)
	if err == nil && full {
		err = dfs.Errorf(dfs.NotEmpty, what, string(to), "only an empty directory can be replaced")
	}
	return err
}

// CheckRemove tells what a removal would take away, without doing it.
func (e *Evaluator) CheckRemove(r Request, p dfs.Path, op *proto.Remove) (*inodestore.Inode, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.planRemove(&r, p, op)
}

// Remove takes an entry out. A directory's content goes at once from sight and then in bounded steps: see
// CollectGarbage.
func (e *Evaluator) Remove(ctx context.Context, r Request, p dfs.Path, op *proto.Remove, onRemoved Removed) (Outcome, error) {
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		n, err := e.planRemove(&r, p, op)
		if err != nil {
			return err
		}
		t.drop(n)
		t.answer.count = 1
		if onRemoved != nil && !n.IsDir() {
			t.then(func() { onRemoved(n) })
		}
		out.Inode = n
		return nil
	})
	return out, err
}

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

// CheckMakeDirectory tells whether MakeDirectory would be allowed; exists when a directory is there and that is fine.
func (e *Evaluator) CheckMakeDirectory(r Request, p dfs.Path, op *proto.MakeDirectory) (exists bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, err := lookup(e.view, &r, p)
	if err != nil {
		return false, dfs.Wrap(err, "mkdir", string(p))
	}
	if f.inode != nil {
		return true, existing(f.inode, op.Recursive, p)
	}
	if mount, _ := e.m.Mounts().Resolve(p); mount != nil && mount.ReadOnly {
		return false, dfs.Errorf(dfs.ReadOnly, "mkdir", string(p), "the mount at %s is read-only", mount.Path)
	}
	if f.missing > 1 && !op.Recursive {
		return false, dfs.Errorf(dfs.NotFound, "mkdir", string(p), "directory %q does not exist: make it first, or ask for parents", ancestor(p, f.missing-1))
	}
	return false, demand(&r, f.deepest, permWrite|permExecute, "mkdir", p)
}
