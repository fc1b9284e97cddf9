package master

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/metasync"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// readSynced compares with the under store and reads again. When the store cannot be asked and the answer is known, the
// known answer is given: the mount stays readable while its store is away.
// It takes one of the leader's slow places, since it waits for a store; a caller whose ctx ends while it waits for one
// gets ctx's error and has cost nothing. The second reading needs a proof of leadership of its own: the first one is
// older than what the sync has just logged. It is answered whatever its own sync flag says, or a path that changes
// without pause would never be answered.
func (l *leadership) readSynced(ctx context.Context, req namespace.Request, op *proto.Operation, known *proto.Result) *proto.Result {
	if err := l.slow.Acquire(ctx, 1); err != nil {
		return errorResult(dfs.Wrap(err, "wait for the under store", ""))
	}
	defer l.slow.Release(1)
	var err error
	switch k := op.Kind.(type) {
	case *proto.Operation_GetStatus:
		err = l.syncNow(ctx, k.GetStatus.Path, false, interval(k.GetStatus.SyncOverride, k.GetStatus.SyncInterval))
	case *proto.Operation_ListStatus:
		err = l.syncNow(ctx, k.ListStatus.Path, true, interval(k.ListStatus.SyncOverride, k.ListStatus.SyncInterval))
	}
	if err != nil {
		if known.Error == nil && known.Status != nil {
			l.m.log.Warn("answering from the namespace, the under store cannot be asked", "error", err)
			return known
		}
		return errorResult(err)
	}
	if err := l.reads.Wait(ctx); err != nil {
		return errorResult(err)
	}
	var res *proto.Result
	_ = l.m.machine.View(func(r inodestore.Reader) error { // errors travel in the result
		res, _ = l.read(r, &req, op)
		return nil
	})
	return res
}

// syncNow compares a path for a read. With an interval of 0 the read sees what the store has no earlier than now. A
// path that is not known and whose children are wanted is first looked for by itself.
// Interval 0 is the only one that must not share a look which is under way (metasync's Fresh): that look may have
// passed the change already that this reader knows of.
func (l *leadership) syncNow(ctx context.Context, text string, children bool, override *time.Duration) error {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return err
	}
	every := metasync.Never
	if mount, _ := l.m.machine.Mounts().Resolve(p); mount != nil {
		every = mount.SyncInterval
	}
	if override != nil {
		every = *override
	}
	if n, _, _, _ := l.m.machine.Peek(p); every == 0 && (n != nil || !children) {
		return l.sync.Fresh(ctx, p, children && n.IsDir())
	}
	return l.syncFor(ctx, text, children)
}

// syncFor compares a path, or with children the entries of a directory, which is found first when it is not known. A
// file has no entries: it is compared itself.
// A path that neither the namespace nor the store has is no error here: reading again says NotFound with its reason.
// Every wait ends with ctx.
func (l *leadership) syncFor(ctx context.Context, text string, children bool) error {
	p, err := dfs.ParsePath(text)
	if err != nil {
		return err
	}
	if !children {
		return l.sync.Path(ctx, p)
	}
	n, _, _, err := l.m.machine.Peek(p)
	if err != nil {
		return err
	}
	if n == nil {
		if err := l.sync.Path(ctx, p); err != nil {
			return err
		}
		if n, _, _, err = l.m.machine.Peek(p); err != nil || n == nil {
			return err
		}
	}
	if !n.IsDir() {
		return l.sync.Path(ctx, p)
	}
	return l.sync.Children(ctx, p)
}

// interval is the request's sync interval; nil leaves it to the mount.
// 0 is an interval like any other, "compare each time", so the request needs a flag to say that it names one.
func interval(override bool, ns int64) *time.Duration {
	if !override {
		return nil
	}
	d := time.Duration(ns)
	return &d
}

// mustSync tells whether the under store is to be asked about p: it is unknown and could be there, or seen too long
// ago. It is called inside View, so it asks memory alone. n is nil when err says why. What only Forebay has is never
// compared, and a mount's root always exists here.
// It errs on the side of asking when the namespace does not know, and on the side of not asking for what the store
// cannot know better: files that are not persisted, the root of a mount, paths outside of mounts. A denied path is not
// compared either, or a user could make the master look at what he may not see.
func (l *leadership) mustSync(p dfs.Path, n *inodestore.Inode, err error, override *time.Duration, children bool) bool {
	mount, rel := l.m.machine.Mounts().Resolve(p)
	if mount == nil || err != nil && !dfs.IsKind(err, dfs.NotFound) && !dfs.IsKind(err, dfs.NotDirectory) {
		return false
	}
	every := mount.SyncInterval
	if override != nil {
		every = *override
	}
	if dfs.IsKind(err, dfs.NotDirectory) { // the file on the way may be a directory by now
		return rel != "" && l.sync.Due(p, false, every)
	}
	if n == nil {
		return rel != "" && (l.sync.Due(p, false, every) || !l.absenceKnown(p))
	}
	if children && n.IsDir() && !n.Loaded {
		return true
	}
	if n.Persist != dfs.Persisted {
		return false
	}
	return (rel != "" || children) && l.sync.Due(p, children, every)
}

// absenceKnown tells whether p's deepest existing ancestor was wholly listed, so that what it lacks is absent.
// An error counts as "not known": the store is asked, and the error comes up again there if it lasts.
func (l *leadership) absenceKnown(p dfs.Path) bool {
	_, known, _, err := l.m.machine.PeekLocked(p)
	return err == nil && known != nil && known.Loaded
}
