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

	settleMu  sync.Mutex  // one settleCurrent at a time
	unsettled atomic.Bool // CURRENT may name a generation that is not current
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
