package master

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// mount looks at the store's root through a handle of its own, which it closes, and logs the mount under a claim on p.
// Nothing is read from the store here: the directory is loaded when somebody asks.
// A store that cannot be opened or whose root cannot be seen is refused here, with its own error: a mount that never
// worked would otherwise be found by its first reader. What is mounted may still go away later; reads then answer from
// what is known (readSynced).
func (l *leadership) mount(ctx context.Context, r namespace.Request, p dfs.Path, op *proto.MountUfs) (*proto.Result, error) {
	if !r.Identity.Superuser(l.m.cfg.Superuser) { // before the store is opened: its answers are not everybody's to see
		return nil, dfs.Errorf(dfs.PermissionDenied, "mount", string(p), "only the superuser may mount")
	}
	m := mounttable.Mount{Path: p, URI: op.Uri, ReadOnly: op.ReadOnly, Shared: op.Shared, Options: op.Options, SyncInterval: duration(op.SyncInterval)}
	// Options come from the request, with its secrets; they are logged with the mount, and every report redacts them.
	store, err := l.m.cfg.OpenStore(ctx, op.Uri, op.Options)
	if err != nil {
		return nil, dfs.Wrap(err, "mount: open the under store", op.Uri)
	}
	root, err := store.Stat(ctx, "")
	_ = store.Close() // the mount opens its own handle when it is used
	if err != nil {
		return nil, dfs.Wrap(err, "mount: look at the under store", op.Uri)
	}
	if !root.Dir {
		return nil, dfs.Errorf(dfs.NotDirectory, "mount", op.Uri, "the under store's root is a file: mount its directory")
	}
	return l.underClaim(ctx, r, func(r namespace.Request) (*proto.Result, error) {
		return l.finish(ctx, string(p))(l.e.Mount(ctx, r, m))
	}, p)
}

// unmount refuses while files below p wait to be persisted: the only copy of their content would go with the metadata.
// What is only cached and was never to be persisted (MUST_CACHE) goes with the mount without a question: its writer
// asked for no more.
func (l *leadership) unmount(ctx context.Context, r namespace.Request, p dfs.Path) (*proto.Result, error) {
	return l.underClaim(ctx, r, func(r namespace.Request) (*proto.Result, error) { return l.unmountClaimed(ctx, r, p) }, p)
}

// unmountClaimed is unmount once p is claimed, so that no file joins the queue between the look and the entry.
func (l *leadership) unmountClaimed(ctx context.Context, r namespace.Request, p dfs.Path) (*proto.Result, error) {
	if err := l.nothingWaits(p); err != nil {
		return nil, err
	}
	out, err := l.e.Unmount(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if err := out.Ticket.Wait(ctx); err != nil {
		return nil, err
	}
	return plainAnswer(out.Ticket)
}

// nothingWaits refuses with Conflict when a file below p waits to be persisted. It looks through all of the queue, a page
// at a time: whatever the length, one file that was overlooked would be lost.
func (l *leadership) nothingWaits(p dfs.Path) error {
	for from, more := dfs.InodeID(0), true; more; {
		waiting, err := l.m.machine.PersistQueue(from, persistPage)
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if p.Contains(w.Path) {
				return dfs.Errorf(dfs.Conflict, "unmount", string(p), "%q still waits to be persisted: wait for it, or remove it", w.Path)
			}
			from = w.Inode.ID + 1
		}
		more = len(waiting) == persistPage
	}
	return nil
}
