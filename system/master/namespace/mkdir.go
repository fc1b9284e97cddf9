package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
)

// MakeDirectory makes a directory. persisted tells that the under store has it already. With recursive, missing
// directories above are made too, and an existing one is no error. NotFound without, when one is missing;
// AlreadyExists for what has the name; the answer names the directory in either case of success.
// InvalidArgument never comes of a mode: bits beyond 7777 are dropped, as mkdir(2) does.
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
		if err := e.checkDirectory(p); err != nil {
			return err
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

// existing is what making a directory means where something is: fine when parents were asked for and it is a
// directory, AlreadyExists otherwise.
// A file with the name is AlreadyExists also when parents were asked for, as in mkdir -p.
func existing(n *inodestore.Inode, recursive bool, p dfs.Path) error {
	if recursive && n.IsDir() {
		return nil
	}
	if n.IsDir() {
		return dfs.Errorf(dfs.AlreadyExists, "mkdir", string(p), "the directory exists")
	}
	return dfs.Errorf(dfs.AlreadyExists, "mkdir", string(p), "a file has this name")
}

// checkDirectory tells whether the mount that p lies in can have a directory there.
func (e *Evaluator) checkDirectory(p dfs.Path) error {
	mount, rel := e.m.Mounts().Resolve(p)
	if mount != nil && mount.ReadOnly {
		return dfs.Errorf(dfs.ReadOnly, "mkdir", string(p), "the mount at %s is read-only", mount.Path)
	}
	return checkName("mkdir", p, rel)
}

// CheckMakeDirectory tells whether MakeDirectory would be allowed; exists when a directory is there and that is fine.
// Its errors are MakeDirectory's, in the same order, so that the store is not asked for what would be refused.
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
	if err := e.checkDirectory(p); err != nil {
		return false, err
	}
	if f.missing > 1 && !op.Recursive {
		return false, dfs.Errorf(dfs.NotFound, "mkdir", string(p), "directory %q does not exist: make it first, or ask for parents", ancestor(p, f.missing-1))
	}
	return false, demand(&r, f.deepest, permWrite|permExecute, "mkdir", p)
}

// parents finds the parent directory, making missing ones when asked to. made ones get state persist. The right to
// write is asked of the last directory that exists alone: those that are made belong to the caller.
// What it makes is in the same entry as what the caller makes below: both are there or neither.
func (t *txn) parents(r *Request, f found, p dfs.Path, recursive bool, persist dfs.PersistState, op string) (*inodestore.Inode, error) {
	if f.missing > 1 && !recursive {
		return nil, dfs.Errorf(dfs.NotFound, op, string(p), "directory %q does not exist: make it first, or ask for parents", ancestor(p, f.missing-1))
	}
	if err := demand(r, f.deepest, permWrite|permExecute, op, p); err != nil {
		return nil, err
	}
	dir := f.deepest
	names := p.Components()
	for _, name := range names[len(names)-f.missing : len(names)-1] {
		dir = t.newDirectory(r, dir, name, 0o755, persist, true)
	}
	return dir, nil
}

// newDirectory makes a directory. empty tells that its under store has nothing in it either, so that there is nothing
// to load. A directory that is new and empty is known to hold no name, which spares the lookup of every file that is
// made in it.
func (t *txn) newDirectory(r *Request, parent *inodestore.Inode, name string, mode uint32, persist dfs.PersistState, empty bool) *inodestore.Inode {
	n := &inodestore.Inode{
		ID: dfs.InodeID(t.newID()), Parent: parent.ID, Name: name, Type: dfs.TypeDirectory, Mode: mode & 0o7777,
		Owner: r.Identity.User, Group: groupOf(r, parent), ModTime: t.e.now(), Persist: persist, Loaded: empty,
	}
	t.putInode(n)
	t.putLocation(n)
	t.e.view.absent.made(n.ID)
	return n
}

// groupOf is the group of what r makes: its first one, or the directory's when the client named none.
// The client's groups are taken as it says; package rpc carries them, and who may claim which is the door's to check.
func groupOf(r *Request, parent *inodestore.Inode) string {
	if len(r.Identity.Groups) > 0 {
		return r.Identity.Groups[0]
	}
	return parent.Group
}
