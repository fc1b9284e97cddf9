package inodestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/errors/oserror"

	"github.com/forebay/forebay/system/dfs"
)

// Replace implements Store. It opens the checkpoint where it will stay before it gives up the present state. A failure
// before CURRENT changes leaves the present generation, and what was begun is removed by the next Replace or the next
// open. Readers of the former generation go on in it; it is closed and removed when the last has gone.
func (s *pebbleStore) Replace(dir string) error {
	old := s.current.Load()
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

// makeCurrent makes the change of generation durable.
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
