package blockstore

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// takeoverWait is how long a write waits for an earlier one of the same block, whose client is gone but whose stream was
// not yet seen to end.
const takeoverWait = 5 * time.Second

// Writer receives a client's write of one file version, in ascending order, with gaps where other workers keep the data.
// One task uses it. Nothing is visible before Commit (INV-2).
type Writer struct {
	s      *Store
	ref    Ref
	file   *file
	next   int64   // the offset behind what was taken
	buffer *[]byte // of the page that is being filled
	filled int
	blocks []*block // staged, in order; each index is busy until Commit or Abort
	ended  bool
}

// NewWriter begins a write. ref's Length is ignored. Call Abort when done, even after Commit.
func (s *Store) NewWriter(ref Ref) (*Writer, error) {
	ref.Length, ref.Persisted = 0, false
	if err := ref.Check("write"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.hold(&ref, true)
	if f == nil {
		return nil, dfs.Errorf(dfs.InvalidArgument, "write", ref.describe(), "block size %d, but this version is held with another: "+
			"use the one that the master gave", ref.BlockSize)
	}
	return &Writer{s: s, ref: ref, file: f}, nil
}

// endless is the geometry of a file whose length is not known yet.
func (w *Writer) endless() geometry { return geometry{w.ref.BlockSize, math.MaxInt64} }

// Append takes data at offset, at or behind the end of what was taken before. Of a page that is not covered from its
// start nothing is kept. An error ends the write: Abort it.
func (w *Writer) Append(ctx context.Context, offset int64, data []byte) error {
	if most := w.endless().mostBytes(); offset > most-int64(len(data)) {
		return dfs.Errorf(dfs.InvalidArgument, "write", w.ref.describe(), "%d bytes at %d: a file with blocks of %d bytes ends at %d", len(data), offset, w.ref.BlockSize, most)
	}
	if offset < w.next {
		return dfs.Errorf(dfs.InvalidArgument, "write", w.ref.describe(), "offset %d after %d bytes: chunks must ascend", offset, w.next)
	}
	if offset > w.next {
		w.filled = 0 // a gap: the page that was begun stays incomplete
	}
	w.next = offset + int64(len(data))
	for len(data) > 0 {
		g := w.endless()
		index, page := g.locate(offset)
		start, end := g.span(index, page)
		n := int(min(end-offset, int64(len(data))))
		piece := data[:n]
		data, offset = data[n:], offset+int64(n)
		switch {
		case w.filled == 0 && offset-int64(n) != start: // not from its start
		case w.filled == 0 && offset == end:
			if err := w.flush(ctx, index, page, piece); err != nil {
				return err
			}
		default:
			if w.buffer == nil {
				w.buffer = scratch.Get().(*[]byte)
			}
			w.filled += copy((*w.buffer)[w.filled:], piece)
			if offset < end {
				continue
			}
			if err := w.flush(ctx, index, page, (*w.buffer)[:w.filled]); err != nil {
				return err
			}
			w.filled = 0
		}
	}
	return nil
}

// flush writes one page's bytes to its block's backing file, without a record.
// The page counts as staged once its bytes are written; Commit records it. A failure leaves its room reserved with the
// block, for Abort to give back.
func (w *Writer) flush(ctx context.Context, index uint32, page int, data []byte) error {
	s, bytes := w.s, cost(int64(len(data)))
	b, err := w.stage(ctx, index, bytes)
	if err != nil {
		return err
	}
	sums := sum(data)
	bk, err := s.use(ctx, w.file, b.tier)
	if err != nil {
		return err
	}
	defer s.done(bk)
	start, _ := w.endless().span(index, page)
	if err := s.writeData(bk, start, data); err != nil {
		return err
	}
	b.set(w.endless(), page, &sums, int64(len(data)))
	return nil
}

// stage reserves bytes for the block index, beginning it at its first page.
// A new block waits for room for its first page alone; one that was begun is moved down (spill) rather than given up.
// The wait begins short, so that a lower tier with room is found soon, and lasts WriteWait in all, after which the
// write is refused with ResourceExhausted: the client tries another worker.
func (w *Writer) stage(ctx context.Context, index uint32, bytes int64) (*block, error) {
	var b *block
	if n := len(w.blocks); n > 0 && w.blocks[n-1].index == index {
		b = w.blocks[n-1]
	} else if err := w.claim(ctx, index); err != nil {
		return nil, err
	}
	deadline := w.s.h.Now().Add(w.s.config.WriteWait)
	for wait := min(w.s.config.FillWait, w.s.config.WriteWait); ; wait = deadline.Sub(w.s.h.Now()) {
		grown, tierIndex := w.grow(b, index, bytes)
		if grown != nil {
			return grown, nil
		}
		if wait > 0 && ctx.Err() == nil && w.s.waitRoom(ctx, tierIndex, bytes, wait) {
			continue
		}
		if b != nil && w.spill(ctx, b, bytes) {
			return b, nil
		}
		if left := deadline.Sub(w.s.h.Now()); left <= 0 || ctx.Err() != nil || w.s.tiers[tierIndex].Failed() != nil {
			if b == nil {
				w.s.endBusy(w.file, index)
			}
			return nil, w.noRoom(ctx, tierIndex)
		}
	}
}

// grow reserves bytes for b, or for a new block at index when it is nil. Without room it names the tier to wait for.
func (w *Writer) grow(b *block, index uint32, bytes int64) (grown *block, tierIndex int) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	tierIndex, ok := w.s.reserve(b, bytes)
	if !ok {
		return nil, tierIndex
	}
	if b == nil {
		b = w.s.newBlock(w.file, index, tierIndex)
		w.blocks = append(w.blocks, b)
	}
	b.used += bytes
	return b, tierIndex
}

