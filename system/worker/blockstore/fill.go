package blockstore

import (
	"context"
)

// Fill keeps one page that was read from the under store. stored is false when there is no room for it, when its block
// is being written, or when its disk fails: the caller has the bytes and goes on.
// The page's room is reserved before it is written and given back when it was not needed. Two fills of one page at a
// time both write the same bytes to the same place, and the first to install it counts. ctx bounds the wait for room
// and for the file's lock; the write itself is not interrupted.
func (s *Store) Fill(ctx context.Context, ref *Ref, offset int64, data []byte) (stored bool) {
	g := ref.geometry()
	index, page := g.locate(offset)
	if start, end := g.span(index, page); start != offset || end-start != int64(len(data)) || len(data) == 0 {
		return false
	}
	x, ok := s.pinForFill(ctx, ref, index, page, cost(int64(len(data))))
	if !ok {
		s.Counters.FillsRefused.Add(1)
		return false
	}
	if x.block == nil {
		return true // it was there
	}
	sums := sum(data)
	err := s.writePage(ctx, x, g, page, data, &sums)
	s.mu.Lock()
	if err != nil || x.block.dead || x.block.has(page) {
		x.block.used -= cost(int64(len(data)))
		s.tiers[x.block.tier].Release(cost(int64(len(data))))
	} else {
		s.install(x.file, x.block, page, &sums, int64(len(data)))
		s.Counters.Filled.Add(1)
	}
	empty := err != nil && x.block.pages == 0 && x.block.pins == 1 && !x.block.dead && x.file.busy[index] == nil
	if empty {
		s.drop(x.file, x.block)
	}
	s.mu.Unlock()
	s.unpin(x.file, x.block)
	return err == nil
}

// pinForFill reserves room for a page and pins its block, making it if needed. A nil block with ok says that the page
// is held already.
// It tries twice, with a wait for room of at most FillWait in between. It refuses a block with an entry in busy, which
// is about to be another content (a write) or gone (an eviction): a fill is never worth a wait for either.
func (s *Store) pinForFill(ctx context.Context, ref *Ref, index uint32, page int, bytes int64) (x held, ok bool) {
	for attempt := range 2 {
		s.mu.Lock()
		f := s.hold(ref, true)
		if f == nil {
			s.mu.Unlock()
			return x, false
		}
		b := f.blocks[index]
		switch {
		case f.busy[index] != nil:
			s.release(f)
			s.mu.Unlock()
			return x, false
		case b != nil && b.has(page):
			s.release(f)
			s.mu.Unlock()
			return x, true
		}
		tierIndex, reserved := s.reserve(b, bytes)
		if reserved {
			if b == nil {
				b = s.newBlock(f, index, tierIndex)
				f.blocks[index] = b
			}
			b.pins++
			b.used += bytes
		}
		s.release(f)
		s.mu.Unlock()
		if reserved {
			return held{f, b}, true
		}
		if attempt > 0 || !s.waitRoom(ctx, tierIndex, bytes, s.config.FillWait) {
			break
		}
	}
	return x, false
}

// install makes a page visible. The caller holds mu and has reserved its room.
func (s *Store) install(f *file, b *block, page int, sums *pageSums, pageBytes int64) {
	b.set(f.geometry, page, sums, pageBytes)
	s.policies[b.tier].Add(b.id(f), cost(pageBytes))
	if s.complete(f, b) {
		s.note(f, b.index, true)
	}
}

// complete tells whether every page of the block is held. The caller holds mu.
// Of a file whose length is not known no block is: pagesIn is then 0.
func (s *Store) complete(f *file, b *block) bool {
	n := f.geometry.pagesIn(b.index)
	return n > 0 && b.pages >= n
}

// writePage writes a page's bytes and then its record. The caller pins the block.
// It does not sync: the under store has the page, and what a crash takes is fetched again. A record whose bytes
// were lost fails the checksums when it is read.
func (s *Store) writePage(ctx context.Context, x held, g geometry, page int, data []byte, sums *pageSums) error {
	b, err := s.use(ctx, x.file, x.block.tier)
	if err != nil {
		return err
	}
	defer s.done(b)
	start, _ := g.span(x.block.index, page)
	if err := s.writeData(b, start, data); err != nil {
		return err
	}
	return s.writeRecord(b, g.recordOffset(x.block.index, page), start, int64(len(data)), sums)
}

// writeData writes a page's bytes to an open pair. Without a record they are nothing.
func (s *Store) writeData(b *backing, start int64, data []byte) error {
	_, err := b.data.WriteAt(data, start)
	return s.diskErrorOrNil(b.tier, err, "write page", s.nameOf(b.tier, b.file.id)+dataSuffix)
}

// writeRecord writes the record of the page [start, start+length) at its place in the meta file.
func (s *Store) writeRecord(b *backing, at, start, length int64, sums *pageSums) error {
	r := record(b.file.id, start, length, sums)
	_, err := b.meta.WriteAt(r[:], at)
	return s.diskErrorOrNil(b.tier, err, "write page", s.nameOf(b.tier, b.file.id)+metaSuffix)
}
