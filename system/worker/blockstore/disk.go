package blockstore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/tier"
)

// diskError converts what a disk answered about one file. A read-only disk is only read from then on, one with bad
// files is given up when there are too many of them (tier.BadFile); a full disk and too many open files say nothing of the disk. What the error
// means for the file is the caller's to settle: nothing may be believed to be on the disk that was not written.
func (s *Store) diskError(tierIndex int, err error, op, path string) error {
	converted := tier.Convert(err, op, path)
	switch dfs.KindOf(converted) {
	case dfs.ReadOnly:
		if t := s.tiers[tierIndex]; t.Freeze(converted) {
			s.log.Error("a tier takes no writes and is only read until restart; what it cannot erase comes back then, and may be evicted once the master has heard of it",
				"tier", t.Name(), "directory", t.Dir(), "error", converted)
		}
	case dfs.Unavailable:
		pair := strings.TrimSuffix(strings.TrimSuffix(path, dataSuffix), metaSuffix)
		if t := s.tiers[tierIndex]; t.BadFile(s.h.Now(), pair) {
			s.failTier(tierIndex, converted)
		} else if t.Failed() == nil {
			s.log.Warn("a disk has an error in a file", "tier", t.Name(), "error", converted)
		}
	}
	return converted
}

// fatalDiskError is diskError where one error is enough to give the tier up: what cannot be erased would come back with the
// next start, in place of what was written since, and a directory that cannot be listed hides what it has.
func (s *Store) fatalDiskError(tierIndex int, err error, op, path string) error {
	converted := s.diskError(tierIndex, err, op, path)
	if dfs.IsKind(converted, dfs.Unavailable) {
		s.failTier(tierIndex, converted)
	}
	return converted
}

// failTier gives a tier up: its blocks are forgotten and reported as removed; other tiers go on.
// It is called by whoever met the error, in any state of its own work, but not with mu held. Blocks that nobody uses go
// at once. One that is being read goes with its last reader, whose read fails or finds it in the disk's cache and is
// checked as always. One with a busy entry is found dead by the entry's owner. The tier takes no reservations from the
// first line on, so what is written meanwhile ends in an error or on another tier.
func (s *Store) failTier(tierIndex int, cause error) {
	t := s.tiers[tierIndex]
	if !t.Fail(cause) {
		return
	}
	s.log.Error("a tier failed and is given up until restart; its pages are fetched again elsewhere", "tier", t.Name(), "directory", t.Dir(), "error", cause)
	s.mu.Lock()
	var idle []held
	for _, f := range s.allFiles() {
		for _, index := range f.indexes() {
			b := f.blocks[index]
			switch {
			case b.tier != tierIndex:
			case f.busy[index] != nil: // the owner of the busy entry finds it dead
				s.forgetBlock(f, b)
			case s.drop(f, b):
				idle = append(idle, held{f, b})
			}
		}
	}
	s.mu.Unlock()
	for _, x := range idle {
		s.cleanUp(x.file, x.block)
	}
}

// makeDir makes one of a tier's subdirectories, durably, once: which are there is remembered, so that a new pair costs
// no system call for it.
func (s *Store) makeDir(tierIndex int, sub byte) error {
	s.mu.Lock()
	known := s.dirs[tierIndex].has(sub)
	s.mu.Unlock()
	if known {
		return nil
	}
	fs := s.tiers[tierIndex].FS()
	if err := fs.MkdirAll(s.dirOf(tierIndex, sub), 0o755); err != nil {
		return err
	}
	if err := syncDir(fs, s.tiers[tierIndex].Dir()); err != nil {
		return err
	}
	s.mu.Lock()
	s.dirs[tierIndex].set(sub)
	s.mu.Unlock()
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
