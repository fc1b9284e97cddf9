package blockstore

import (
	"context"
	"slices"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Held is what a report says of one file version.
type Held struct {
	File        dfs.FileVersion
	Blocks      []uint32 // complete ones, ascending
	Unpersisted bool
}

// changes are blocks that became complete (true) or stopped being so since the last report.
type changes struct {
	blocks   map[dfs.BlockID]bool
	overflow bool
}

func (c *changes) reset() { *c = changes{blocks: map[dfs.BlockID]bool{}} }

// note remembers a change for the next report. The caller holds mu.
func (s *Store) note(f *file, index uint32, added bool) {
	if s.changes.overflow {
		return
	}
	s.changes.blocks[dfs.BlockID{File: f.id, Index: index}] = added
	if len(s.changes.blocks) > s.config.MaxChanges {
		s.changes = changes{overflow: true}
	}
}

// noteAll reports a file's blocks again, since what is said of the file has changed. The caller holds mu.
func (s *Store) noteAll(f *file) {
	for _, index := range f.indexes() {
		if s.complete(f, f.blocks[index]) {
			s.note(f, index, true)
		}
	}
}

// TakeChanges gives what changed since it was last called. With overflow there was more than is kept, and everything
// must be reported anew; changes from then on are kept again.
// The lists are in the order of files and blocks. Taking them is final: the caller keeps what it could not deliver
// (worker,
// INV-1). A block that went and came back since the last call is told as it is now.
func (s *Store) TakeChanges() (added, removed []Held, overflow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	overflow = s.changes.overflow
	ids := make([]dfs.BlockID, 0, len(s.changes.blocks))
	for id := range s.changes.blocks {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareBlocks)
	for _, id := range ids {
		list := &removed
		if s.changes.blocks[id] {
			list = &added
		}
		if n := len(*list); n == 0 || (*list)[n-1].File != id.File {
			f, ok := s.files.Get(&file{id: id.File})
			*list = append(*list, Held{File: id.File, Unpersisted: ok && !f.persisted})
		}
		last := &(*list)[len(*list)-1]
		last.Blocks = append(last.Blocks, id.Index)
	}
	s.changes.reset()
	return added, removed, overflow
}

// compareBlocks is the order of reports: by inode, version and index, as the tree has files.
func compareBlocks(a, b dfs.BlockID) int {
	switch {
	case a.File.Inode != b.File.Inode:
		return compare(a.File.Inode, b.File.Inode)
	case a.File.Version != b.File.Version:
		return compare(a.File.Version, b.File.Version)
	}
	return compare(a.Index, b.Index)
}

func compare[T dfs.InodeID | uint32](a, b T) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Cursor is a place in the list of everything held; its zero value is the beginning.
type Cursor struct {
	file  dfs.FileVersion
	index uint32 // the first that was not told yet
}

// HeldBatch lists complete blocks from a cursor on, at most most of them. It is done when more is false.
// The store may change between two batches: what changes is in the next report in any case. A cursor whose file is gone
// goes on behind it. mu is held for a batch, so most bounds how long others wait.
func (s *Store) HeldBatch(from Cursor, most int) (batch []Held, next Cursor, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	s.files.Ascend(&file{id: from.file}, func(f *file) bool {
		var indexes []uint32
		for _, index := range f.indexes() {
			if (f.id == from.file && index < from.index) || !s.complete(f, f.blocks[index]) {
				continue
			}
			if count == most {
				next, more = Cursor{f.id, index}, true
				break
			}
			indexes = append(indexes, index)
			count++
		}
		if len(indexes) > 0 {
			batch = append(batch, Held{File: f.id, Blocks: indexes, Unpersisted: !f.persisted})
		}
		return !more
	})
	return batch, next, more
}

// Blocks is how many blocks are held, whole or in part.
func (s *Store) Blocks() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.policies {
		n += p.Len()
	}
	return n
}

// allFiles copies the list of files, for work that may remove some. The caller holds mu.
func (s *Store) allFiles() []*file {
	files := make([]*file, 0, s.files.Len())
	s.files.Scan(func(f *file) bool { files = append(files, f); return true })
	return files
}

