// Package workerregistry knows the live workers: who registered, when each was last heard, and what it is to be told.
// Soft state of the leader: a new one starts empty and tells every worker that heartbeats to register. It owns no
// blocks (package blockmap does). The master's Blocks service is its caller.
package workerregistry

import (
	"sort"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

// forgetAfter is how long a lost worker is listed. Workers that get a new id with each start would otherwise gather.
const forgetAfter = 24 * time.Hour

// worker is one process by its id. INV-1: at most one lease of an id is valid, the last that Begin gave, and 0 is none.
// INV-2: a worker that is not live, not known or overflown is told to register, and is brought in line by that alone: so
// commands may be dropped at any bound. INV-3: complete is true only between a registration's last batch and the end of
// its lease, so Settled never counts half a report.
type worker struct {
	info     *proto.WorkerInfo
	lease    uint64
	lastSeen time.Time
	live     bool
	waiting  bool // its registration waits for its turn: that its stream is open says that it lives
	complete bool // its whole block list has arrived
	commands []*proto.WorkerCommand
	told     int    // of commands, by the last answer
	answer   uint64 // how many answers this lease had
	overflow bool
	placed   uint64 // what it counts for in sum (INV-4)
}

// Registry is safe for concurrent use.
// mu is held for a few lines of memory and for a pass over all workers, which are thousands at most; nothing is called
// under it.
type Registry struct {
	lostAfter time.Duration

	mu      sync.Mutex
	workers map[dfs.WorkerID]*worker
	leases  uint64
	sum     uint64 // INV-4
	last    placement
}

// New makes an empty registry; a worker that is silent for lostAfter is lost.
func New(lostAfter time.Duration) *Registry {
	return &Registry{lostAfter: lostAfter, workers: map[dfs.WorkerID]*worker{}}
}

// Begin starts a registration and returns its lease. An earlier lease of the same worker ends. Commands that waited
// for the worker are kept, unless they had overflown: the registration makes up for those. The worker is live from now on,
// and is not missed before it is heard of for the first time (Touch), or Broken: one of the two must follow.
func (r *Registry) Begin(info *proto.WorkerInfo, now time.Time) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leases++
	w := &worker{info: info, lease: r.leases, lastSeen: now, live: true, waiting: true}
	if old := r.workers[dfs.WorkerID(info.Id)]; old != nil {
		if !old.overflow {
			w.commands = old.commands
		}
		r.unplace(old)
	}
	r.workers[dfs.WorkerID(info.Id)] = w
	r.place(w)
	return w.lease
}

// Supersede makes every other live worker at an address due to be lost, and tells whether there was one: it has ended, since the
// address is another's now, and what is sent to it would reach that one. Until it is lost a block could have two copies, one
// for each name, on one machine.
func (r *Registry) Supersede(id dfs.WorkerID, address string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for other, w := range r.workers {
		if w.live && other != id && w.info.Address == address {
			w.lastSeen, w.waiting, found = now.Add(-r.lostAfter-1), false, true
		}
	}
	return found
}

// leased is the live worker that holds this lease; nil when the lease ended, or never was (INV-1). r.mu is held.
func (r *Registry) leased(id dfs.WorkerID, lease uint64) *worker {
	if w := r.workers[id]; w != nil && w.live && lease != 0 && w.lease == lease {
		return w
	}
	return nil
}

// heard notes that a worker lives. r.mu is held.
func (w *worker) heard(now time.Time) { w.waiting, w.lastSeen = false, now }

// Complete marks a registration as whole. It returns false when the lease ended meanwhile, or the worker was
// lost.
func (r *Registry) Complete(id dfs.WorkerID, lease uint64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.leased(id, lease)
	if w == nil {
		return false
	}
	w.complete = true
	w.heard(now)
	return true
}

// Broken ends a registration whose stream ended before its last batch: the worker's next heartbeat tells it to register
// anew. Without this it would beat for ever with half of its blocks known, and nobody could call any block missing. It
// does nothing to a registration that is whole, or that another has replaced.
func (r *Registry) Broken(id dfs.WorkerID, lease uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[id]
	if w == nil || w.lease != lease || w.complete {
		return
	}
	w.lease = 0
	if w.waiting { // until now its stream has said that it lives
		w.heard(now)
	}
}

// Touch notes that a worker that is still registering lives. It returns false when the lease ended meanwhile, also by the
// worker's loss: what it reports after its blocks were dropped would stay in the block map until it registers again,
// which it may never do.
func (r *Registry) Touch(id dfs.WorkerID, lease uint64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.leased(id, lease)
	if w == nil {
		return false
	}
	w.heard(now)
	return true
}

// Expire marks workers that were silent too long as lost, and returns them. A lost worker's commands are dropped; its
// blocks are the caller's to drop. Each loss is told once.
func (r *Registry) Expire(now time.Time) []dfs.WorkerID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lost []dfs.WorkerID
	for id, w := range r.workers {
		if w.live && !w.waiting && now.Sub(w.lastSeen) > r.lostAfter {
			w.live, w.complete, w.commands, w.told = false, false, nil, 0
			r.place(w)
			lost = append(lost, id)
		}
		if !w.live && now.Sub(w.lastSeen) > forgetAfter {
			delete(r.workers, id)
		}
	}
	sort.Slice(lost, func(i, j int) bool { return lost[i] < lost[j] })
	return lost
}

// Live tells whether a worker is live.
// Live is true from the beginning of a registration, so commands reach a worker whose blocks are not all known yet.
func (r *Registry) Live(id dfs.WorkerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[id]
	return w != nil && w.live
}

// Settled tells whether every live worker has reported all of its blocks. False while none is known: then
// nothing is known of any block.
func (r *Registry) Settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		if w.live && !w.complete {
			return false
		}
	}
	return len(r.workers) > 0
}

// List tells about every known worker, by id.
func (r *Registry) List() []*proto.WorkerInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*proto.WorkerInfo, 0, len(r.workers))
	for _, w := range r.workers {
		out = append(out, &proto.WorkerInfo{
			Id: w.info.Id, Address: w.info.Address, Tiers: w.info.Tiers, Live: w.live, Registered: w.complete,
			LastHeartbeat: w.lastSeen.UnixNano(), Started: w.info.Started, Version: w.info.Version,
		})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Id < out[j].Id })
	return out
}

// Reset forgets everything. Leases go on counting, so that one of before is never valid again.
func (r *Registry) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.workers)
	r.sum = 0
}
