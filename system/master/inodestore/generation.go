package inodestore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
)

// The pebble driver's directory holds a lock file, generations (databases in directories named by a number) and a file
// that names the current one. Replace brings the next generation in beside the present one, so that readers are never
// held up and never see a closed database; the former one goes when its last reader does.
//
// INV-1: currentName changes in one step, and only to a generation that is complete and synced. Whatever else a crash
// leaves is not referred to, and is removed at the next open.
const (
	lockFileName    = "LOCK"
	currentName     = "CURRENT"
	firstGeneration = 1
)

// generation is one open database. It is closed when its users, the store among them until it moves on, are gone.
// users begins at 1, the store's own use. A count that has reached 0 never rises again (acquire sees to it), so
// closing happens once.
type generation struct {
	store   *pebbleStore
	number  uint64
	dir     string
	db      *pebble.DB
	users   atomic.Int64
	retired atomic.Bool // remove it from the disk, too
	closed  chan error  // gets the result of closing
}

// acquire takes the current generation for a read; release it. It never waits. A generation that is given up between
// the two looks is found closed, and its successor is taken.
func (s *pebbleStore) acquire() *generation {
	for {
		g := s.current.Load()
		for n := g.users.Load(); n > 0; n = g.users.Load() {
			if g.users.CompareAndSwap(n, n+1) {
				return g
			}
		}
		if s.current.Load() == g {
			panic("inodestore: used after Close")
		}
	}
}

// release ends a use. The last one closes the database, and removes it when another has taken its place. It must not
// be called by somebody who has not acquired.
// Whoever releases last waits for the closing, which may be a reader; it is short, since nothing is flushed for a
// state that is given up.
func (g *generation) release() {
	if g.users.Add(-1) > 0 {
		return
	}
	err := g.db.Close()
	if g.retired.Load() {
		err = errors.Join(err, g.store.fs.RemoveAll(g.dir))
	}
	if err != nil {
		g.store.opts.Logger.Error("inode store: closing a database", "path", g.dir, "err", err)
	}
	g.closed <- err
}

func (s *pebbleStore) generationDir(number uint64) string {
	return s.fs.PathJoin(s.dir, fmt.Sprintf("%06d", number))
}

// openCurrent opens the current generation and removes the others.
// Others go first, so that a disk which is full of what a failed Replace left can be opened.
func (s *pebbleStore) openCurrent() error {
	number, err := s.readCurrent()
	if err != nil {
		return err
	}
	if err := s.removeOthers(number); err != nil {
		return diskError(err, "open inode store", s.dir)
	}
	g, index, err := s.openGeneration(number, s.generationDir(number))
	if err != nil {
		return err
	}
	s.current.Store(g)
	s.applied.Store(index)
	return nil
}

// readCurrent tells which generation is the state; the first, when none was ever replaced.
// Corrupted for a file that names nothing: to take the first generation instead could serve a state that was replaced.
func (s *pebbleStore) readCurrent() (uint64, error) {
	name := s.fs.PathJoin(s.dir, currentName)
	data, err := s.fs.readFile(name)
	if oserror.IsNotExist(err) {
		return firstGeneration, nil
	}
	if err != nil {
		return 0, diskError(err, "open inode store", name)
	}
	number, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || number < firstGeneration {
		return 0, corruptedError("open inode store", name, "it does not name a database")
	}
	return number, nil
}

// removeOthers removes the generations that a crash has left: finished and not named yet, or named no more (INV-1).
// Names that are no numbers are not ours and stay.
func (s *pebbleStore) removeOthers(keep uint64) error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, err := strconv.ParseUint(name, 10, 64)
		if err != nil || number == keep {
			continue
		}
		if err := s.fs.RemoveAll(s.fs.PathJoin(s.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// openGeneration opens a database and reads its applied index.
// The generation begins with one user, the store, who releases it when it moves on or is closed.
func (s *pebbleStore) openGeneration(number uint64, dir string) (g *generation, index uint64, err error) {
	defer func() { // a table or manifest of random bytes can panic inside Pebble: to us it is a bad disk
		if r := recover(); r != nil {
			err = corruptedError("open inode store", dir, r)
		}
	}()
	db, err := pebble.Open(dir, s.opts.pebble(s.fs.FS, s.block))
	if err != nil {
		return nil, 0, openError(err, dir)
	}
	if index, err = readApplied(db, nil); err != nil {
		return nil, 0, errors.Join(openError(err, dir), db.Close())
	}
	g = &generation{store: s, number: number, dir: dir, db: db, closed: make(chan error, 1)}
	g.users.Store(1)
	return g, index, nil
}
