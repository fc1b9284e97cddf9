package blockstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
)

// held is a block and its file.
type held struct {
	file  *file
	block *block
}

func (b *block) has(page int) bool {
	return page>>6 < len(b.valid) && b.valid[page>>6]&(1<<(page&63)) != 0
}

// id names the block in the policies and in reports.
func (b *block) id(f *file) dfs.BlockID { return dfs.BlockID{File: f.id, Index: b.index} }

// newBlock makes an empty block on a tier, and counts it there. The caller holds mu.
func (s *Store) newBlock(f *file, index uint32, tierIndex int) *block {
	s.backingOf(f, tierIndex).blocks++
	return &block{index: index, tier: tierIndex}
}

// set records a page, of which the file has pageBytes: a block whose file's length was not known grows. The caller holds
// mu, or is the only one who knows the block.
func (b *block) set(g geometry, page int, sums *pageSums, pageBytes int64) {
	start, _ := g.span(b.index, page)
	b.end = max(b.end, start+pageBytes)
	b.reach = max(b.reach, b.end)
	for page>>6 >= len(b.valid) {
		b.valid = append(b.valid, 0)
	}
	chunks := int(pageBytes+chunkBytes-1) / chunkBytes
	if need := page*chunksPerPage + chunks; need > len(b.sums) {
		b.sums = slices.Grow(b.sums, need-len(b.sums))[:need]
	}
	copy(b.sums[page*chunksPerPage:], sums[:chunks])
	if !b.has(page) {
		b.valid[page>>6] |= 1 << (page & 63)
		b.pages++
	}
}

// clear forgets a page. Without its last page a block ends where that began: all others are full.
func (b *block) clear(g geometry, page int) {
	if !b.has(page) {
		return
	}
	b.valid[page>>6] &^= 1 << (page & 63)
	b.pages--
	if start, end := b.span(g, page); end == b.end {
		b.end = start
	}
}

// span is the range of a page as it was stored, whatever a reference says of the file's length (INV-6).
func (b *block) span(g geometry, page int) (start, end int64) {
	g.length = b.end
	return g.span(b.index, page)
}

// covers tells whether all that a reference means by a page is held. The caller holds mu.
func (b *block) covers(ref *Ref, page int) bool {
	if b == nil || !b.has(page) {
		return false
	}
	_, want := ref.geometry().span(b.index, page)
	_, end := b.span(ref.geometry(), page)
	return want <= end
}

// pageList lists the pages that are held.
func (b *block) pageList() (pages []int) {
	for i, word := range b.valid {
		for ; word != 0; word &= word - 1 {
			pages = append(pages, i<<6+bits.TrailingZeros64(word))
		}
	}
	return pages
}

// indexes lists the blocks that are held, ascending, whole or not. The caller holds mu.
func (f *file) indexes() []uint32 {
	indexes := make([]uint32, 0, len(f.blocks))
	for index := range f.blocks {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	return indexes
}

// Has tells whether the page at offset is held, without reading it. It may be gone a moment later.
// A page that is held and shorter than ref means is not: the reference knows of a longer file.
func (s *Store) Has(ref *Ref, offset int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		return false
	}
	index, page := ref.geometry().locate(offset)
	return f.blocks[index].covers(ref, page)
}

// TierOf is the index of the tier that holds the page at offset, or -1.
func (s *Store) TierOf(ref *Ref, offset int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		return -1
	}
	index, page := ref.geometry().locate(offset)
	if b := f.blocks[index]; b.covers(ref, page) {
		return b.tier
	}
	return -1
}

// Read fills p with the bytes at offset, which must lie in one page, and tells their CRC32C. hit is false when the page
// is not held, or was found bad and has been dropped. Only of data that the under store does not have is a bad page an
// error: Corrupted.
// It waits for a block that is being moved or dropped, at most for ctx, and never for a client's write. p may be any
// part of the page; the checksums of the chunks that it touches are compared, so a small read of a page does not find
// damage elsewhere in it. InvalidArgument is a mistake of the caller's; Unavailable, that the disk did not give a page
// that only this worker has, or that its tier is given up.
func (s *Store) Read(ctx context.Context, ref *Ref, offset int64, p []byte) (crc uint32, hit bool, err error) {
	if start, end := ref.PageSpan(offset); offset < start || offset > end || int64(len(p)) > end-offset {
		return 0, false, dfs.Errorf(dfs.InvalidArgument, "read page", ref.describe(), "range %d+%d is not in one page of the file", offset, len(p))
	}
	x, page, stored, err := s.pinPage(ctx, ref, offset)
	if err != nil || x.block == nil {
		return 0, false, err
	}
	defer s.unpin(x.file, x.block)
	crc, err = s.readVerified(ctx, x, stored, offset, p)
	if err == nil {
		s.Counters.Hits.Add(1)
		return crc, true, nil
	}
	if s.beyondUse(x, err) {
		return 0, false, s.dropPage(ctx, x, page, ref)
	}
	return 0, false, err
}

