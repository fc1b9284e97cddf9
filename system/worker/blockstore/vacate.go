package blockstore

import (
	"errors"
	"os"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// vacate frees what a block takes on a tier: its records and data, and the pair's files with the last block. The caller
// owns the index's busy entry. A crash before the records are erased leaves the block as it was; after it, space without
// records, which the file's next use or the pair's removal gives back.
// On a tier that takes no writes only the accounting is settled: its disk is not asked any more.
func (s *Store) vacate(f *file, b *block, tierIndex int) {
	erased := s.tiers[tierIndex].Writable() != nil
	s.leave(f, tierIndex, func() {
		if !erased {
			erased = true
			s.eraseBlock(f, b, tierIndex)
		}
	})
	s.tiers[tierIndex].Release(b.used)
}

// leave takes one from a pair's blocks, and removes the pair with the last one; if others are on it, erase is called
// first. Two that leave at a time may each find the other there and be the last one when they are done: so both look
// again, and the count never reaches 0 while the pair has its names.
func (s *Store) leave(f *file, tierIndex int, erase func()) {
	for !s.removeIfLast(f, tierIndex) {
		erase()
		s.mu.Lock()
		b := f.backings[tierIndex]
		others := b.blocks > 1
		if others {
			b.blocks--
		}
		s.mu.Unlock()
		if others || s.ctx.Err() != nil { // the store closes: the next start finds what is left
			return
		}
	}
}

// removeIfLast removes the pair if one block is all that is on it.
// It holds the file's lock from the last look to the removal, so that nobody makes the pair anew in between under the
// same names. It is false, too, when the store closes.
func (s *Store) removeIfLast(f *file, tierIndex int) bool {
	if f.lock.Lock(s.ctx) != nil {
		return false
	}
	defer f.lock.Unlock()
	s.mu.Lock()
	b := f.backings[tierIndex]
	if b.blocks > 1 {
		s.mu.Unlock()
		return false
	}
	f.backings[tierIndex] = nil
	b.blocks, b.dropped = 0, true
	idle := b.takeIdle()
	s.mu.Unlock()
	closeAll(idle)
	s.removePair(tierIndex, f.id)
	return true
}

// removePair removes the records first: data without records is nothing.
// A pair whose data cannot be removed is found by the next start, which removes data that has no records.
func (s *Store) removePair(tierIndex int, id dfs.FileVersion) {
	if s.tiers[tierIndex].Writable() != nil {
		return
	}
	fs, name := s.tiers[tierIndex].FS(), s.nameOf(tierIndex, id)
	for _, suffix := range []string{metaSuffix, dataSuffix} {
		if err := fs.Remove(name + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			_ = s.fatalDiskError(tierIndex, err, "remove backing file", name+suffix)
		}
	}
}

// eraseBlock makes a block's pages absent: records first, so that none is left without its data, then the data's space.
// It covers all that was ever written of the block, also by a write that was aborted before the file had a length.
// It does not sync: a record that comes back in a crash is of a page whose bytes are there, or fail their
// checksums. When it cannot erase, the tier is given up (fatalDiskError), since what is free in
// memory would be there on the disk.
func (s *Store) eraseBlock(f *file, erased *block, tierIndex int) {
	b, err := s.use(s.ctx, f, tierIndex)
	if err != nil {
		return
	}
	defer s.done(b)
	s.mu.Lock()
	g := geometry{f.geometry.blockSize, erased.reach}
	s.mu.Unlock()
	if zero := make([]byte, g.pagesIn(erased.index)*recordBytes); len(zero) > 0 {
		if _, err := b.meta.WriteAt(zero, g.recordOffset(erased.index, 0)); err != nil {
			_ = s.fatalDiskError(tierIndex, err, "evict block", s.nameOf(tierIndex, f.id)+metaSuffix)
			return
		}
	}
	start, end := g.blockSpan(erased.index)
	s.punch(b, start, end)
}

// punch gives a range's space back where the host can.
// A failure costs space and nothing else, so it does not fail the tier.
func (s *Store) punch(b *backing, start, end int64) {
	if p, ok := b.data.(host.HolePuncher); ok && end > start {
		if err := p.PunchHole(start, end-start); err != nil {
			s.log.Warn("cannot punch a hole: the space is freed with the file", "file", s.nameOf(b.tier, b.file.id), "error", err)
		}
	}
}
