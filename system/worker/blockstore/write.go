package blockstore

import (
	"context"
	"math"

	"github.com/forebay/forebay/system/dfs"
)

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