// beyondUse tells whether err, of reading a page, means that the page is better dropped: its bytes are not those that were
// written, or the disk does not give them and the under store has them too. A page that only this worker has is kept
// through errors of the disk, which may give it yet.
func (s *Store) beyondUse(x held, err error) bool {
	if errors.Is(err, errBadPage) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return dfs.IsKind(err, dfs.Unavailable) && x.file.persisted && s.tiers[x.block.tier].Failed() == nil
}

// errBadPage says that a page's bytes are not those that were written.
var errBadPage = errors.New("checksum mismatch")

// storedPage is where a page's bytes lie in the file and what they must sum to: a copy, for use without mu.
type storedPage struct {
	start, end int64
	sums       []uint32
}

// stored copies what is known of a page that is held. The caller holds mu.
func (b *block) stored(g geometry, page int) (p storedPage) {
	p.start, p.end = b.span(g, page)
	first := page * chunksPerPage
	p.sums = slices.Clone(b.sums[first:min(first+chunksPerPage, len(b.sums))])
	return p
}

// pinPage finds the page and keeps its block. The block is nil when it is not held.
// A page that is being read stays: whoever wants the block's room or its index waits for the last unpin. The
// reference's flags (pinned, persisted) are noted on the way, since a reader may know more of the file than the store.
func (s *Store) pinPage(ctx context.Context, ref *Ref, offset int64) (x held, page int, stored storedPage, err error) {
	index, page := ref.geometry().locate(offset)
	for {
		s.mu.Lock()
		f := s.hold(ref, false)
		if f == nil {
			s.mu.Unlock()
			s.Counters.Misses.Add(1)
			return held{}, page, stored, nil
		}
		if w := f.busy[index]; w != nil && !w.writing {
			s.release(f)
			s.mu.Unlock()
			if err := w.done.Wait(ctx); err != nil {
				return held{}, page, stored, dfs.Wrap(err, "read page", ref.describe())
			}
			continue
		}
		b := f.blocks[index]
		if !b.covers(ref, page) {
			s.release(f)
			s.mu.Unlock()
			s.Counters.Misses.Add(1)
			return held{}, page, stored, nil
		}
		b.pins++
		stored = b.stored(f.geometry, page)
		s.policies[b.tier].Touch(b.id(f))
		s.release(f) // the block holds it
		s.mu.Unlock()
		return held{f, b}, page, stored, nil
	}
}

// unpin undoes pinPage.
// The last unpin of a block that was dropped meanwhile gives its room back, in this task.
func (s *Store) unpin(f *file, b *block) {
	s.mu.Lock()
	b.pins--
	last := b.dead && b.pins == 0
	s.mu.Unlock()
	if last {
		s.cleanUp(f, b)
	}
}

// scratch is for reads that are not aligned to chunks.
var scratch = sync.Pool{New: func() any { b := make([]byte, dfs.PageSizeBytes); return &b }}

// readVerified reads [offset, offset+len(p)) of a page, in which it must lie, and checks the chunks that it touches. The
// caller pins the block, or owns its busy entry.
// It answers the CRC32C of p, which for whole chunks is made of the sums that were just compared, without reading p
// twice. An error is errBadPage, or of the disk and converted (diskError), or of ctx while the pair was being opened.
func (s *Store) readVerified(ctx context.Context, x held, page storedPage, offset int64, p []byte) (uint32, error) {
	start, end, sums := page.start, page.end, page.sums
	from := start + (offset-start)/chunkBytes*chunkBytes
	to := min(start+(offset+int64(len(p))-start+chunkBytes-1)/chunkBytes*chunkBytes, end)
	whole := p
	if from != offset || to != offset+int64(len(p)) {
		room := scratch.Get().(*[]byte)
		defer scratch.Put(room)
		whole = (*room)[:to-from]
	}
	b, err := s.use(ctx, x.file, x.block.tier)
	if err != nil {
		return 0, err
	}
	n, err := b.data.ReadAt(whole, from)
	s.done(b)
	if n < len(whole) && (err == nil || errors.Is(err, io.EOF)) {
		return 0, errBadPage // truncated
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, s.diskError(x.block.tier, err, "read page", s.nameOf(x.block.tier, x.file.id)+dataSuffix)
	}
	crc, ok := verify(whole, sums[min(int((from-start)/chunkBytes), len(sums)):])
	if !ok {
		return 0, errBadPage
	}
	if len(whole) != len(p) {
		copy(p, whole[offset-from:])
		crc = crc32.Checksum(p, castagnoli)
	}
	return crc, nil
}

