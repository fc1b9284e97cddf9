package blockstore

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// CheckResult is what Check found.
// Pages counts what was looked at, bad ones included; Bytes are of the same pages.
type CheckResult struct{ Pages, BadPages, Bytes int64 }

// Check reads and verifies everything that is held of a file version. Bad pages are dropped.
// It waits for nobody: blocks that are being written, moved or dropped are left out. A page that the disk does not give
// and that only this worker has ends it with the disk's error, with what was found until then.
func (s *Store) Check(ctx context.Context, id dfs.FileVersion) (r CheckResult, err error) {
	s.mu.Lock()
	f, ok := s.files.Get(&file{id: id})
	var indexes []uint32
	if ok {
		indexes = f.indexes()
	}
	s.mu.Unlock()
	for _, index := range indexes {
		if err := s.checkBlock(ctx, f, index, nil, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// checkBlock verifies one block's pages, at pace when there is one. It pins the block for a page at a time, so that it
// does not keep it from being evicted.
func (s *Store) checkBlock(ctx context.Context, f *file, index uint32, pace *host.Ticker, r *CheckResult) error {
	s.mu.Lock()
	var pages []int
	if b := f.blocks[index]; b != nil {
		pages = b.pageList()
	}
	s.mu.Unlock()
	for _, page := range pages {
		if err := ctx.Err(); err != nil {
			return dfs.Wrap(err, "check", f.id.String())
		}
		if err := s.checkPage(ctx, f, index, page, r); err != nil {
			return err
		}
		if pace != nil {
			if err := pace.Wait(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPage verifies one page if it is still held. It is not a use, as far as eviction goes.
func (s *Store) checkPage(ctx context.Context, f *file, index uint32, page int, r *CheckResult) error {
	s.mu.Lock()
	b := f.blocks[index]
	if b == nil || f.busy[index] != nil || !b.has(page) {
		s.mu.Unlock()
		return nil
	}
	b.pins++
	stored := b.stored(f.geometry, page)
	s.mu.Unlock()
	defer s.unpin(f, b)
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	bytes := stored.end - stored.start
	r.Pages++
	r.Bytes += bytes
	_, err := s.readVerified(ctx, held{f, b}, stored, stored.start, (*room)[:bytes])
	if s.beyondUse(held{f, b}, err) {
		r.BadPages++
		_ = s.dropPage(ctx, held{f, b}, page, &Ref{File: f.id}) // it is counted and logged; who reads it next is told
		return nil
	}
	return err
}