// spill moves a block that is being written to a lower tier with room for it and bytes more. A block begins on the tier
// that has room for its first page, and what is being written cannot be evicted: many writers that began together would
// else fill the fastest tier with halves of blocks and wait for each other, however empty the others are.
// True says that the block lies lower now, with bytes more reserved for it. Its old place is given back before it
// returns.
func (w *Writer) spill(ctx context.Context, b *block, bytes int64) bool {
	s, from := w.s, b.tier
	for to := from + 1; to < len(s.tiers); to++ {
		if !s.tiers[to].Reserve(b.used + bytes) {
			continue
		}
		s.mu.Lock()
		s.backingOf(w.file, to).blocks++
		s.mu.Unlock()
		left := &block{index: b.index, used: b.used, reach: b.reach} // what stays behind
		if s.copyBlock(ctx, held{w.file, b}, to, false) != nil {
			left.used += bytes
			s.vacate(w.file, left, to)
			continue
		}
		s.mu.Lock()
		b.tier = to
		b.used += bytes
		s.mu.Unlock()
		s.vacate(w.file, left, from)
		return true
	}
	return false
}

// noRoom says why there is none, in the order of what the reader of the message can do: nothing (its time was up),
// replace a disk, or make room.
func (w *Writer) noRoom(ctx context.Context, tierIndex int) error {
	if err := ctx.Err(); err != nil {
		return dfs.Wrap(err, "write", w.ref.describe())
	}
	if err := w.s.tiers[tierIndex].Failed(); err != nil {
		return dfs.Errorf(dfs.Unavailable, "write", w.ref.describe(), "no tier of this worker works: %v", err)
	}
	return dfs.Errorf(dfs.ResourceExhausted, "write", w.ref.describe(), "tier %s is full of data that is pinned, in use or not yet "+
		"persisted: wait for persists, unpin or free some, or add workers", w.s.tiers[tierIndex].Name())
}

