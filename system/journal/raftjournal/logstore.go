package raftjournal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// logStore is raft-wal with what it lacks here: it heals after a failed write, checks what it reads back, caches the
// newest entries within a bound of bytes, and knows which entries are Raft's own.
//
// INV-1: last is the highest index whose write was acknowledged, 0 when the log is empty. After a write that failed, what
// the disk holds above last is unknown, and so is what raft-wal believes, which also forgets why a rotation in its own task
// failed. So the log is closed, its tail settled (tail.go), opened again as after a restart, and cut back to last before
// the next write.
//
// INV-2: a deletion takes effect whole or, when it fails, not at all: Raft goes on with the entries that it believes to be
// there, and would ask for them for ever.
//
// Locks: writeMu before walMu before metaFile's. Readers take only walMu, so that they go on while a write is being synced.
// It is safe for concurrent use. Raft writes from one task and reads from several; close is called when Raft has
// ended.
type logStore struct {
	host         host.Host
	fs           fileSystem
	dir          string
	segmentBytes int
	logger       hclog.Logger
	meta         *metaFile
	covered      func() uint64 // the last entry that the newest snapshot covers; nil: there are none
	cache        logCache
	own          ownEntries
	appended     atomic.Int64 // bytes of entries, since Open
	failure      atomic.Pointer[error]

	writeMu    sync.Mutex // StoreLogs, DeleteRange
	broken     error      // why the last write, or the repair after it, failed; nil: the log is as raft-wal has it
	repairedAt time.Time  // when a repair last began
	last       uint64
	// undo is kept until it has been done: several repairs may fail before.
	undo *types.PersistentState // the segments before a deletion that failed (INV-2)

	walMu sync.RWMutex // the pointer, for the reopening
	wal   *wal.WAL
}

var _ raft.LogStore = (*logStore)(nil)

// repairInterval is the least time between two reopenings while the disk stays broken. A lone member tries to lead a few
// times a second, and each try is a write; reading a whole segment for each would keep a disk busy that has trouble already.
const repairInterval = 250 * time.Millisecond

// openLog opens or makes the log in dir.
func openLog(h host.Host, fs fileSystem, dir string, segmentBytes int, logger hclog.Logger) (*logStore, error) {
	s := &logStore{host: h, fs: fs, dir: dir, segmentBytes: segmentBytes, logger: logger, meta: &metaFile{fs: fs}}
	s.cache.limit = cacheBytes
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError(err, "open log", dir)
	}
	if err := fs.syncDir(fs.PathDir(dir)); err != nil {
		return nil, diskError(err, "open log", dir)
	}
	if err := s.open(noLimit); err != nil {
		return nil, errors.Join(openLogError(err, dir), s.meta.Close())
	}
	return s, nil
}

// openLogError tells what a person can mend (a full disk, permissions) from a log that does not make sense. raft-wal has no
// kinds of its own.
func openLogError(err error, dir string) error {
	if dfs.IsKind(diskError(err, "", ""), dfs.NoSpace) || strings.Contains(err.Error(), "permission denied") {
		return diskError(err, "open log", dir)
	}
	return corruptedError("open log", dir, "%v", err)
}

