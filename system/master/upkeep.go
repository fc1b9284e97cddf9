package master

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

var pathSmallGarbage = host.NewPath("a step of collecting garbage has one inode")

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

// startUpkeep starts the tasks that a leader does by itself. Each runs alone, so that one that hangs in a store (TTLs)
// does not hold up the others, and none runs twice at a time.
func (l *leadership) startUpkeep() {
	l.every("collect-garbage", garbageInterval, l.collectGarbage)
	l.every("expire-ttls", ttlInterval, l.expireTTLs)
	l.every("expire-workers", workerInterval, l.expireWorkers)
	l.every("expire-sessions", l.m.cfg.SessionTimeout/sessionDivisor, l.expireSessions)
	l.every("persist", persistInterval, l.persist.schedule)
	l.every("close-stores", workerInterval, func() { l.m.stores.retain(l.m.machine.Mounts()) })
}

// every runs f again and again until the leadership ends. A run that takes longer than the interval delays the next;
// it is never made up for.
func (l *leadership) every(name string, interval time.Duration, f func()) {
	l.task(name, func() {
		ticker := host.NewTicker(l.m.h, interval)
		for ticker.Wait(l.ctx) == nil {
			f()
		}
	})
}

// collectGarbage empties removed directories until none are left, in steps that let mutations in between. An error
// ends the round: the next one goes on, or the leadership is over.
func (l *leadership) collectGarbage() {
	for l.ctx.Err() == nil {
		n, err := l.e.CollectGarbage(l.ctx, pathSmallGarbage.Bound(l.m.h, garbageStep, 1), l.forget)
		if err != nil || n == 0 {
			return
		}
	}
}

// forget tells the workers that hold a removed file to drop it.
// The command goes with the worker's next heartbeat. Losing it does no harm: nobody asks for a version that the
// namespace does not name, and eviction takes it.
func (l *leadership) forget(n *inodestore.Inode) {
	l.tell(n, n.Version, &proto.WorkerCommand{Action: proto.WorkerCommand_FREE, Inode: uint64(n.ID)})
}

// dropCopies tells the workers that hold a file's version to drop it. The file stays, and may have a newer version by the time
// that they hear of it, of which theirs may be the only copies: so it is the version that is named.
func (l *leadership) dropCopies(n *inodestore.Inode) {
	l.tell(n, n.Version, &proto.WorkerCommand{Action: proto.WorkerCommand_FREE, Inode: uint64(n.ID), Version: n.Version})
}

// tell queues a command for every worker that holds a block of the file's version.
// Workers that hold none of it hear nothing; those that are lost are not in the block map.
func (l *leadership) tell(n *inodestore.Inode, version uint32, c *proto.WorkerCommand) {
	for _, w := range l.m.blocks.Holders(fileOf(n, version), blocksOf(n)) {
		l.m.workers.Tell(w, c)
	}
}

// fileOf names one version of a file, as workers and the block map know it.
func fileOf(n *inodestore.Inode, version uint32) dfs.FileVersion {
	return dfs.FileVersion{Inode: n.ID, Version: version}
}

// blocksOf is how many blocks a file has; the last may be short. It is within MaxFileBlocks whatever the inode says,
// since callers loop over it.
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

// own is the leader's own authority.
// It carries no session, so nothing of it is remembered: what upkeep does is done again if need be.
func (l *leadership) own() namespace.Request {
	return namespace.Request{Identity: dfs.Identity{User: l.m.cfg.Superuser}, Superuser: l.m.cfg.Superuser}
}

// expireWorkers drops what silent workers held, so that no client is sent to them, and makes what they were persisting
// due again.
func (l *leadership) expireWorkers() {
	for _, id := range l.m.workers.Expire(l.m.h.Now()) {
		l.m.log.Warn("worker lost", "worker", id, "blocks", l.m.blocks.Blocks(id))
		l.m.blocks.RemoveWorker(id)
		l.persist.again(id, "the worker that was writing it was lost")
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
