package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
)

// remove takes an entry out of the store and then out of the namespace (INV-3 of the package). With CacheOnly the
// store keeps what it has, and the next sync brings it back.
// The store goes first: a file that is gone there and still known here is found by the next look, while one that is
// gone here and not there would come back. NotEmpty, IsDirectory and PermissionDenied are told before anything is
// removed anywhere.
func (l *leadership) remove(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.Remove) (*proto.Result, error) {
	return l.knownUnderClaim(ctx, r, func(r namespace.Request) (*proto.Result, error) { return l.removeClaimed(ctx, r, p, op) }, p)
}

// removeClaimed is remove once p is claimed. The rights on everything below are looked at before anything goes, so
// that a removal that is refused takes nothing with it.
// The claim covers everything below p, so nobody makes, renames or syncs entries there while the store's tree is taken
// down. Workers that are persisting files below it hold no claim while they write; removeTree meets what they leave,
// and publish takes back what comes even later.
func (l *leadership) removeClaimed(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.Remove) (*proto.Result, error) {
	if err := l.e.FindIntent(&r); err != nil {
		return nil, err
	}
	n, err := l.e.CheckRemove(r, p, op)
	if r.Intended && dfs.IsKind(err, dfs.NotFound) { // a sync saw what the first try did to the store
		return l.finish(ctx, string(p))(l.e.Acknowledge(ctx, r, p))
	}
	if err != nil {
		return nil, err
	}
	if op.Recursive && n.IsDir() && !r.Identity.Superuser(l.m.cfg.Superuser) {
		if err := l.mayRemoveBelow(ctx, &r, p); err != nil {
			return nil, err
		}
	}
	if !op.CacheOnly && mayBeInStore(n) {
		err := l.changeStore(ctx, &r, func() error { return l.removeInStore(ctx, p, n.IsDir(), op.Recursive) })
		if err != nil {
			return nil, err
		}
	}
	return l.finish(ctx, string(p))(l.e.Remove(ctx, r, p, op, l.forget))
}

// removeInStore removes what the store has at p; nothing there is fine, since an earlier try may have come so far. A
// removal that is cut off says how to go on.
// It is used for files that are not persisted as well, when something of theirs may lie there (mayBeInStore). Any
// other error of the store leaves the namespace as it is, so that the client sees the file and can try again.
func (l *leadership) removeInStore(ctx context.Context, p dfs.Path, dir, recursive bool) error {
	at, err := l.placeOf(ctx, p)
	if err != nil || at.store == nil {
		return err
	}
	if dir && recursive {
		err = removeTree(ctx, l.m.h, at.store, at.rel)
	} else {
		err = at.store.Remove(ctx, at.rel)
	}
	if dfs.IsKind(err, dfs.NotFound) || dfs.IsKind(err, dfs.NotDirectory) {
		return nil
	}
	if dfs.IsKind(err, dfs.DeadlineExceeded) {
		return dfs.Errorf(dfs.DeadlineExceeded, "remove from the under store", string(p),
			"part of it is removed: run the same command again to go on")
	}
	return dfs.Wrap(err, "remove from the under store", string(p))
}

// Pace of removing a directory that still gains entries: a worker may be writing a file below it in the background, and
// what the worker finishes after the listing is found by the next one.
const (
	removeTries = 100
	removePause = 50 * time.Millisecond
)

// removeTree removes depth first, holding one listing open for each level. It can be run again after a failure.
// Stores with real directories refuse to remove one that has entries; in object stores the directory's marker goes
// last, so that a tree which is half removed still shows as a tree. NotEmpty after removeTries passes is returned:
// somebody writes there faster than we remove. Recursion is as deep as a path has names, which MaxPathBytes bounds for
// all that Forebay knows.
func removeTree(ctx context.Context, h host.Host, store ufs.Store, dir string) error {
	for try := 1; ; try++ {
		if err := removeEntries(ctx, h, store, dir); err != nil {
			return err
		}
		err := store.Remove(ctx, dir)
		if !dfs.IsKind(err, dfs.NotEmpty) || try == removeTries {
			return err
		}
		if err := h.Sleep(ctx, removePause); err != nil {
			return err
		}
	}
}

// removeEntries removes what a listing of dir gives. Entries that others have removed meanwhile are no error.
// Removing what a listing has just given does not disturb it: a store's List promises entries in order from a name on,
// and those that are gone lie behind. The first error that is not NotFound ends it; what was removed stays removed.
func removeEntries(ctx context.Context, h host.Host, store ufs.Store, dir string) error {
	for entry, err := range store.List(ctx, dir, "") {
		if err != nil {
			return err
		}
		path := entry.Name
		if dir != "" {
			path = dir + "/" + entry.Name
		}
		if entry.Dir {
			err = removeTree(ctx, h, store, path)
		} else {
			err = store.Remove(ctx, path)
		}
		if err != nil && !dfs.IsKind(err, dfs.NotFound) {
			return err
		}
	}
	return nil
}

// mayRemoveBelow demands the right to take entries out of every directory at p and below that has any, as a removal one
// by one would.
// An empty directory needs no right of its own, as in unlink(2): removing it asks its parent. The walk sees what is
// known here; entries that only the store has go with their directory, whose rights were asked.
func (l *leadership) mayRemoveBelow(ctx context.Context, r *namespace.Request, p dfs.Path) error {
	return l.walk(ctx, p, func(at dfs.Path, n walked) error {
		if !n.IsDir() {
			return nil
		}
		empty := true
		err := l.m.machine.View(func(r inodestore.Reader) error {
			return r.List(n.ID, "", func(walked) bool { empty = false; return false })
		})
		if err != nil || empty {
			return err
		}
		return namespace.Demand(r, n, namespace.RightWrite|namespace.RightSearch, "remove", at)
	})
}
