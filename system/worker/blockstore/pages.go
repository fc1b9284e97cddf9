package blockstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"sync"
	"time"

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

func (b *block) id(f *file) dfs.BlockID { return dfs.BlockID{File: f.id, Index: b.index} }

// newBlock makes an empty block on a tier, and counts it there. The caller holds mu.
func (s *Store) newBlock(f *file, index uint32, tierIndex int) *block {
	s.backingOf(f, tierIndex).blocks++
	return &block{index: index, tier: tierIndex}
}

// set records a page. g is the geometry as of now: a block whose file's length was not known grows.
func (b *block) set(page int, sums *pageSums, pageBytes int64) {
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

func (b *block) clear(page int) {
	if b.has(page) {
		b.valid[page>>6] &^= 1 << (page & 63)
		b.pages--
	}
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

func (f *file) indexes() []uint32 {
	indexes := make([]uint32, 0, len(f.blocks))
	for index := range f.blocks {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	return indexes
}

// Has tells whether the page at offset is held, without reading it. It may be gone a moment later.
func (s *Store) Has(ref *Ref, offset int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok || f.geometry.blockSize != ref.BlockSize {
		return false
	}
	index, page := ref.geometry().locate(offset)
	b := f.blocks[index]
	return b != nil && b.has(page)
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
	if b := f.blocks[index]; b != nil && b.has(page) {
		return b.tier
	}
	return -1
}

// Read fills p with the bytes at offset, which must lie in one page, and tells their CRC32C. hit is false when the page
// is not held, or was found bad and has been dropped. Only of data that the under store does not have is a bad page an
// error: Corrupted.
func (s *Store) Read(ctx context.Context, ref *Ref, offset int64, p []byte) (crc uint32, hit bool, err error) {
	x, page, sums, err := s.pinPage(ctx, ref, offset)
	if err != nil || x.block == nil {
		return 0, false, err
	}
	defer s.unpin(x.file, x.block)
	crc, err = s.readVerified(ctx, x, ref.geometry(), page, sums, offset, p)
	if err == nil {
		s.Counters.Hits.Add(1)
		return crc, true, nil
	}
	if errors.Is(err, errBadPage) {
		return 0, false, s.dropPage(ctx, x, page, ref)
	}
	return 0, false, err
}

// errBadPage says that a page's bytes are not those that were written.
var errBadPage = errors.New("checksum mismatch")

// pinPage finds the page and keeps its block. The block is nil when it is not held.
func (s *Store) pinPage(ctx context.Context, ref *Ref, offset int64) (x held, page int, sums []uint32, err error) {
	index, page := ref.geometry().locate(offset)
	for {
		s.mu.Lock()
		f := s.hold(ref, false)
		if f == nil {
			s.mu.Unlock()
			s.Counters.Misses.Add(1)
			return held{}, page, nil, nil
		}
		if w := f.busy[index]; w != nil && !w.writing {
			s.release(f)
			s.mu.Unlock()
			if err := w.done.Wait(ctx); err != nil {
				return held{}, page, nil, dfs.Wrap(err, "read page", ref.describe())
			}
			continue
		}
		b := f.blocks[index]
		if b == nil || !b.has(page) {
			s.release(f)
			s.mu.Unlock()
			s.Counters.Misses.Add(1)
			return held{}, page, nil, nil
		}
		b.pins++
		first := page * chunksPerPage
		sums = slices.Clone(b.sums[first:min(first+chunksPerPage, len(b.sums))])
		s.policies[b.tier].Touch(b.id(f))
		s.release(f) // the block holds it
		s.mu.Unlock()
		return held{f, b}, page, sums, nil
	}
}

// unpin undoes pinPage.
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

// readVerified reads [offset, offset+len(p)) of a page and checks the chunks that it touches.
func (s *Store) readVerified(ctx context.Context, x held, g geometry, page int, sums []uint32, offset int64, p []byte) (uint32, error) {
	start, end := g.span(x.block.index, page)
	from := start + (offset-start)/chunkBytes*chunkBytes
	to := min(start+(offset+int64(len(p))-start+chunkBytes-1)/chunkBytes*chunkBytes, end)
	if offset < start || offset+int64(len(p)) > end {
		return 0, dfs.Errorf(dfs.InvalidArgument, "read page", x.file.id.String(), "range %d+%d is not in one page", offset, len(p))
	}
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
func (s *Store) dropPage(ctx context.Context, x held, page int, ref *Ref) error {
	s.Counters.BadPages.Add(1)
	f, b := x.file, x.block
	s.mu.Lock()
	persisted, g := f.persisted, f.geometry
	s.clearPage(f, b, page)
	s.mu.Unlock()
	s.log.Warn("a page's checksum is wrong: it is dropped", "file", ref.describe(), "block", b.id(f).String(), "page", page, "persisted", persisted)
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
	start, end := g.span(b.index, page)
	return dfs.Errorf(dfs.Corrupted, "read page", ref.describe(), "bytes %d to %d (block %v) fail their checksum and the under store does not "+
		"have them yet: read from another worker's replica if there is one, else write the file again", start, end, b.id(f))
}

// clearPage takes a page out of a block, with its room. The caller holds mu.
func (s *Store) clearPage(f *file, b *block, page int) {
	if b.dead || !b.has(page) {
		return
	}
	if s.complete(f, b) {
		s.note(f, b.index, false)
	}
	b.clear(page)
	start, end := f.geometry.span(b.index, page)
	b.used -= cost(end - start)
	s.tiers[b.tier].Release(cost(end - start))
	s.policies[b.tier].Add(b.id(f), -cost(end-start))
}

// Fill keeps one page that was read from the under store. stored is false when there is no room for it, when its block
// is being written, or when its disk fails: the caller has the bytes and goes on.
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
	b.set(page, sums, pageBytes)
	s.policies[b.tier].Add(b.id(f), cost(pageBytes))
	if s.complete(f, b) {
		s.note(f, b.index, true)
	}
}

// complete tells whether every page of the block is held. The caller holds mu.
func (s *Store) complete(f *file, b *block) bool {
	n := f.geometry.pagesIn(b.index)
	return n > 0 && b.pages >= n
}

// pinForFill reserves room for a page and pins its block, making it if needed. A nil block with ok says that the page
// is held already.
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

// reserve takes room for bytes: on the block's tier, or for a new block on the fastest that has it. When there is none it
// names the tier to wait for. The caller holds mu.
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
		if s.tiers[i].Failed() == nil && s.tiers[waitFor].Failed() != nil {
			waitFor = i
		}
	}
	return waitFor, false
}

// writePage writes a page's bytes and then its record. The caller pins the block.
func (s *Store) writePage(ctx context.Context, x held, g geometry, page int, data []byte, sums *pageSums) error {
	b, err := s.use(ctx, x.file, x.block.tier)
	if err != nil {
		return err
	}
	defer s.done(b)
	start, _ := g.span(x.block.index, page)
	if _, err := b.data.WriteAt(data, start); err != nil {
		return s.diskError(b.tier, err, "write page", s.nameOf(b.tier, x.file.id)+dataSuffix)
	}
	r := record(x.file.id, start, int64(len(data)), sums)
	if _, err := b.meta.WriteAt(r[:], g.recordOffset(x.block.index, page)); err != nil {
		return s.diskError(b.tier, err, "write page", s.nameOf(b.tier, x.file.id)+metaSuffix)
	}
	return nil
}

// waitRoom asks the evictor for bytes on a tier and waits until something was evicted, at most for limit.
func (s *Store) waitRoom(ctx context.Context, tierIndex int, bytes int64, limit time.Duration) bool {
	if s.tiers[tierIndex].Failed() != nil || bytes > s.tiers[tierIndex].Capacity() {
		return false
	}
	s.mu.Lock()
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

func (f *file) setBusy(index uint32, w *busy) {
	if f.busy == nil {
		f.busy = map[uint32]*busy{}
	}
	f.busy[index] = w
}

// cleanUp gives a dropped block's room back.
func (s *Store) cleanUp(f *file, b *block) {
	s.vacate(f, b.index, b.tier, b.used)
	s.endBusy(f, b.index)
}

// endBusy ends exclusive work on an index and lets waiters look again.
func (s *Store) endBusy(f *file, index uint32) {
	s.mu.Lock()
	w := f.busy[index]
	delete(f.busy, index)
	s.forgetIfEmpty(f)
	room := s.room
	s.room = s.h.NewEvent()
	s.mu.Unlock()
	if w != nil {
		w.done.Set()
	}
	room.Set()
}