// verify checks data, whole chunks but for the last, and tells its CRC32C.
func verify(data []byte, sums []uint32) (crc uint32, ok bool) {
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), chunkBytes)
		c := crc32.Checksum(data[:n], castagnoli)
		if i >= len(sums) || sums[i] != c {
			return 0, false
		}
		switch {
		case i == 0:
			crc = c
		case n == chunkBytes:
			crc = appendChunk(crc, c)
		default:
			crc = crc32.Update(crc, castagnoli, data[:n])
		}
		data = data[n:]
	}
	return crc, true
}

// dropPage forgets a bad page and counts it. The caller pins the block.
// The page is absent in memory first, so that nobody else meets it, then on the disk. When the record cannot be erased
// the page comes back with the next start and is found bad again. The error is nil when the under store has the page,
// else Corrupted: what was lost is named by its bytes, and counted.
func (s *Store) dropPage(ctx context.Context, x held, page int, ref *Ref) error {
	s.Counters.BadPages.Add(1)
	f, b := x.file, x.block
	s.mu.Lock()
	persisted, g := f.persisted, f.geometry
	start, end := b.span(g, page)
	s.clearPage(f, b, page)
	s.mu.Unlock()
	s.log.Warn("a page cannot be read back, or its checksum is wrong: it is dropped", "file", ref.describe(), "block", b.id(f).String(), "page", page, "persisted", persisted)
	if bk, err := s.use(ctx, f, b.tier); err == nil {
		var absent [recordBytes]byte
		if _, err := bk.meta.WriteAt(absent[:], g.recordOffset(b.index, page)); err != nil {
			_ = s.diskError(b.tier, err, "drop page", s.nameOf(b.tier, f.id)+metaSuffix)
		}
		s.done(bk)
	}
	if persisted {
		return nil
	}
	s.Counters.LostPages.Add(1)
	return dfs.Errorf(dfs.Corrupted, "read page", ref.describe(), "bytes %d to %d (block %v) fail their checksum and the under store does not "+
		"have them yet: read from another worker's replica if there is one, else write the file again", start, end, b.id(f))
}

// clearPage takes a page out of a block, with its room. The caller holds mu.
// It does nothing to a block that was dropped meanwhile, whose room goes back as a whole.
func (s *Store) clearPage(f *file, b *block, page int) {
	if b.dead || !b.has(page) {
		return
	}
	if s.complete(f, b) {
		s.note(f, b.index, false)
	}
	start, end := b.span(f.geometry, page)
	b.clear(f.geometry, page)
	b.used -= cost(end - start)
	s.tiers[b.tier].Release(cost(end - start))
	s.policies[b.tier].Add(b.id(f), -cost(end-start))
}

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

// writePage writes a page's bytes and then its record. The caller pins the block.
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

// forgetBlock takes a block out of memory's view. Its bytes are still on the disk. The caller holds mu.
func (s *Store) forgetBlock(f *file, b *block) {
	if f.blocks[b.index] != b {
		return
	}
	if s.complete(f, b) {
		s.note(f, b.index, false)
	}
	delete(f.blocks, b.index)
	s.policies[b.tier].Remove(b.id(f))
	b.dead = true
}

// drop forgets a block and makes its index busy until cleanUp is done. It tells whether nobody pins it: then the caller
// calls cleanUp after it has left mu; else the last unpin does. The caller holds mu; the index is not busy.
func (s *Store) drop(f *file, b *block) (idle bool) {
	s.forgetBlock(f, b)
	f.setBusy(b.index, &busy{done: s.h.NewEvent()})
	return b.pins == 0
}

// setBusy begins exclusive work on an index that has none. The caller holds mu.
func (f *file) setBusy(index uint32, w *busy) {
	if f.busy == nil {
		f.busy = map[uint32]*busy{}
	}
	f.busy[index] = w
}

// cleanUp gives a dropped block's room back.
// It comes once for each drop, after the last pin, and ends the index's busy entry. It does I/O: the caller holds no
// lock.
func (s *Store) cleanUp(f *file, b *block) {
	s.vacate(f, b, b.tier)
	s.endBusy(f, b.index)
}

// endBusy ends exclusive work on an index and lets waiters look again.
func (s *Store) endBusy(f *file, index uint32) {
	s.mu.Lock()
	end := s.takeBusy(f, index)
	s.mu.Unlock()
	end()
}

// takeBusy is endBusy under mu; its result wakes the waiters, without mu.
func (s *Store) takeBusy(f *file, index uint32) (wake func()) {
	w, room := f.busy[index], s.room
	delete(f.busy, index)
	s.forgetIfEmpty(f)
	s.room = s.h.NewEvent()
	return func() {
		if w != nil {
			w.done.Set()
		}
		room.Set()
	}
}
