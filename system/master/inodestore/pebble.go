package inodestore

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Keys of the pebble driver begin with a byte that names their table: the Tables, and these two. Persistent.
const (
	prefixInode   = 'i' // parent id, name -> inode
	prefixPrivate = 0   // the driver's own; no Reader shows it
)

var keyApplied = []byte{prefixPrivate, 'a'} // -> applied index, 8 bytes big endian

// pebbleStore keeps the state in a Pebble database without a write-ahead log: the journal is the log. A batch carries the
// index it was applied at, so that a crash takes the state back to some earlier index as a whole, and the journal replays
// from there.
//
// INV-1: what tables hold is the state after exactly the entries up to the applied index that they hold. A batch is never
// split between memtables, and memtables reach tables in order.
type pebbleStore struct {
	fs    fileSystem
	dir   string
	opts  Options
	cache *cache
	block *pebble.Cache

	lock    io.Closer  // of dir
	applyMu sync.Mutex // Apply against the short end of a checkpoint; never held while waiting for anything but the disk
	applied atomic.Uint64
	current atomic.Pointer[generation]
}

// OpenPebble opens or makes the store in dir on the host's disk, which no other process may use meanwhile. A store that
// cannot be read gives dfs.Corrupted with what to do about it.
func OpenPebble(h host.Host, dir string, opts Options) (Store, error) {
	opts = opts.withDefaults()
	s := &pebbleStore{fs: fileSystem{h.FS()}, dir: dir, opts: opts, cache: newCache(opts.InodeCacheBytes)}
	if err := s.fs.makeDir(dir); err != nil {
		return nil, diskError(err, "open inode store", dir)
	}
	lock, err := s.fs.Lock(s.fs.PathJoin(dir, lockFileName))
	if err != nil {
		return nil, dfs.Errorf(dfs.Unavailable, "open inode store", dir, "another process uses this directory: stop it, or "+
			"give this master a directory of its own; %v", err)
	}
	s.lock = lock
	s.block = pebble.NewCache(opts.BlockCacheBytes)
	if err := s.openCurrent(); err != nil {
		s.block.Unref()
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// readApplied reads the applied index that opts can see; 0 when there is none.
func readApplied(db *pebble.DB, opts *pebble.IterOptions) (uint64, error) {
	it, err := db.NewIter(opts)
	if err != nil {
		return 0, err
	}
	index := uint64(0)
	if it.SeekGE(keyApplied) && string(it.Key()) == string(keyApplied) && len(it.Value()) == 8 {
		index = binary.BigEndian.Uint64(it.Value())
	}
	return index, it.Close()
}

// keyPool holds buffers for the keys of reads.
var keyPool = sync.Pool{New: func() any { b := make([]byte, 0, 64); return &b }}

// inodeKey writes the database's key of an entry.
func inodeKey(dst []byte, parent dfs.InodeID, name string) []byte {
	return appendInodeKey(append(dst, prefixInode), parent, name)
}

// Child implements Reader.
func (s *pebbleStore) Child(parent dfs.InodeID, name string) (*Inode, error) {
	n, version, hit := s.cache.get(parent, name)
	if hit {
		return n, nil
	}
	name = cloneName(name)
	n, err := s.readChild(parent, name)
	if err != nil {
		return nil, err
	}
	s.cache.fill(version, parent, name, n)
	return n, nil
}

func (s *pebbleStore) readChild(parent dfs.InodeID, name string) (*Inode, error) {
	buf := keyPool.Get().(*[]byte)
	defer keyPool.Put(buf)
	*buf = inodeKey((*buf)[:0], parent, name)
	g := s.acquire()
	defer g.release()
	if s.opts.LastLevelFilterBits > 0 {
		return s.seekChild(g.db, *buf, parent, name)
	}
	record, done, err := g.db.Get(*buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err, "read inode", s.dir)
	}
	n, err := decodeInode(parent, name, record)
	return n, errors.Join(err, done.Close())
}

// seekChild is for stores with a filter on the last level, which Get never asks.
func (s *pebbleStore) seekChild(db *pebble.DB, key []byte, parent dfs.InodeID, name string) (n *Inode, err error) {
	it, err := db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, diskError(err, "read inode", s.dir)
	}
	if it.SeekPrefixGE(key) {
		n, err = decodeInode(parent, name, it.Value())
	}
	if closeErr := it.Close(); closeErr != nil {
		return nil, diskError(closeErr, "read inode", s.dir)
	}
	return n, err
}

