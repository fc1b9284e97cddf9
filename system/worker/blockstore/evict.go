package blockstore

import (
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

var stateEvicted = host.NewState("a block is evicted")

// evictInterval is how often the evictor looks without being asked while a tier has not enough room: what a reader lets go of
// may be evicted then. With room everywhere whoever takes the last of it wakes the evictor.
const (
	evictInterval     = time.Second
	idleEvictInterval = 30 * time.Second
)

// evictLoop keeps every tier under its high watermark, and gives waiting writers room.
// It is one task, so that two do not evict twice for the same want; whoever needs room wakes it through kick, which
// holds one wish: the loop looks at all tiers each time.
func (s *Store) evictLoop() {
	pause := evictInterval
	for s.ctx.Err() == nil {
		ctx, cancel := s.h.WithTimeout(s.ctx, pause)
		_, _ = s.kick.Recv(ctx)
		cancel()
		pause = idleEvictInterval
		for i, t := range s.tiers {
			s.evictTier(i)
			if t.OverLow() {
				pause = evictInterval
			}
		}
	}
}

// evictTier evicts from the high watermark down to the low one, and as far as writers wait for room.
func (s *Store) evictTier(tierIndex int) {
	t := s.tiers[tierIndex]
	if t.Writable() != nil {
		return
	}
	begun := t.OverHigh()
	for s.ctx.Err() == nil {
		s.mu.Lock()
		wanted := t.Used()+s.demand[tierIndex] > t.Capacity()
		s.mu.Unlock()
		if !wanted && !(begun && t.OverLow()) {
			return
		}
		if !s.evictOne(tierIndex) {
			return // everything is pinned, unpersisted or in use: writers wait, then hear ResourceExhausted
		}
	}
}

// evictOne moves or drops the policy's next victim.
// It is false only when nothing may go. A victim is moved down when the tier below has room and the budget allows, else
// dropped, which costs a fetch if it is wanted again. The policy forgets it in either case; a move gives it a place
// anew.
func (s *Store) evictOne(tierIndex int) bool {
	s.mu.Lock()
	key, ok := s.policies[tierIndex].Evict(s.evictable)
	if !ok {
		s.mu.Unlock()
		return false
	}
	f, _ := s.files.Get(&file{id: key.File})
	b := f.blocks[key.Index]
	if below := s.demoteTo(tierIndex, b.used); below >= 0 {
		f.setBusy(b.index, &busy{done: s.h.NewEvent()})
		s.mu.Unlock()
		if s.move(held{f, b}, below) {
			s.Counters.DemotedBlocks.Add(1)
			return true
		}
		s.mu.Lock()
	}
	if f.blocks[key.Index] != b || !s.evictable(key) {
		s.mu.Unlock()
		return true // during the attempt to move it, it went by itself, is used again or was pinned: look for another
	}
	stateEvicted.Reached(s.h)
	s.Counters.EvictedBlocks.Add(1)
	s.Counters.EvictedBytes.Add(b.used)
	s.drop(f, b)
	s.mu.Unlock()
	s.cleanUp(f, b)
	return true
}

// evictable is INV-4. The caller holds mu.
func (s *Store) evictable(key dfs.BlockID) bool {
	f, ok := s.files.Get(&file{id: key.File})
	if !ok || f.pinned || !f.persisted || f.busy[key.Index] != nil {
		return false
	}
	b := f.blocks[key.Index]
	return b != nil && b.pins == 0
}

// demoteMeter spends DemoteBytesPerSecond: a second's worth may be saved up.
type demoteMeter struct {
	at    time.Time
	spent int64
}

// demoteTo is the next tier that has room for bytes without evicting for it, or -1. The caller holds mu.
// It never makes a lower tier evict: what is pushed out there was used more lately than what comes. It spends from the
// budget for the tier that it answers.
func (s *Store) demoteTo(tierIndex int, bytes int64) int {
	now := s.h.Now()
	if elapsed := now.Sub(s.demoted.at); elapsed < 0 || elapsed > time.Second {
		s.demoted = demoteMeter{at: now}
	}
	if s.demoted.spent+bytes > s.config.DemoteBytesPerSecond {
		return -1
	}
	for i := tierIndex + 1; i < len(s.tiers); i++ {
		if s.tiers[i].BelowHigh(bytes) {
			s.demoted.spent += bytes
			return i
		}
	}
	return -1
}

// syncPair makes a pair's data, records and names durable, in this order.
// The order matters for a file that only this worker has: names last, when what they lead to is there. The caller
// uses the pair (Store.use).
func (s *Store) syncPair(b *backing) error {
	name := s.nameOf(b.tier, b.file.id)
	if err := b.data.Sync(); err != nil {
		return s.diskError(b.tier, err, "sync", name+dataSuffix)
	}
	if err := b.meta.Sync(); err != nil {
		return s.diskError(b.tier, err, "sync", name+metaSuffix)
	}
	fs := s.tiers[b.tier].FS()
	return s.diskErrorOrNil(b.tier, syncDir(fs, fs.PathDir(name)), "sync directory", name)
}

// diskErrorOrNil is diskError for calls whose success comes by the same way.
func (s *Store) diskErrorOrNil(tierIndex int, err error, op, path string) error {
	if err == nil {
		return nil
	}
	return s.diskError(tierIndex, err, op, path)
}
