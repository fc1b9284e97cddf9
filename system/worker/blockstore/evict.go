package blockstore

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// evictInterval is how often the evictor looks without being asked.
const evictInterval = time.Second

// evictLoop keeps every tier under its high watermark, and gives waiting writers room.
// It is one task, so that two do not evict twice for the same want; whoever needs room wakes it through kick, which
// holds one wish: the loop looks at all tiers each time.
func (s *Store) evictLoop() {
	for s.ctx.Err() == nil {
		ctx, cancel := s.h.WithTimeout(s.ctx, evictInterval)
		_, _ = s.kick.Recv(ctx)
		cancel()
		for i := range s.tiers {
			s.evictTier(i)
		}
	}
}

// evictTier evicts from the high watermark down to the low one, and as far as writers wait for room.
func (s *Store) evictTier(tierIndex int) {
	t := s.tiers[tierIndex]
	if t.Failed() != nil {
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

// Promote moves the block at offset to the fastest tier, if nobody uses it now and there is room or room can be made in
// time. It is an attempt: false says that the block stays where it is. Data that only workers have is never moved, so that
// a crash in the middle cannot leave two half copies of it.
func (s *Store) Promote(ref *Ref, offset int64) bool {
	index, _ := ref.geometry().locate(offset)
	s.mu.Lock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		s.mu.Unlock()
		return false
	}
	b := f.blocks[index]
	if b == nil || b.tier == 0 || b.pins > 0 || !f.persisted || f.busy[index] != nil || s.tiers[0].Failed() != nil {
		s.mu.Unlock()
		return false
	}
	bytes := b.used
	f.setBusy(index, &busy{done: s.h.NewEvent()})
	s.policies[b.tier].Remove(b.id(f))
	s.mu.Unlock()
	if !s.tiers[0].BelowHigh(bytes) {
		s.waitRoom(s.ctx, 0, bytes, s.config.FillWait)
	}
	if !s.move(held{f, b}, 0) {
		return false
	}
	s.Counters.PromotedBlocks.Add(1)
	return true
}

// move copies a block to another tier, page by page with its checksums, and frees the old place. The caller owns the
// index's busy entry, which move ends, and the block has no place in its policy, which move gives it back. False: the
// block is where it was, or is gone with its tier.
// The order makes a crash harmless: data and records on the target, then the change in memory, then the erasure at the
// source. With both on the disk, recovery keeps the faster tier's copy, which is whole or fails its checksums, and
// erases the other.
func (s *Store) move(x held, target int) bool {
	f, b := x.file, x.block
	from := b.tier
	moved := false
	if s.tiers[target].Reserve(b.used) {
		s.mu.Lock()
		s.backingOf(f, target).blocks++
		s.mu.Unlock()
		moved = s.copyBlock(s.ctx, x, target, true) == nil
		if !moved {
			s.vacate(f, b, target)
		}
	}
	s.mu.Lock()
	dead := b.dead // its tier failed meanwhile
	if moved && !dead {
		b.tier = target
	}
	if !dead {
		s.policies[b.tier].Add(b.id(f), b.used)
		s.policies[b.tier].Touch(b.id(f))
	}
	s.mu.Unlock()
	if dead && moved {
		s.vacate(f, b, target)
	}
	if dead || moved {
		s.vacate(f, b, from)
	}
	s.endMove(x, dead)
	return moved && !dead
}

// endMove ends the busy entry of a move. A block that was freed since the mover last looked (cleaned says that it saw it)
// has nobody else to clean up after it: Free and failTier leave a busy block to the entry's owner.
func (s *Store) endMove(x held, cleaned bool) {
	s.mu.Lock()
	late := x.block.dead && !cleaned
	if !late {
		end := s.takeBusy(x.file, x.block.index)
		s.mu.Unlock()
		end()
		return
	}
	s.mu.Unlock()
	s.cleanUp(x.file, x.block)
}

// copyBlock copies a block's pages to another tier, with their records or (of a write that is not committed: INV-2)
// without; a bad page ends it. The caller owns the busy entry, so that nobody changes the block.
// It reads and checks each page before it writes it, so damage does not travel. It holds one page of memory. What it
// has written when it fails is for the caller to vacate.
func (s *Store) copyBlock(ctx context.Context, x held, target int, records bool) error {
	f, b := x.file, x.block
	s.mu.Lock()
	pages, g := b.pageList(), f.geometry
	s.mu.Unlock()
	to, err := s.use(ctx, f, target)
	if err != nil {
		return err
	}
	defer s.done(to)
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	for _, page := range pages {
		stored := b.stored(g, page)
		data := (*room)[:stored.end-stored.start]
		if _, err := s.readVerified(ctx, x, stored, stored.start, data); err != nil {
			return err
		}
		if err := s.writeData(to, stored.start, data); err != nil {
			return err
		}
		var sums pageSums
		if copy(sums[:], stored.sums); !records {
			continue
		}
		if err := s.writeRecord(to, g.recordOffset(b.index, page), stored.start, int64(len(data)), &sums); err != nil {
			return err
		}
	}
	return nil
}

// syncPair makes a pair's data, records and names durable, in this order.
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

func (s *Store) diskErrorOrNil(tierIndex int, err error, op, path string) error {
	if err == nil {
		return nil
	}
	return s.diskError(tierIndex, err, op, path)
}