// open opens the log as after a restart, without what lies above keep in its last segment, and learns last.
func (s *logStore) open(keep uint64) error {
	if err := s.settleTail(keep); err != nil {
		return err
	}
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

// repair reopens the log after a failed write (INV-1). While the disk stays broken it says why, and tries again only now
// and then. s.writeMu is held.
func (s *logStore) repair() error {
	if s.broken == nil {
		return nil
	}
	// "sealed" says nothing to a person, and follows an append that succeeded: no loop of failures is made of those.
	now := s.host.Now()
	if !errors.Is(s.broken, wal.ErrSealed) && now.Sub(s.repairedAt) < repairInterval {
		return s.broken
	}
	s.repairedAt = now
	s.broken = s.reopen()
	return s.broken
}

// reopen is the body of repair. A failure at any step leaves the next one to begin again from the start.
func (s *logStore) reopen() error {
	s.walMu.Lock()
	defer s.walMu.Unlock()
	if s.wal != nil {
		w := s.wal
		s.wal = nil // closed is closed, whatever it answers
		if err := w.Close(); err != nil {
			return err
		}
	}
	if err := s.undoDeletion(); err != nil {
		return err
	}
	acknowledged := s.last
	err := s.open(acknowledged)
	found := s.last
	s.last = acknowledged
	switch {
	case err != nil:
		return err
	case found < acknowledged:
		return dfs.Errorf(dfs.Corrupted, "reopen log", s.dir, "it ends at %d, %d was synced", found, acknowledged)
	// settleTail has cut what failed in the last segment, so this is about a segment that was listed behind it.
	case found > acknowledged:
		return s.wal.DeleteRange(acknowledged+1, found)
	}
	return nil
}

// undoDeletion lists the segments again that a failed deletion may have taken off the list: raft-wal changes the list
// first, then makes the next segment, and removes files last (INV-2). The ids that it used stay used.
func (s *logStore) undoDeletion() error {
	if s.undo == nil {
		return nil
	}
	state, err := s.meta.Load(s.dir)
	if err != nil {
		return err
	}
	state.Segments = s.undo.Segments
	if err := s.meta.CommitState(state); err != nil {
		return err
	}
	s.undo = nil
	return nil
}

// lentMeta is the meta file as raft-wal has it: its Close leaves the file open, since Raft's votes go on while the log is
// being reopened.
type lentMeta struct{ *metaFile }

// Close implements types.MetaStore.
func (lentMeta) Close() error { return nil }

// view calls f with the log; an error while a repair has not succeeded yet.
// The reopening waits until f returns, so f must not take writeMu.
func (s *logStore) view(f func(w *wal.WAL) error) error {
	s.walMu.RLock()
	defer s.walMu.RUnlock()
	if s.wal == nil {
		return dfs.Errorf(dfs.Unavailable, "read log", s.dir, "its disk has failed, and it is not open again yet")
	}
	return f(s.wal)
}

// FirstIndex implements raft.LogStore.
// 0 when the log is empty; Unavailable, without a retry, while it is being reopened. LastIndex likewise.
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
// Raft then removes the whole log behind a snapshot from the leader rather than leave a gap, which raft-wal
// refuses.
func (s *logStore) IsMonotonic() bool { return true }

// GetLog implements raft.LogStore. Errors: raft.ErrLogNotFound, dfs.Corrupted for an entry that differs from what was
// proposed, dfs.Unavailable while the log is closed after a failure. logReader (stop.go) keeps the last two from Raft.
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
// It covers the data alone: index and term are the log's own, and GetLog compares the index.
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

// StoreLogs implements raft.LogStore. An error means that none of logs is in the log, and that none comes back: not by a
// repair, though by a crash before it (Raft allows for that). dfs.NoSpace: the disk is full, and a later call tries again;
// dfs.Unavailable: it failed otherwise; dfs.Corrupted: the log lost entries that were synced.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	err := s.closeGap(logs[0].Index)
	if err == nil {
		err = s.append(logs)
	}
	if errors.Is(err, wal.ErrSealed) { // a rotation failed, and raft-wal only logged why: the repair finds out
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
	// Last: the cache may not have what the log has not.
	s.cache.add(logs)
	return nil
}

// closeGap removes the whole log when the next entry does not follow it. Raft lets that happen only behind a snapshot from
// the leader that covers all of it, when the removal that came with the snapshot failed: it logs that and goes on.
// s.writeMu is held.
func (s *logStore) closeGap(next uint64) error {
	if s.last == 0 || next <= s.last+1 || s.covered == nil || s.covered() < next-1 {
		return nil // a gap that nothing covers is raft-wal's to refuse
	}
	return s.deleteRange(0, s.last)
}

// append writes logs, after a repair if the last write failed. s.writeMu is held.
// Its error is raft-wal's or repair's own, for StoreLogs to convert.
func (s *logStore) append(logs []*raft.Log) error {
	if err := s.repair(); err != nil {
		return err
	}
	s.broken = s.view(func(w *wal.WAL) error { return w.StoreLogs(logs) })
	return s.broken
}

// DeleteRange implements raft.LogStore. Raft deletes prefixes that a snapshot covers (INV-1 of the package), and suffixes
// that another leader has overruled. After an error all entries are there still (INV-2), and Raft asks again.
func (s *logStore) DeleteRange(min, max uint64) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return diskError(s.deleteRange(min, max), "trim log", s.dir)
}

// deleteRange is DeleteRange with s.writeMu held.
func (s *logStore) deleteRange(min, max uint64) error {
	if err := s.repair(); err != nil {
		return err
	}
	// Before the deletion: afterwards nothing tells a prefix from everything.
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	before, err := s.meta.Load(s.dir)
	if err != nil {
		return err
	}
	s.cache.cut(min, max) // before, so that it never has what the log has not
	if err := s.view(func(w *wal.WAL) error { return w.DeleteRange(min, max) }); err != nil {
		s.broken, s.undo = err, &before
		return err
	}
	switch {
	case max < s.last:
	case min <= first:
		s.last = 0
	case min <= s.last:
		s.last = min - 1
		s.own.cutFrom(min)
	}
	return nil
}

// tryRepair is for a reader that finds the log closed: on a member that only reads, no write would come to open it.
func (s *logStore) tryRepair() {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.repair(); err != nil {
		s.logger.Error("the log cannot be opened again yet", "error", err)
	}
}

// failed is why the last write did not succeed; nil when it did.
// Status shows it, and a proposal that a member refuses for it says it in place of "not the leader".
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

// close ends the log. A rotation that raft-wal has not come to is left to the next open (tail.go), and so is a failed write:
// what it left was never acknowledged. A close needs no space, so it works on a full disk, too.
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
