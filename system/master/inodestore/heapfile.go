package inodestore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
)

// The heap driver's file: heapMagic, the applied index (8 bytes), then entries, each a length-prefixed key and a
// length-prefixed value (keys as in the pebble driver), ended by an empty key; then the CRC32C of all before it.
const (
	heapMagic    = "forebay heap 1\n"
	heapFileName = "state"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errHeapFile is every way in which the file can be malformed.
var errHeapFile = errors.New("the file is damaged")

// file is where a directory keeps its state, our own or a checkpoint's.
func (s *heapStore) file(dir string) string { return s.fs.PathJoin(dir, heapFileName) }

// Flush implements Store. It writes all of the state, so it costs as much however little has changed; nothing at all
// when nothing has. A failure leaves the former file, and the state in memory.
// Calls at the same time are done one after the other; the second writes again, since it may have been asked for a
// newer state.
func (s *heapStore) Flush() error {
	if s.dir == "" || s.flushed.Load() == s.applied.Load() {
		return nil
	}
	_, err := s.write(s.dir)
	return err
}

// Checkpoint implements Store. The copy may be newer than the flush before it, by what was applied meanwhile.
// AlreadyExists for a directory that is there.
// Unlike pebble's it does not hold up Apply at all: a copy of a tree shares its nodes, and only the copying of the
// root is under the lock.
func (s *heapStore) Checkpoint(dir string) (uint64, error) {
	if err := s.Flush(); err != nil {
		return 0, err
	}
	if _, err := s.fs.Stat(dir); err == nil {
		return 0, dfs.Errorf(dfs.AlreadyExists, "checkpoint inode store", dir, "name a new directory")
	}
	if err := s.fs.makeDir(dir); err != nil {
		return 0, diskError(err, "checkpoint inode store", dir)
	}
	return s.write(dir)
}

// write puts the present state in dir's file, in one step, and returns its index.
// It is atomic for a crash: the file is written and synced under another name, renamed, and then the directory is
// synced. flushed moves last, so FlushedIndex never names what a crash could take back. A ".new" file that a failure
// leaves is overwritten by the next try.
func (s *heapStore) write(dir string) (uint64, error) {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.mu.Lock() // Copy marks the nodes as shared, so it is a write
	index := s.applied.Load()
	state := heapState{inodes: s.state.inodes.Copy(), records: s.state.records.Copy()}
	s.mu.Unlock()

	name := s.file(dir)
	err := s.writeFile(name+".new", index, state)
	if err == nil {
		err = s.fs.Rename(name+".new", name)
	}
	if err == nil {
		err = s.fs.syncDir(dir)
	}
	if err != nil {
		return 0, diskError(err, "write inode store", name)
	}
	if dir == s.dir {
		s.flushed.Store(index)
	}
	return index, nil
}

// writeFile writes a state and syncs it, under a name that nobody reads yet. Copies of the trees make it independent
// of Apply, which goes on meanwhile.
// Entries are in the order of their keys, inodes before records of tables whose byte is greater; nothing else depends
// on it but the speed of loading.
func (s *heapStore) writeFile(name string, index uint64, state heapState) error {
	f, err := s.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := newSumWriter(f)
	w.raw([]byte(heapMagic))
	w.raw(binary.BigEndian.AppendUint64(nil, index))
	var key, value []byte
	state.inodes.Scan(func(n *Inode) bool {
		key, value = inodeKey(key[:0], n.Parent, n.Name), appendInode(value[:0], n)
		w.entry(key, value)
		return w.err == nil
	})
	state.records.Scan(func(r heapRecord) bool {
		w.entry([]byte(r.key), r.value)
		return w.err == nil
	})
	w.raw([]byte{0}) // an empty key
	err = w.finish()
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sumWriter writes and sums; it keeps the first error.
type sumWriter struct {
	w   *bufio.Writer
	sum uint32
	err error
	buf []byte
}

// newSumWriter buffers a megabyte, so that the entries of one state are few writes.
func newSumWriter(w io.Writer) *sumWriter { return &sumWriter{w: bufio.NewWriterSize(w, 1<<20)} }

// raw writes bytes as they are; after an error it does nothing.
func (w *sumWriter) raw(b []byte) {
	if w.err == nil {
		w.sum = crc32.Update(w.sum, castagnoli, b)
		_, w.err = w.w.Write(b)
	}
}

// entry writes one key and its value, each after its length.
func (w *sumWriter) entry(key, value []byte) {
	w.buf = binary.AppendUvarint(w.buf[:0], uint64(len(key)))
	w.buf = append(w.buf, key...)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(value)))
	w.buf = append(w.buf, value...)
	w.raw(w.buf)
}

// finish writes the sum and gives the first error of all writes.
// It adds the sum without counting it in, and empties the buffer; syncing and closing the file are the caller's.
func (w *sumWriter) finish() error {
	w.raw(binary.BigEndian.AppendUint32(nil, w.sum))
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

// load reads the file in s.dir; none is an empty state.
// A file that was cut off or changed is Corrupted: it is renamed into place only when it is whole, so a crash does not
// explain it. The state in memory is not touched then.
func (s *heapStore) load() error {
	name := s.file(s.dir)
	data, err := s.fs.readFile(name)
	if oserror.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return diskError(err, "read inode store", name)
	}
	index, state, err := parseHeapFile(data)
	if err != nil {
		return corruptedError("open inode store", name, err)
	}
	s.state = state
	s.applied.Store(index)
	s.flushed.Store(index)
	return nil
}