// claim makes the index busy for this write. What is held of it from an earlier attempt is dropped: a version's content
// is what its last writer sent.
func (w *Writer) claim(ctx context.Context, index uint32) error {
	s := w.s
	waitCtx, cancel := s.h.WithTimeout(ctx, takeoverWait)
	defer cancel()
	for {
		s.mu.Lock()
		other := w.file.busy[index]
		old := w.file.blocks[index]
		switch {
		case other != nil:
			s.mu.Unlock()
			if err := other.done.Wait(waitCtx); err != nil {
				return dfs.Errorf(dfs.Unavailable, "write", w.ref.describe(), "block %d is being written by another stream: try again", index)
			}
		case old != nil:
			idle := s.drop(w.file, old)
			s.mu.Unlock()
			if idle {
				s.cleanUp(w.file, old)
			}
		default:
			w.file.setBusy(index, &busy{done: s.h.NewEvent(), writing: true})
			s.mu.Unlock()
			return nil
		}
	}
}

// Commit makes the write visible. persisted says that the under store has it; if not, it is synced first (INV-3). It
// answers the indexes of the blocks that are complete, as far as the length is known.
//
// That a file is unpersisted is known before anything of it is visible, and that it is persisted only once all has
// succeeded: what was there before must not become evictable by a commit that fails. A crash before the header leaves
// data without records, which is nothing; between headers of two tiers, the blocks of one, which the client was not told
// of, and unpersisted if either header says so.
func (w *Writer) Commit(ctx context.Context, persisted bool) ([]uint32, error) {
	s := w.s
	s.mu.Lock()
	length := max(w.file.geometry.length, w.next)
	w.file.geometry.length = length
	w.file.persisted = w.file.persisted && persisted
	s.mu.Unlock()
	if w.filled > 0 && w.next < length {
		if err := w.endFile(); err != nil {
			return nil, err
		}
	}
	if w.filled > 0 {
		index, page := w.endless().locate(w.next - 1)
		if err := w.flush(ctx, index, page, (*w.buffer)[:w.filled]); err != nil {
			return nil, err
		}
		w.filled = 0
	}
	var tiers []int
	for _, b := range w.blocks {
		if !slices.Contains(tiers, b.tier) {
			tiers = append(tiers, b.tier)
		}
	}
	for _, t := range tiers {
		if err := w.record(ctx, t, w.endless(), persisted); err != nil {
			return nil, err
		}
	}
	if !persisted {
		if err := w.syncAbsence(ctx, tiers); err != nil {
			return nil, err
		}
	}
	return w.install(persisted)
}

// endFile makes w.next the file's end: only a file's last page may be short, and a version's content is what its last
// writer sent. What is held behind it is of an earlier attempt, which may have come back in a crash.
func (w *Writer) endFile() error {
	s, f := w.s, w.file
	last, _ := w.endless().locate(w.next - 1)
	var idle []held
	s.mu.Lock()
	for index := range f.busy {
		if index > last {
			s.mu.Unlock()
			return dfs.Errorf(dfs.Conflict, "write", w.ref.describe(), "it ends at %d, and block %d is in use: two writers have one version", w.next, index)
		}
	}
	for _, index := range f.indexes() {
		if b := f.blocks[index]; index > last && s.drop(f, b) {
			idle = append(idle, held{f, b})
		}
	}
	f.geometry.length = w.next
	s.mu.Unlock()
	for _, x := range idle {
		s.cleanUp(x.file, x.block)
	}
	return nil
}

// syncAbsence makes durable that the other tiers have nothing of the blocks: an earlier attempt of the same write may have
// been there, and its erasure is not synced by itself. If a crash brought it back, recovery would take the faster tier's
// blocks, which were never committed or are older, and erase these.
func (w *Writer) syncAbsence(ctx context.Context, written []int) error {
	s := w.s
	for t := range s.tiers {
		if slices.Contains(written, t) || s.tiers[t].Failed() != nil {
			continue
		}
		s.mu.Lock()
		b, known := w.file.backings[t], s.dirs[t].has(subdir(w.file.id))
		if kept := b != nil && b.blocks > 0; kept {
			s.keep(w.file, b)
		} else {
			b = nil
		}
		s.mu.Unlock()
		if err := s.syncErased(ctx, w.file, t, b != nil, known); err != nil {
			return err
		}
	}
	return nil
}

