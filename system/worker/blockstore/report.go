package blockstore

import (
	"slices"

	"github.com/forebay/forebay/system/dfs"
)

// Held is what a report says of one file version.
type Held struct {
	File        dfs.FileVersion
	Blocks      []uint32 // complete ones, ascending
	Unpersisted bool
}

// changes are blocks that became complete (true) or stopped being so since the last report.
// INV-1: at most Config.MaxChanges blocks are remembered; past that nothing is, and the worker registers anew.
type changes struct {
	blocks   map[dfs.BlockID]bool
	overflow bool
}

func (c *changes) reset() { *c = changes{blocks: map[dfs.BlockID]bool{}} }

// note remembers a change for the next report. The caller holds mu.
// A later change of the same block replaces the earlier one: reports are about states, not about events.
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
	File  dfs.FileVersion
	Index uint32 // the first that was not told yet
}

// HeldBatch lists complete blocks from a cursor on, at most most of them. It is done when more is false.
// The store may change between two batches: what changes is in the next report in any case. A cursor whose file is gone
// goes on behind it. mu is held for a batch, so most bounds how long others wait.
func (s *Store) HeldBatch(from Cursor, most int) (batch []Held, next Cursor, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	s.files.Ascend(&file{id: from.File}, func(f *file) bool {
		var indexes []uint32
		for _, index := range f.indexes() {
			if (f.id == from.File && index < from.Index) || !s.complete(f, f.blocks[index]) {
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
//
// Blocks that are being moved or written are not counted: they have no place in a policy then.
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
