package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// Rename moves a file or directory. onReplaced is told of a file that it replaced. It is one entry, whatever lies
// below. What the target had is replaced as rename(2) has it: a file by a file, an empty directory by a directory. A
// file that is being written goes on being written at its new path.
// The order of effects matters: the replaced target is dropped first and the moved inode put last, since both lie at
// the same key. A target of garbage (a replaced directory, which is empty) costs one garbage record. The answer is the
// moved inode's id and version, also when nothing had to be done.
//
// NotFound for a source that is not there or a target whose directory is not; CrossMount, AlreadyExists, NotEmpty,
// IsDirectory and NotDirectory as planRename has them. Descendants are not visited: their paths follow from where
// their directory is.
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

// relocate makes the records that lead to an inode lead to its new place. The TTL and persist records name the inode
// by id and stay as they are.
// A file with neither a location nor an open write has nothing to follow: it is found by its path alone.
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

// renamePlan is what a rename will do: source goes to parent under the target's name, in place of replaced if that is
// there. same tells that the two are one inode already, and nothing is to be done.
// It is only good while e.mu is held: what it was judged on may change after.
type renamePlan struct {
	source, replaced, parent *inodestore.Inode
	same                     bool
}

// CheckRename tells what a rename would do, without doing it: for the caller that must ask the under store first.
// A caller that holds a claim on both paths can rely on it until it gives the claim back, except that ends of writes
// may publish a new version of the source meanwhile.
func (e *Evaluator) CheckRename(r Request, from, to dfs.Path, noReplace bool) (source *inodestore.Inode, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	plan, err := e.planRename(&r, from, to, noReplace)
	return plan.source, err
}

// planRename checks a rename against what is applied and proposed, without effects. The order of its checks is
// rename(2)'s where that has one: paths first, then the source, then the target. e.mu is held.
// The source's directory must be writable for taking it out, the target's for putting it in, and the target's sticky
// bit protects what would be replaced. Renaming a path to itself is fine for whoever may take it out.
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
	// Two paths that lead to one inode are one path: there are no hard links.
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

// checkRenamePaths refuses what the paths alone make impossible: the root, a directory into itself, mount points and
// what lies above them, and two different stores, between which nothing moves in one step.
// The applied mount table is asked: a mount that is proposed on one of the paths keeps the rename waiting by its
// claim.
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
	b, rel := table.Resolve(to)
	if a != b {
		return dfs.Errorf(dfs.CrossMount, what, string(from), "%q lies on another mount: copy and remove instead ('forebay fs cp')", to)
	}
	if a != nil && a.ReadOnly {
		return dfs.Errorf(dfs.ReadOnly, what, string(from), "the mount at %s is read-only", a.Path)
	}
	return checkName(what, to, rel)
}

// checkReplace tells whether source may take the place of target. e.mu is held.
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
