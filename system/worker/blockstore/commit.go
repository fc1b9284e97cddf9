package blockstore

import (
	"context"
	"slices"

	"github.com/forebay/forebay/system/dfs"
)

// Commit makes the write visible. persisted says that the under store has it; if not, it is synced first (INV-3). It
// answers the indexes of the blocks that are complete, as far as the length is known.
//
// That a file is unpersisted is known before anything of it is visible, and that it is persisted only once all has
// succeeded: what was there before must not become evictable by a commit that fails. A crash before the header leaves
// data without records, which is nothing; between headers of two tiers, the blocks of one, which the client was not told
// of, and unpersisted if either header says so.
// The order is: data synced, then records, then the header, then memory. A failure at any step leaves staged
// blocks to Abort, which the caller calls in any case; ctx ends the waits for files, not a sync that has begun.
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
		if slices.Contains(written, t) || s.tiers[t].Writable() != nil {
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
// The caller has marked the pair as kept, so that it is not removed meanwhile; this gives the mark back.
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
		if failed := s.tiers[b.tier].Writable(); failed != nil {
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
