package inodestore

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// heapStore keeps decoded inodes in a B-tree: the comparison with the way Alluxio's heap metastore works, and the
// simulator's store at sizes where Pebble's own goroutines would cost too much. It is durable only in Flush and
// Checkpoint, which write everything to one file.
type heapStore struct {
	fs  fileSystem
	dir string

	mu      sync.RWMutex // guards what follows; never held over disk I/O or a caller's function
	state   heapState
	flushMu sync.Mutex // one writer of the file at a time

	applied atomic.Uint64
	flushed atomic.Uint64
}

// heapState is everything that a checkpoint holds.
// Inodes in it are shared with readers, and with the copies that are being written: they are replaced, never changed.
type heapState struct {
	inodes  *btree.BTreeG[*Inode]
	records *btree.BTreeG[heapRecord]
}

// heapRecord is a record of any table; key begins with the table's byte.
type heapRecord struct {
	key   string
	value []byte
}

// newHeapState makes empty trees without locks of their own: heapStore.mu guards them.
func newHeapState() heapState {
	options := btree.Options{NoLocks: true}
	return heapState{
		inodes: btree.NewBTreeGOptions(func(a, b *Inode) bool {
			if a.Parent != b.Parent {
				return a.Parent < b.Parent
			}
			return a.Name < b.Name
		}, options),
		records: btree.NewBTreeGOptions(func(a, b heapRecord) bool { return a.key < b.key }, options),
	}
}

// OpenHeap opens or makes the store whose file lies in dir on the host's disk. With dir "" it lives in memory alone: a
// restart finds nothing, and FlushedIndex stays 0.
func OpenHeap(h host.Host, dir string) (Store, error) {
	s := &heapStore{fs: fileSystem{h.FS()}, dir: dir, state: newHeapState()}
	if dir == "" {
		return s, nil
	}
	if err := s.fs.makeDir(dir); err != nil {
		return nil, diskError(err, "open inode store", dir)
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Child implements Reader.
// It cannot fail: everything is in memory.
func (s *heapStore) Child(parent dfs.InodeID, name string) (*Inode, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, _ := s.state.inodes.Get(&Inode{Parent: parent, Name: name})
	return n, nil
}

// scanChunk is how many entries are taken under the lock at a time, so that a long listing does not hold up Apply.
const scanChunk = 256

// List implements Reader. It takes the entries in chunks, without the lock in between, so a listing beside Apply may
// see some of an entry's effects and not others; whoever needs one state holds a lock of its own (namespace.Machine
// does).
// yield runs without the lock, so it may call the store. An Apply between two chunks is seen by the later chunk; names
// do not come twice or out of order, whatever is applied.
func (s *heapStore) List(parent dfs.InodeID, after string, yield func(*Inode) bool) error {
	from, skip := Inode{Parent: parent, Name: after}, after != ""
	for {
		chunk := make([]*Inode, 0, scanChunk)
		s.mu.RLock()
		s.state.inodes.Ascend(&from, func(n *Inode) bool {
			if n.Parent != parent || len(chunk) == scanChunk {
				return false
			}
			if !skip || n.Name > from.Name {
				chunk = append(chunk, n)
			}
			return true
		})
		s.mu.RUnlock()
		for _, n := range chunk {
			if !yield(n) {
				return nil
			}
		}
		if len(chunk) < scanChunk {
			return nil
		}
		from.Name, skip = chunk[len(chunk)-1].Name, true
	}
}

// Record implements Reader.
func (s *heapStore) Record(t Table, key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.state.records.Get(heapRecord{key: string(recordKey(nil, t, key))})
	if !ok {
		return nil, nil
	}
	return append([]byte{}, r.value...), nil
}

// Records implements Reader. The rules of List hold.
func (s *heapStore) Records(t Table, prefix, from []byte, yield func(key, value []byte) bool) error {
	want := string(recordKey(nil, t, prefix))
	start := max(want, string(recordKey(nil, t, from)))
	for {
		chunk := make([]heapRecord, 0, scanChunk)
		s.mu.RLock()
		s.state.records.Ascend(heapRecord{key: start}, func(r heapRecord) bool {
			if !strings.HasPrefix(r.key, want) || len(chunk) == scanChunk {
				return false
			}
			chunk = append(chunk, r)
			return true
		})
		s.mu.RUnlock()
		for _, r := range chunk {
			if !yield([]byte(r.key[1:]), r.value) {
				return nil
			}
		}
		if len(chunk) < scanChunk {
			return nil
		}
		start = chunk[len(chunk)-1].key + "\x00"
	}
}

// AppliedIndex implements Store.
func (s *heapStore) AppliedIndex() uint64 { return s.applied.Load() }

// FlushedIndex implements Store.
func (s *heapStore) FlushedIndex() uint64 { return s.flushed.Load() }

// Stats implements Store.
// DiskBytes is the file as it was written last. The cache's figures stay 0: all of the store is in memory.
func (s *heapStore) Stats() Stats {
	s.mu.RLock()
	st := Stats{Inodes: int64(s.state.inodes.Len())}
	s.mu.RUnlock()
	if s.dir != "" {
		if info, err := s.fs.Stat(s.file(s.dir)); err == nil {
			st.DiskBytes = info.Size()
		}
	}
	return st
}

// Close implements Store. It flushes, as the pebble driver does.
func (s *heapStore) Close() error { return s.Flush() }
