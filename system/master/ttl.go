package master

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

var (
	stateTTL     = host.NewState("a time to live ends")
	pathSmallTTL = host.NewPath("a page of times to live has one")
)

// expireTTLs acts on one page of what is due, from where the last one ended. A file that fails is met again in the
// next round through the list, after all others.
// Only the leader's own task calls it, so ttlCursor needs no lock. The clock is this leader's; a leader whose clock is
// ahead deletes early by that much, so TTLs are as exact as the masters' clocks.
func (l *leadership) expireTTLs() {
	due, next, err := l.m.machine.DueTTLs(l.m.h.Now(), l.ttlCursor, pathSmallTTL.Bound(l.m.h, ttlStep, 1))
	if err != nil {
		l.m.log.Warn("cannot list due TTLs", "error", err)
		return
	}
	l.ttlCursor = next
	for _, d := range due {
		stateTTL.Reached(l.m.h)
		if err := l.expireTTL(d); err != nil && l.ctx.Err() == nil {
			l.m.log.Warn("TTL action failed and will be tried again", "path", d.Path, "action", d.Action.String(), "error", err)
		}
	}
}

// expireTTL acts on one file of a list that is old by now: the path may be another file's, and the same file may have a
// longer TTL or a new content. Every step asks again, under the claim or the evaluator's lock.
func (l *leadership) expireTTL(d namespace.Due) error {
	r := l.own()
	r.OnlyIf = func(n *inodestore.Inode) bool { return n.ID == d.Inode.ID && namespace.Expired(n, l.m.h.Now()) }
	mount, _ := l.m.machine.Mounts().Resolve(d.Path)
	var err error
	if d.Action == dfs.TTLDelete && (mount == nil || !mount.ReadOnly) { // from a read-only mount nothing can go but copies
		_, err = l.remove(l.ctx, r, d.Path, &proto.Remove{Path: string(d.Path)})
	} else {
		err = l.spendTTL(r, d)
	}
	if dfs.IsKind(err, dfs.Stale) || dfs.IsKind(err, dfs.NotFound) {
		return nil
	}
	return err
}

// spendTTL drops cached copies of what the under store has; the only copy of anything stays.
// The TTL is cleared, so that the file is not met again; a new one begins when its owner sets it. Pinned copies stay.
func (l *leadership) spendTTL(r namespace.Request, d namespace.Due) error {
	none := int64(0)
	out, err := l.e.SetAttribute(l.ctx, r, d.Path, &proto.SetAttribute{Ttl: &none}, func(n *inodestore.Inode) {
		if n.Persist == dfs.Persisted && !n.Pinned {
			l.dropCopies(n)
		}
	})
	if err != nil {
		return err
	}
	return out.Ticket.Wait(l.ctx)
}
