package raftjournal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/forebay/forebay/system/dfs"
)

// logStore is raft-wal with what it lacks here: it heals after a failed write, checks what it reads back, caches the
// newest entries within a bound of bytes, and knows which entries are Raft's own.
//
// INV-1: last is the highest index whose write was acknowledged, 0 when the log is empty. After a write that failed, what the disk holds above
// last is unknown, so the log is closed, opened again (which drops a torn batch) and cut back to last before the next one.
type logStore struct {
	fs           fileSystem
	dir          string
	segmentBytes int
	logger       hclog.Logger
	meta         *metaFile
	cache        logCache
	own          ownEntries
	appended     atomic.Int64 // bytes of entries, since Open
	failure      atomic.Pointer[error]

	writeMu sync.Mutex // StoreLogs, DeleteRange
	broken  bool
	last    uint64

	walMu sync.RWMutex // the pointer, for the reopening
	wal   *wal.WAL
}

var _ raft.LogStore = (*logStore)(nil)

// openLog opens or makes the log in dir.
func openLog(fs fileSystem, dir string, segmentBytes int, logger hclog.Logger) (*logStore, error) {
	s := &logStore{fs: fs, dir: dir, segmentBytes: segmentBytes, logger: logger, meta: &metaFile{fs: fs}}
	s.cache.limit = cacheBytes
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError(err, "open log", dir)
	}
	if err := fs.syncDir(fs.PathDir(dir)); err != nil {
		return nil, diskError(err, "open log", dir)
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(openLogError(err, dir), s.meta.Close())
	}
	return s, nil
}

func openLogError(err error, dir string) error {
	if dfs.IsKind(diskError(err, "", ""), dfs.NoSpace) || strings.Contains(err.Error(), "permission denied") {
		return diskError(err, "open log", dir)
	}
	return corruptedError("open log", dir, "%v", err)
}

// open opens the log, and learns last.
func (s *logStore) open() error {
	w, err := wal.Open(s.dir, wal.WithMetaStore(lentMeta{s.meta}), wal.WithLogger(s.logger), wal.WithSegmentSize(s.segmentBytes),
		wal.WithSegmentFiler(segment.NewFiler(s.dir, segmentFS{s.fs})))
	if err != nil {
		return err
	}
	if s.last, err = w.LastIndex(); err != nil {
		return errors.Join(err, w.Close())
	}
	s.wal = w
	return nil
}

// repair reopens the log after a failed write (INV-1). s.writeMu is held.
func (s *logStore) repair() error {
	if !s.broken {
		return nil
	}
	acknowledged := s.last
	s.walMu.Lock()
	defer s.walMu.Unlock()
	if s.wal != nil {
		if err := s.wal.Close(); err != nil {
			return err
		}
		s.wal = nil
	}
	if err := s.open(); err != nil {
		s.last = acknowledged
		return err
	}
	found := s.last
	s.last = acknowledged
	if found < acknowledged {
		return dfs.Errorf(dfs.Corrupted, "reopen log", s.dir, "it ends at %d, %d was synced", found, acknowledged)
	}
	if found > acknowledged {
		if err := s.wal.DeleteRange(acknowledged+1, found); err != nil {
			return err
		}
	}
	s.broken = false
	return nil
}

// lentMeta is the meta file as raft-wal has it: its Close leaves the file open, since Raft's votes go on while the log is
// being reopened.
type lentMeta struct{ *metaFile }

// Close implements types.MetaStore.
func (lentMeta) Close() error { return nil }

// view calls f with the log; an error while a repair has not succeeded yet.
func (s *logStore) view(f func(w *wal.WAL) error) error {
	s.walMu.RLock()
	defer s.walMu.RUnlock()
	if s.wal == nil {
		return dfs.Errorf(dfs.Unavailable, "read log", s.dir, "its disk has failed, and it is not open again yet")
	}
	return f(s.wal)
}

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (index uint64, err error) {
	err = s.view(func(w *wal.WAL) (err error) { index, err = w.FirstIndex(); return err })
	return index, err
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (index uint64, err error) {
	err = s.view(func(w *wal.WAL) (err error) { index, err = w.LastIndex(); return err })
	return index, err
}

// IsMonotonic implements raft.MonotonicLogStore.
func (s *logStore) IsMonotonic() bool { return true }

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	if s.cache.get(index, log) {
		return nil
	}
	err := s.view(func(w *wal.WAL) error { return w.GetLog(index, log) })
	if err != nil {
		return err
	}
	if !intact(log) || log.Index != index {
		return dfs.Errorf(dfs.Corrupted, "read log", s.dir, "entry %d does not match its checksum", index)
	}
	return nil
}

// checksum is what travels in an entry's Extensions, from its proposal to its application on every member.
func checksum(data []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
}

// intact tells whether a command's bytes are those that were proposed.
func intact(l *raft.Log) bool {
	if l.Type != raft.LogCommand {
		return true
	}
	return len(l.Extensions) == 4 && binary.BigEndian.Uint32(l.Extensions) == crc32.Checksum(l.Data, castagnoli)
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	err := s.append(logs)
	if errors.Is(err, wal.ErrSealed) { // raft-wal could not make the next segment, and only logged why
		err = s.append(logs)
	}
	if err != nil {
		err = diskError(err, "write log", s.dir)
		s.failure.Store(&err)
		return err
	}
	s.failure.Store(nil)
	s.last = logs[len(logs)-1].Index
	for _, l := range logs {
		s.own.note(l)
		s.appended.Add(int64(logBytes(l)))
	}
	s.cache.add(logs)
	return nil
}

// append writes logs, after a repair if the last write failed. s.writeMu is held.
func (s *logStore) append(logs []*raft.Log) error {
	if err := s.repair(); err != nil {
		return err
	}
	err := s.view(func(w *wal.WAL) error { return w.StoreLogs(logs) })
	s.broken = err != nil
	return err
}

// DeleteRange implements raft.LogStore. Raft deletes prefixes that a snapshot covers (INV-1 of the package), and suffixes
// that another leader has overruled.
func (s *logStore) DeleteRange(min, max uint64) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.repair(); err != nil {
		return diskError(err, "trim log", s.dir)
	}
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	s.cache.cut(min, max)
	if err := s.view(func(w *wal.WAL) error { return w.DeleteRange(min, max) }); err != nil {
		s.broken = true
		return diskError(err, "trim log", s.dir)
	}
	switch {
	case max < s.last:
	case min <= first:
		s.last = 0
	default:
		s.last = min - 1
		s.own.cutFrom(min)
	}
	return nil
}

// tryRepair is for a reader that finds the log closed.
func (s *logStore) tryRepair() {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.repair(); err != nil {
		s.logger.Error("the log cannot be opened again yet", "error", err)
	}
}

// failed is why the last write did not succeed; nil when it did.
func (s *logStore) failed() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// sizeBytes is the disk space of the log's files.
func (s *logStore) sizeBytes() (total int64) {
	_ = s.fs.walk(s.dir, "", func(_ string, size int64) error { total += size; return nil }) // a report: as far as it goes
	return total
}

func (s *logStore) close() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.walMu.Lock()
	defer s.walMu.Unlock()
	var err error
	if s.wal != nil {
		err = s.wal.Close()
	}
	return errors.Join(err, s.meta.Close())
}
