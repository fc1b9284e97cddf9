package inodestore

import (
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/forebay/forebay/system/dfs"
)

// pebbleBatch collects the effects of one Apply, and the inodes that the cache has to hear of. Batches are pooled:
// nothing of one may be kept after Apply.
type pebbleBatch struct {
	batch   *pebble.Batch
	touched []touchedInode
	key     []byte
	value   []byte
}

// Inodes are shared with the cache from Apply on: the caller does not change them any more.
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
// The cache hears of the effects after the database has them and under applyMu, which is what INV-1 of cache rests on.
// With an error the applied index has not moved; whether the batch is in the memtable is not known, so the caller must
// not go on with another index (namespace stops the process).
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

// release gives a batch back to the pool. A list that one large entry has grown is let go, since the pool would keep
// it.
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
