package blockstore

import (
	"context"
	"time"
)

// reserve takes room for bytes: on the block's tier, or for a new block on the fastest that has it. When there is none it
// names the tier to wait for. The caller holds mu.
// It kicks the evictor when a reservation passes the high watermark, long before anybody has to wait. The tier to wait
// for is the fastest that works: what is freed there is what newcomers get.
func (s *Store) reserve(b *block, bytes int64) (tierIndex int, ok bool) {
	first, last := 0, len(s.tiers)-1
	if b != nil {
		first, last = b.tier, b.tier
	}
	waitFor := first
	for i := first; i <= last; i++ {
		if s.tiers[i].Reserve(bytes) {
			if s.tiers[i].OverHigh() {
				s.kick.TrySend(struct{}{})
			}
			return i, true
		}
		if s.tiers[i].Writable() == nil && s.tiers[waitFor].Writable() != nil {
			waitFor = i
		}
	}
	return waitFor, false
}

// waitRoom asks the evictor for bytes on a tier and waits until something was evicted, at most for limit.
//
// Room that came free since the caller looked is seen here: whoever gives room back releases it before endBusy takes mu
// to replace s.room, so that a release not seen below sets the event that is taken below.
// It is false at once for more than the tier will ever have and for a tier that takes no writes, and after limit or the end
// of ctx. True says that it is worth another look, not that the room is there: others look, too. demand tells the
// evictor how much to free below the low watermark if need be; it is given back on every way out.
func (s *Store) waitRoom(ctx context.Context, tierIndex int, bytes int64, limit time.Duration) bool {
	t := s.tiers[tierIndex]
	if t.Writable() != nil || bytes > t.Capacity() {
		return false
	}
	s.mu.Lock()
	if t.Used()+bytes <= t.Capacity() {
		s.mu.Unlock()
		return ctx.Err() == nil
	}
	room := s.room
	s.demand[tierIndex] += bytes
	s.mu.Unlock()
	s.kick.TrySend(struct{}{})
	waitCtx, cancel := s.h.WithTimeout(ctx, limit)
	defer cancel()
	err := room.Wait(waitCtx)
	s.mu.Lock()
	s.demand[tierIndex] -= bytes
	s.mu.Unlock()
	return err == nil
}
