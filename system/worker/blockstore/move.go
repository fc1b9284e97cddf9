package blockstore

import (
	"context"
)

// Promote moves the block at offset to the fastest tier, if nobody uses it now and there is room or room can be made in
// time. It is an attempt: false says that the block stays where it is. Data that only workers have is never moved, so that
// a crash in the middle cannot leave two half copies of it.
// It runs in the caller's task, with the store's own context: it reads and writes a whole block, so that callers
// on the path of a read hand it to a task of its own.
func (s *Store) Promote(ref *Ref, offset int64) bool {
	index, _ := ref.geometry().locate(offset)
	s.mu.Lock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		s.mu.Unlock()
		return false
	}
	b := f.blocks[index]
	if b == nil || b.tier == 0 || b.pins > 0 || !f.persisted || f.busy[index] != nil || s.tiers[0].Writable() != nil {
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
