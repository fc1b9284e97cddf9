package inodestore

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// What the pebble driver does with its disk: flushing, checkpoints, figures.

// AppliedIndex implements Store.
func (s *pebbleStore) AppliedIndex() uint64 { return s.applied.Load() }

// FlushedIndex implements Store. It reads the index out of the tables themselves, so it can never be too high; a table
// is in the version that this sees only after it and the manifest were synced.
func (s *pebbleStore) FlushedIndex() uint64 {
	if s.unsettled.Load() { // a restart may open another generation
		return 0
	}
	g := s.acquire()
	defer g.release()
	index, err := readApplied(g.db, &pebble.IterOptions{OnlyReadGuaranteedDurable: true})
	if err != nil { // unreadable: nothing is known to be safe, so nothing may be trimmed
		return 0
	}
	return index
}

// Flush implements Store. It waits for the disk and not for Apply: what is applied meanwhile may or may not be flushed
// with it.
func (s *pebbleStore) Flush() error {
	if err := s.settleCurrent(s.current.Load().number); err != nil {
		return diskError(err, "flush inode store", s.dir)
	}
	if s.FlushedIndex() == s.AppliedIndex() {
		return nil
	}
	g := s.acquire()
	defer g.release()
	return diskError(g.db.Flush(), "flush inode store", s.dir)
}

// Checkpoint implements Store. With the write-ahead log off a checkpoint holds what tables hold and silently leaves the
// memtable out; so it flushes first. The long flush runs beside Apply, and only the short one of what came in meanwhile
// holds it up, so that the copy stands for exactly one index.
func (s *pebbleStore) Checkpoint(dir string) (uint64, error) {
	if err := s.Flush(); err != nil {
		return 0, err
	}
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if err := s.Flush(); err != nil {
		return 0, err
	}
	g := s.acquire()
	defer g.release()
	index := s.applied.Load()
	if err := g.db.Checkpoint(dir); err != nil {
		return 0, diskError(err, "checkpoint inode store", dir)
	}
	return index, nil
}

// Stats implements Store. The number of inodes comes from the tables' properties: entries less twice the deletions (a
// deletion counts as an entry and cancels one), and the memtable's bytes at what an entry takes there. Overwritten
// entries count double until a compaction.
func (s *pebbleStore) Stats() Stats {
	g := s.acquire()
	defer g.release()
	const memtableEntryBytes = 100
	m := g.db.Metrics()
	st := Stats{DiskBytes: int64(m.DiskSpaceUsage()), Inodes: int64(m.MemTable.Size) / memtableEntryBytes}
	s.cache.stats(&st)
	levels, err := g.db.SSTables(pebble.WithProperties())
	if err != nil {
		return st
	}
	for _, tables := range levels {
		for i := range tables {
			if p := tables[i].Properties; p != nil {
				st.Inodes += int64(p.NumEntries) - 2*int64(p.NumDeletions)
			}
		}
	}
	return st
}

// Close implements Store. It flushes, so that a clean restart replays nothing. The lock on the directory goes last, so
// that the next process finds everything closed.
func (s *pebbleStore) Close() error {
	err := s.Flush()
	g := s.current.Load()
	g.release()
	err = errors.Join(err, diskError(<-g.closed, "close inode store", s.dir))
	s.block.Unref()
	return errors.Join(err, s.lock.Close())
}
