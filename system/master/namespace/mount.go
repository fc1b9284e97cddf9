package namespace

import (
	"context"
	"errors"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/mounttable"
)

// Mount adds an entry to the mount table, at an existing empty directory or at a path whose parent exists. The mount
// point becomes a directory that is not loaded: what the store has in it is read when somebody asks. The caller has
// opened the store and seen its root. The answer's count is the mount's id.
// PermissionDenied for all but the superuser, AlreadyExists where a mount begins, NotEmpty and NotDirectory as
// mountable has them. A new mount has a new id, also at a path that had one before, so what workers and handles know
// of the old one cannot be taken for it. The table changes when the entry is applied; the caller's claim keeps others
// off the path until then.
func (e *Evaluator) Mount(ctx context.Context, r Request, m mounttable.Mount) (Outcome, error) {
	const what = "mount"
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{m.Path}, func(t *txn) error {
		if !r.super() {
			return dfs.Errorf(dfs.PermissionDenied, what, string(m.Path), "only the superuser may mount")
		}
		if other := e.m.Mounts().At(m.Path); other != nil {
			return dfs.Errorf(dfs.AlreadyExists, what, string(m.Path), "%s is mounted here: unmount it first", other.URI)
		}
		f, err := lookup(e.view, &r, m.Path)
		if err != nil {
			return dfs.Wrap(err, what, string(m.Path))
		}
		dir := f.inode
		if dir == nil {
			parent, err := t.parents(&r, f, m.Path, true, dfs.NotPersisted, what)
			if err != nil {
				return err
			}
			dir = t.newDirectory(&r, parent, m.Path.Name(), 0o755, dfs.Persisted, false)
		} else if err := e.mountable(dir, m.Path); err != nil {
			return err
		}
		point := *dir
		m.ID = dfs.MountID(t.newID())
		point.MountID, point.Loaded, point.Persist = m.ID, false, dfs.Persisted
		t.putInode(&point)
		t.putRecord(inodestore.TableMount, idKey(uint64(m.ID)), m.Encode())
		t.answer.inode, t.answer.count = point.ID, int64(m.ID)
		out.Inode = &point
		return nil
	})
	return out, err
}

// mountable tells whether an existing entry can become a mount point. e.mu is held.
// Nested mounts are fine: the innermost one serves a path.
func (e *Evaluator) mountable(dir *inodestore.Inode, p dfs.Path) error {
	if !dir.IsDir() {
		return dfs.Errorf(dfs.NotDirectory, "mount", string(p), "a file has this name")
	}
	if dir.MountID != 0 { // proposed and not applied: the table does not show it yet
		return dfs.Errorf(dfs.AlreadyExists, "mount", string(p), "a store is being mounted here: unmount it first")
	}
	full, err := e.view.hasChildren(dir.ID)
	if err == nil && full {
		err = dfs.Errorf(dfs.NotEmpty, "mount", string(p), "its entries would be hidden: choose a new path or an empty directory")
	}
	return err
}

// Unmount takes a mount and all of its metadata out of the namespace; the under store stays as it is. NotEmpty while
// another mount lies below. The directory goes with everything in it, in steps (CollectGarbage); workers are told to
// drop the files' data as each step takes them. Whether files wait to be persisted is the caller's to ask before.
// NotFound where no mount begins. The path may be mounted again at once: garbage is found by the directory's id, and a
// new directory has another.
func (e *Evaluator) Unmount(ctx context.Context, r Request, p dfs.Path) (Outcome, error) {
	const what = "unmount"
	var out Outcome
	var err error
	out.Ticket, err = e.do(ctx, r, []dfs.Path{p}, func(t *txn) error {
		if !r.super() {
			return dfs.Errorf(dfs.PermissionDenied, what, string(p), "only the superuser may unmount")
		}
		m := e.m.Mounts().At(p)
		if m == nil {
			return dfs.Errorf(dfs.NotFound, what, string(p), "no mount begins here: see 'forebay fs mounts'")
		}
		if below := e.m.Mounts().Below(p); len(below) > 0 {
			return dfs.Errorf(dfs.NotEmpty, what, string(p), "the mount at %s lies below it: unmount that first", below[0].Path)
		}
		f, err := lookup(e.view, &r, p)
		if err == nil {
			err = f.mustExist(what, p)
		}
		if err != nil {
			return err
		}
		t.deleteRecord(inodestore.TableMount, idKey(uint64(m.ID)))
		if err := t.unmountPoint(f.inode); err != nil {
			return err
		}
		t.answer.count = int64(m.ID)
		return nil
	})
	return out, err
}

// unmountPoint drops the directory with all below it. The root stays, so it must be empty.
func (t *txn) unmountPoint(n *inodestore.Inode) error {
	if n.ID != dfs.RootID {
		t.drop(n)
		return nil
	}
	full, err := t.e.view.hasChildren(n.ID)
	if err != nil || full {
		return errors.Join(err, dfs.Errorf(dfs.NotEmpty, "unmount", "/",
			"take its entries out of the namespace first: 'forebay fs rm -r --cache-only' leaves the under store as it is"))
	}
	root := *n
	root.MountID, root.Loaded = 0, false
	t.putInode(&root)
	return nil
}