// List implements Reader. It reads one consistent state of the directory.
func (s *pebbleStore) List(parent dfs.InodeID, after string, yield func(*Inode) bool) error {
	from := inodeKey(nil, parent, after)
	if after != "" {
		from = append(from, 0) // the first name greater than after
	}
	const prefixLen = 1 + 8
	opts := &pebble.IterOptions{LowerBound: from, UpperBound: prefixEnd(from[:prefixLen])}
	return s.scan(opts, "list directory", func(key, record []byte) (bool, error) {
		n, err := decodeInode(parent, string(key[prefixLen:]), record)
		return err == nil && yield(n), err
	})
}

// Record implements Reader.
func (s *pebbleStore) Record(t Table, key []byte) ([]byte, error) {
	g := s.acquire()
	defer g.release()
	value, done, err := g.db.Get(recordKey(nil, t, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err, "read record", s.dir)
	}
	value = append([]byte{}, value...)
	return value, done.Close()
}

// Records implements Reader.
func (s *pebbleStore) Records(t Table, prefix, from []byte, yield func(key, value []byte) bool) error {
	lower, upper := recordKey(nil, t, prefix), prefixEnd(recordKey(nil, t, prefix))
	if start := recordKey(nil, t, from); string(start) > string(lower) {
		lower = start
	}
	if string(lower) >= string(upper) {
		return nil
	}
	return s.scan(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}, "read records",
		func(key, value []byte) (bool, error) { return yield(key[1:], value), nil })
}

// scan calls each for the keys within the bounds until it returns false or an error.
func (s *pebbleStore) scan(opts *pebble.IterOptions, op string, each func(key, value []byte) (bool, error)) error {
	g := s.acquire()
	defer g.release()
	it, err := g.db.NewIter(opts)
	if err != nil {
		return diskError(err, op, s.dir)
	}
	more := true
	for ok := it.First(); ok && more && err == nil; ok = it.Next() {
		more, err = each(it.Key(), it.Value())
	}
	if closeErr := it.Close(); closeErr != nil && err == nil {
		err = diskError(closeErr, op, s.dir)
	}
	return err
}

func recordKey(dst []byte, t Table, key []byte) []byte { return append(append(dst, byte(t)), key...) }

// prefixEnd is the first key after all that begin with prefix, whose first byte is a table and so not 0xff.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// pebbleBatch collects the effects of one Apply, and the inodes that the cache has to hear of.
type pebbleBatch struct {
	batch   *pebble.Batch
	touched []touchedInode
	key     []byte
	value   []byte
}

type touchedInode struct {
	parent dfs.InodeID
	name   string
	inode  *Inode // nil: deleted
}

// PutInode implements Batch. The error of a batch's Set is always nil: it only grows a buffer.
func (b *pebbleBatch) PutInode(n *Inode) {
	b.key = inodeKey(b.key[:0], n.Parent, n.Name)
	b.value = appendInode(b.value[:0], n)
	_ = b.batch.Set(b.key, b.value, nil)
	b.touched = append(b.touched, touchedInode{n.Parent, n.Name, n})
}

// DeleteInode implements Batch.
func (b *pebbleBatch) DeleteInode(parent dfs.InodeID, name string) {
	b.key = inodeKey(b.key[:0], parent, name)
	_ = b.batch.Delete(b.key, nil)
	b.touched = append(b.touched, touchedInode{parent, cloneName(name), nil})
}

// PutRecord implements Batch.
func (b *pebbleBatch) PutRecord(t Table, key, value []byte) {
	b.key = recordKey(b.key[:0], t, key)
	_ = b.batch.Set(b.key, value, nil)
}

// DeleteRecord implements Batch.
func (b *pebbleBatch) DeleteRecord(t Table, key []byte) {
	b.key = recordKey(b.key[:0], t, key)
	_ = b.batch.Delete(b.key, nil)
}

var batchPool = sync.Pool{New: func() any { return new(pebbleBatch) }}

// Apply implements Store. It waits when Pebble has to flush first: that is its back-pressure, and on a full disk it lasts
// until there is space.
func (s *pebbleStore) Apply(index uint64, fill func(Batch)) error {
	b := batchPool.Get().(*pebbleBatch)
	db := s.current.Load().db // Replace does not run meanwhile
	b.batch = db.NewBatch()
	defer b.release()
	fill(b)
	b.value = binary.BigEndian.AppendUint64(b.value[:0], index)
	_ = b.batch.Set(keyApplied, b.value, nil)

	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if err := db.Apply(b.batch, pebble.NoSync); err != nil {
		return diskError(err, "apply to inode store", s.dir)
	}
	for i := range b.touched {
		t := &b.touched[i]
		s.cache.apply(t.parent, t.name, t.inode)
	}
	s.applied.Store(index)
	return nil
}

func (b *pebbleBatch) release() {
	_ = b.batch.Close() // only gives its memory back
	b.batch = nil
	const keep = 1 << 14
	clear(b.touched)
	if b.touched = b.touched[:0]; cap(b.touched) > keep {
		b.touched = nil
	}
	batchPool.Put(b)
}
