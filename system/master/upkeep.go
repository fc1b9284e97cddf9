package master

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// Pace of the leader's upkeep.
const (
	garbageInterval = 200 * time.Millisecond
	garbageStep     = 1000
	ttlInterval     = time.Second
	ttlStep         = 256
	workerInterval  = time.Second
	sessionDivisor  = 10 // sessions are looked at this often within their timeout
	persistInterval = 200 * time.Millisecond
)

func (l *leadership) startUpkeep() {
	l.every("collect-garbage", garbageInterval, l.collectGarbage)
	l.every("expire-ttls", ttlInterval, l.expireTTLs)
	l.every("expire-workers", workerInterval, l.expireWorkers)
	l.every("expire-sessions", l.m.cfg.SessionTimeout/sessionDivisor, l.expireSessions)
	l.every("persist", persistInterval, l.persist.schedule)
	l.every("close-stores", workerInterval, func() { l.m.stores.retain(l.m.machine.Mounts()) })
}

func (l *leadership) every(name string, interval time.Duration, f func()) {
	l.task(name, func() {
		ticker := host.NewTicker(l.m.h, interval)
		for ticker.Wait(l.ctx) == nil {
			f()
		}
	})
}

func (l *leadership) collectGarbage() {
	for l.ctx.Err() == nil {
		n, err := l.e.CollectGarbage(l.ctx, garbageStep, l.forget)
		if err != nil || n == 0 {
			return
		}
	}
}

// forget tells the workers that hold a removed file to drop it.
func (l *leadership) forget(n *inodestore.Inode) {
	l.tell(n, n.Version, &proto.WorkerCommand{Action: proto.WorkerCommand_FREE, Inode: uint64(n.ID)})
}

// tell queues a command for every worker that holds a block of the file's version.
func (l *leadership) tell(n *inodestore.Inode, version uint32, c *proto.WorkerCommand) {
	for _, w := range l.m.blocks.Holders(fileOf(n, version), blocksOf(n)) {
		l.m.workers.Tell(w, c)
	}
}

func fileOf(n *inodestore.Inode, version uint32) dfs.FileVersion {
	return dfs.FileVersion{Inode: n.ID, Version: version}
}

func blocksOf(n *inodestore.Inode) uint32 {
	if n.BlockSize <= 0 {
		return 0
	}
	blocks := n.Length / n.BlockSize // no sum with the length: a hostile one would overflow
	if n.Length%n.BlockSize > 0 {
		blocks++
	}
	return uint32(min(max(blocks, 0), namespace.MaxFileBlocks))
}

func (l *leadership) expireTTLs() {
	due, next, err := l.m.machine.DueTTLs(l.m.h.Now(), l.ttlCursor, ttlStep)
	if err != nil {
		l.m.log.Warn("cannot list due TTLs", "error", err)
		return
	}
	l.ttlCursor = next
	for _, d := range due {
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
func (l *leadership) spendTTL(r namespace.Request, d namespace.Due) error {
	none := int64(0)
	out, err := l.e.SetAttribute(l.ctx, r, d.Path, &proto.SetAttribute{Ttl: &none}, func(n *inodestore.Inode) {
		if n.Persist == dfs.Persisted && !n.Pinned {
			l.forget(n)
		}
	})
	if err != nil {
		return err
	}
	return out.Ticket.Wait(l.ctx)
}

// own is the leader's own authority.
func (l *leadership) own() namespace.Request {
	return namespace.Request{Identity: dfs.Identity{User: l.m.cfg.Superuser}, Superuser: l.m.cfg.Superuser}
}

func (l *leadership) expireWorkers() {
	for _, id := range l.m.workers.Expire(l.m.h.Now()) {
		l.m.log.Warn("worker lost", "worker", id, "blocks", l.m.blocks.Blocks(id))
		l.m.blocks.RemoveWorker(id)
		l.persist.workerLost(id)
	}
}

// expireSessions closes sessions that were silent for the session timeout. Silence is counted by this leader alone, so
// that a failover or a jump of the clock before it never ends a session early.
func (l *leadership) expireSessions() {
	now := l.m.h.Now()
	ids := l.m.machine.SessionIDs()
	var expired []dfs.SessionID
	l.mu.Lock()
	known := make(map[dfs.SessionID]time.Time, len(ids))
	for _, id := range ids {
		at, ok := l.lastSeen[id]
		if !ok {
			at = now
		}
		known[id] = at
		if now.Sub(at) > l.m.cfg.SessionTimeout {
			expired = append(expired, id)
		}
	}
	l.lastSeen = known
	l.mu.Unlock()
	for _, id := range expired {
		if err := l.e.CloseSession(l.ctx, id); err != nil {
			return
		}
		l.m.log.Info("session expired", "session", uint64(id))
	}
}