// versions lists the held versions of an inode; version 0 means all. The caller holds mu.
func (s *Store) versions(inode dfs.InodeID, version uint32) (files []*file) {
	s.files.Ascend(&file{id: dfs.FileVersion{Inode: inode, Version: version}}, func(f *file) bool {
		if f.id.Inode != inode || (version != 0 && f.id.Version != version) {
			return false
		}
		files = append(files, f)
		return true
	})
	return files
}

// Free drops every block of a file version (0: of all versions), pinned and unpersisted ones too: its owner has said so.
// Blocks that are being read go when their readers are done; those being written belong to their writers.
// It returns when the room of what nobody uses is given back. A version that is not held is no error.
func (s *Store) Free(inode dfs.InodeID, version uint32) {
	s.mu.Lock()
	var idle []held
	for _, f := range s.versions(inode, version) {
		for _, index := range f.indexes() {
			b := f.blocks[index]
			if f.busy[index] == nil && s.drop(f, b) {
				idle = append(idle, held{f, b})
			} else if w := f.busy[index]; w != nil && !b.dead {
				s.forgetBlock(f, b) // it is being moved: its mover finds it dead
			}
		}
	}
	s.mu.Unlock()
	for _, x := range idle {
		s.cleanUp(x.file, x.block)
	}
}

// SetPinned pins or unpins what is held of a file version (0: of all versions).
// What comes later of the version is pinned by its own reference. An error says that a header could not be written: the
// flag holds in memory, until the next start.
func (s *Store) SetPinned(ctx context.Context, inode dfs.InodeID, version uint32, pinned bool) error {
	return s.mark(ctx, inode, version, func(f *file) { f.pinned = pinned })
}

// SetPersisted says that the under store has the file version now: its blocks may be evicted.
func (s *Store) SetPersisted(ctx context.Context, inode dfs.InodeID, version uint32) error {
	return s.mark(ctx, inode, version, func(f *file) {
		if !f.persisted {
			f.persisted = true
			s.noteAll(f)
		}
	})
}

// mark changes files in memory and then their headers. A header that a crash loses is said again by the master, which
// sees what the worker reports.
func (s *Store) mark(ctx context.Context, inode dfs.InodeID, version uint32, change func(*file)) error {
	s.mu.Lock()
	var places []*backing
	for _, f := range s.versions(inode, version) {
		change(f)
		for _, b := range f.backings {
			if b != nil && b.blocks > 0 {
				s.keep(f, b) // until its header is written
				places = append(places, b)
			}
		}
	}
	s.mu.Unlock()
	var first error
	for _, b := range places {
		if err := s.rewriteHeader(ctx, b); err != nil && first == nil {
			first = err
		}
	}
	s.kick.TrySend(struct{}{})
	return first
}

// rewriteHeader brings one pair's header up to date, and ends the keep that mark has begun. On a tier that is given up
// there is nothing to write.
func (s *Store) rewriteHeader(ctx context.Context, place *backing) error {
	f := place.file
	defer s.unkeep(f, place.tier)
	if s.tiers[place.tier].Failed() != nil {
		return nil
	}
	b, err := s.use(ctx, f, place.tier)
	if err != nil {
		return err
	}
	defer s.done(b)
	return s.diskErrorOrNil(b.tier, s.writeHeader(ctx, b, false), "write header", s.nameOf(b.tier, f.id))
}

// keep makes a pair stay though its blocks may go, until unkeep. It holds the file too: while unkeep removes the pair,
// under the file's lock, there must be no other file in memory of the same id, with a lock of its own, that makes the
// pair anew and has it removed. The caller holds mu.
func (s *Store) keep(f *file, b *backing) {
	f.refs++
	b.blocks++
}

// unkeep ends keep. The pair goes now if its last block went meanwhile.
func (s *Store) unkeep(f *file, tierIndex int) {
	s.leave(f, tierIndex, func() {})
	s.mu.Lock()
	s.release(f)
	s.mu.Unlock()
}

// CheckResult is what Check found.
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
