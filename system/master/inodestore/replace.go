package inodestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/errors/oserror"

	"github.com/forebay/forebay/system/dfs"
)

// Replace implements Store. It opens the checkpoint where it will stay before it gives up the present state. A failure
// leaves the present generation, and what was begun is removed by the next Replace or the next open. Readers of the
// former generation go on in it; it is closed and removed when the last has gone.
func (s *pebbleStore) Replace(dir string) error {
	old := s.current.Load()
	if err := s.settleCurrent(old.number); err != nil {
		return diskError(err, "replace inode store", s.dir)
	}
	number := old.number + 1
	next := s.generationDir(number)
	if _, err := s.fs.Stat(dir); err != nil {
		return diskError(err, "replace inode store", dir)
	}
	if err := s.fs.RemoveAll(next); err != nil && !oserror.IsNotExist(err) { // of a Replace that failed
		return diskError(err, "replace inode store", next)
	}
	if err := s.fs.Rename(dir, next); err != nil {
		return diskError(err, "replace inode store", dir)
	}
	g, index, err := s.openGeneration(number, next)
	if err != nil {
		return dfs.Wrap(err, "replace inode store", dir)
	}
	if err := s.makeCurrent(number); err != nil {
		s.unsettled.Store(true)
		_ = s.settleCurrent(old.number) // the disk refuses just now: the next Flush or Replace tries again
		return errors.Join(diskError(err, "replace inode store", s.dir), g.db.Close())
	}
	s.current.Store(g)
	// A reader takes the cache's version before it acquires a generation, so after this no fill from the old one is taken.
	s.cache.clear()
	s.applied.Store(index)
	old.retired.Store(true)
	old.release()
	return nil
}

// settleCurrent makes sure that CURRENT names the present generation again after a Replace that failed in makeCurrent,
// perhaps after the renaming there. Until then the next generation's directory must not be touched, since CURRENT may
// name it, and nothing that is flushed here may be promised (FlushedIndex), since a restart may open the other.
func (s *pebbleStore) settleCurrent(present uint64) error {
	s.settleMu.Lock()
	defer s.settleMu.Unlock()
	if !s.unsettled.Load() {
		return nil
	}
	if err := s.makeCurrent(present); err != nil {
		return err
	}
	s.unsettled.Store(false)
	return nil
}

// makeCurrent makes the change of generation durable. After an error CURRENT names the former generation or this one.
func (s *pebbleStore) makeCurrent(number uint64) error {
	name := s.fs.PathJoin(s.dir, currentName)
	if err := s.fs.syncDir(s.dir); err != nil { // the generation's own entry
		return err
	}
	if err := s.fs.writeFile(name+".new", fmt.Appendf(nil, "%d\n", number)); err != nil {
		return err
	}
	if err := s.fs.Rename(name+".new", name); err != nil {
		return err
	}
	return s.fs.syncDir(s.dir)
}
