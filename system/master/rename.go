package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// renameThrough renames in the store and then here, under one claim on both paths. The checks come before the store is
// touched, so that a rename which the namespace refuses has not happened there.
// Both paths are loaded first, since the checks need to know what lies at the target. The claim is taken on both at
// once, in one step, so two renames that cross each other cannot wait for each other.
func (l *leadership) renameThrough(ctx context.Context, r namespace.Request, op *proto.Rename) (*proto.Result, error) {
	from, err := dfs.ParsePath(op.Source)
	if err != nil {
		return nil, err
	}
	to, err := dfs.ParsePath(op.Target)
	if err != nil {
		return nil, err
	}
	return l.knownUnderClaim(ctx, r, func(r namespace.Request) (*proto.Result, error) {
		if err := l.e.FindIntent(&r); err != nil {
			return nil, err
		}
		source, err := l.e.CheckRename(r, from, to, op.NoReplace)
		if r.Intended && dfs.IsKind(err, dfs.NotFound) && l.known(to) { // a sync saw what the first try did to the store
			return l.finish(ctx, string(to))(l.e.Acknowledge(ctx, r, to))
		}
		if err == nil {
			err = l.renameInStore(ctx, &r, source, from, to)
		}
		if err != nil {
			return nil, err
		}
		return l.finish(ctx, string(to))(l.e.Rename(ctx, r, from, to, op, l.forget))
	}, from, to)
}

// renameInStore does the store's half of a rename. A source that the store has lost, while the target is there, is
// what an earlier try left (INV-2 of the package); one that is at neither place is an error, and nothing is renamed
// here.
// It is safe to run again after any failure: the store's rename either happened or did not, and both are recognised.
// Both paths lie in one mount, which CheckRename has made sure of, so one store does it in one step.
func (l *leadership) renameInStore(ctx context.Context, r *namespace.Request, source *inodestore.Inode, from, to dfs.Path) error {
	src, err := l.placeOf(ctx, from)
	if err != nil || src.store == nil {
		return err
	}
	_, rel := l.m.machine.Mounts().Resolve(to)
	if source.Persist != dfs.Persisted {
		return l.changeStore(ctx, r, func() error { return renameUnpersisted(ctx, src, source, from, to, rel) })
	}
	err = l.changeStore(ctx, r, func() error { return src.store.Rename(ctx, src.rel, rel) })
	if dfs.IsKind(err, dfs.NotFound) {
		if _, there := src.store.Stat(ctx, rel); there == nil {
			return nil // an earlier try of this rename got so far
		}
	}
	return dfs.Wrap(err, "rename in the under store", string(from))
}

// known tells whether the namespace has something at p.
func (l *leadership) known(p dfs.Path) bool {
	n, _, _, err := l.m.machine.Peek(p)
	return err == nil && n != nil
}

// renameUnpersisted is for a source that the under store need not have. What it has at the target is replaced and must
// not come back, nor must what an earlier version left at the source.
// Order matters: the target is cleared before the source's directory moves there, since a store may refuse to rename
// onto something that is there. A crash between leaves the target here and not there; the retry goes on, and without
// one the next sync takes the target for removed, which the rename would have done.
func renameUnpersisted(ctx context.Context, src place, source *inodestore.Inode, from, to dfs.Path, rel string) error {
	if err := removeLeft(ctx, src.store, rel); err != nil {
		return dfs.Wrap(err, "rename: remove the replaced target from the under store", string(to))
	}
	if !mayBeInStore(source) {
		return nil
	}
	var err error
	if source.IsDir() {
		err = src.store.Rename(ctx, src.rel, rel) // with what a persisted file's driver made in it
	} else {
		err = removeLeft(ctx, src.store, src.rel)
	}
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	return dfs.Wrap(err, "rename: clear the source in the under store", string(from))
}

// removeLeft removes what a store may have at a path; nothing there is what was wanted.
// NotDirectory means that a name on the way is a file there, so the path cannot exist either.
func removeLeft(ctx context.Context, store ufs.Store, rel string) error {
	err := store.Remove(ctx, rel)
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	return err
}

// mayBeInStore tells whether a store may have something at an inode's path: its content, that of an earlier version, what
// a worker has persisted and not reported yet, or a directory that a driver made for one of these.
func mayBeInStore(n *inodestore.Inode) bool {
	return n.IsDir() || n.Persist != dfs.NotPersisted || n.LastVersion > 1
}
