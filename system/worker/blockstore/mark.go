package blockstore

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
)

// versions lists the held versions of an inode; version 0 means all. The caller holds mu.
// They are in ascending order of versions. The list is the caller's; files may leave the tree as soon as mu is
// released.
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
// The blocks are reported again, without the mark of being unpersisted. An error says, as for SetPinned, that a
// header could not be written; after a restart such a file is unpersisted again, which is the safe side.
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

// rewriteHeader brings one pair's header up to date, and ends the keep that mark has begun. On a tier that takes no
// writes the header stays as it is, and a restart goes by the older state.
func (s *Store) rewriteHeader(ctx context.Context, place *backing) error {
	f := place.file
	defer s.unkeep(f, place.tier)
	if s.tiers[place.tier].Writable() != nil {
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
