package blockstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

var (
	stateBadPage  = host.NewState("a page fails its checksum")
	stateLostPage = host.NewState("a page fails its checksum that only this worker has")
)

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
// The page cannot change under it while its block is pinned or its index is busy; the sums are copied since a
// block's slice grows with other pages.
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
// A hit counts as a use for eviction here, a miss is counted here, and a hit by Read once its bytes were found
// whole.
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
	crc, err := readSummed(b.data, whole, from, sums[min(int((from-start)/chunkBytes), len(sums)):])
	s.done(b)
	if err != nil && !errors.Is(err, errBadPage) {
		err = s.diskError(x.block.tier, err, "read page", s.nameOf(x.block.tier, x.file.id)+dataSuffix)
	}
	if err != nil {
		return 0, err
	}
	if len(whole) != len(p) {
		copy(p, whole[offset-from:])
		crc = crc32.Checksum(p, castagnoli)
	}
	return crc, nil
}

// readTries is how often chunks are read before their bytes count as bad: a page that is found bad is dropped, and what was
// read wrong on its way from the disk is still right there.
const readTries = 3

// readSummed reads whole chunks and checks them. Its error is errBadPage, also for a file that ends too early, or the disk's,
// not converted.
func readSummed(data diskFile, p []byte, offset int64, sums []uint32) (crc uint32, err error) {
	for range readTries {
		n, err := data.ReadAt(p, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if n < len(p) {
			break // truncated
		}
		if crc, ok := verify(p, sums); ok {
			return crc, nil
		}
	}
	return 0, errBadPage
}

// verify checks data, whole chunks but for the last, and tells its CRC32C.
// It fails when sums has fewer entries than data has chunks: bytes that nobody has summed are not trusted.
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
	stateBadPage.Reached(s.h)
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
	stateLostPage.Reached(s.h)
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