// syncErased syncs a pair's records if there is a pair, and its directory if there is one.
func (s *Store) syncErased(ctx context.Context, f *file, tierIndex int, pair, dir bool) error {
	if pair {
		defer s.unkeep(f, tierIndex)
		b, err := s.use(ctx, f, tierIndex)
		if err != nil {
			return err
		}
		err = b.meta.Sync()
		s.done(b)
		if err != nil {
			return s.diskError(tierIndex, err, "sync", s.nameOf(tierIndex, f.id)+metaSuffix)
		}
	}
	if !dir {
		return nil
	}
	path := s.dirOf(tierIndex, subdir(f.id))
	return s.diskErrorOrNil(tierIndex, syncDir(s.tiers[tierIndex].FS(), path), "sync directory", path)
}

// record writes the records of what lies on one tier, between the syncs that INV-3 asks for.
func (w *Writer) record(ctx context.Context, tierIndex int, g geometry, persisted bool) error {
	s := w.s
	bk, err := s.use(ctx, w.file, tierIndex)
	if err != nil {
		return err
	}
	defer s.done(bk)
	name := s.nameOf(tierIndex, w.file.id)
	if !persisted {
		if err := bk.data.Sync(); err != nil {
			return s.diskError(tierIndex, err, "sync", name+dataSuffix)
		}
	}
	for _, b := range w.blocks {
		if b.tier != tierIndex {
			continue
		}
		if _, err := bk.meta.WriteAt(recordsOf(w.file.id, g, b), g.recordOffset(b.index, 0)); err != nil {
			return s.diskError(tierIndex, err, "write records", name+metaSuffix)
		}
	}
	if err := s.writeHeader(ctx, bk, persisted); err != nil {
		return s.diskError(tierIndex, err, "write header", name+metaSuffix)
	}
	if persisted {
		return nil
	}
	return s.syncPair(bk)
}

// recordsOf is the block's part of a meta file.
// Pages that the block does not have get zeros, which are no record: what an earlier attempt left there is overwritten.
func recordsOf(id dfs.FileVersion, g geometry, b *block) []byte {
	all := make([]byte, geometry{g.blockSize, b.end}.pagesIn(b.index)*recordBytes)
	for _, page := range b.pageList() {
		var sums pageSums
		first := page * chunksPerPage
		copy(sums[:], b.sums[first:min(first+chunksPerPage, len(b.sums))])
		start, end := b.span(g, page)
		r := record(id, start, end-start, &sums)
		copy(all[page*recordBytes:], r[:])
	}
	return all
}

// install puts the staged blocks among the others.
// From here on readers see the blocks, and the evictor may take them if they are persisted. A tier that failed since
// its blocks were synced makes the commit fail as a whole: part of a write is no write.
func (w *Writer) install(persisted bool) (complete []uint32, err error) {
	s := w.s
	s.mu.Lock()
	for _, b := range w.blocks {
		if failed := s.tiers[b.tier].Failed(); failed != nil {
			s.mu.Unlock()
			return nil, dfs.Errorf(dfs.Unavailable, "write", w.ref.describe(), "tier %s failed during the write: %v", s.tiers[b.tier].Name(), failed)
		}
	}
	blocks := w.blocks
	w.blocks = nil
	if persisted && !w.file.persisted {
		w.file.persisted = true
		s.noteAll(w.file)
	}
	for _, b := range blocks {
		w.file.blocks[b.index] = b
		s.policies[b.tier].Add(b.id(w.file), b.used)
		if s.complete(w.file, b) {
			s.note(w.file, b.index, true)
			complete = append(complete, b.index)
		}
	}
	s.mu.Unlock()
	for _, b := range blocks {
		s.endBusy(w.file, b.index)
	}
	return complete, nil
}

// Length is the end of what was taken.
func (w *Writer) Length() int64 { return w.next }

// Abort drops what was not committed, without trace, and ends the writer.
func (w *Writer) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	for _, b := range w.blocks {
		w.s.vacate(w.file, b, b.tier)
		w.s.endBusy(w.file, b.index)
	}
	w.blocks = nil
	if w.buffer != nil {
		scratch.Put(w.buffer)
		w.buffer = nil
	}
	w.s.mu.Lock()
	w.s.release(w.file)
	w.s.mu.Unlock()
}
