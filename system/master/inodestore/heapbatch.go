package inodestore

import (
	"bytes"

	"github.com/forebay/forebay/system/dfs"
)

// heapBatch collects effects, so that a Batch's filler may read the store, and readers never see half of one.
// A batch is one Apply's and not pooled: its inodes go into the tree.
type heapBatch struct {
	effects []heapEffect
}

// heapEffect sets or deletes an inode (inode != nil) or a record.
type heapEffect struct {
	inode  *Inode
	record heapRecord
	remove bool
}

// PutInode implements Batch.
func (b *heapBatch) PutInode(n *Inode) { b.effects = append(b.effects, heapEffect{inode: n}) }

// DeleteInode implements Batch.
func (b *heapBatch) DeleteInode(parent dfs.InodeID, name string) {
	b.effects = append(b.effects, heapEffect{inode: &Inode{Parent: parent, Name: name}, remove: true})
}

// PutRecord implements Batch.
func (b *heapBatch) PutRecord(t Table, key, value []byte) {
	r := heapRecord{key: string(recordKey(nil, t, key)), value: bytes.Clone(value)}
	b.effects = append(b.effects, heapEffect{record: r})
}

// DeleteRecord implements Batch.
func (b *heapBatch) DeleteRecord(t Table, key []byte) {
	r := heapRecord{key: string(recordKey(nil, t, key))}
	b.effects = append(b.effects, heapEffect{record: r, remove: true})
}

// Apply implements Store. It cannot fail: nothing is written before Flush.
// fill runs without the lock; its effects become visible together.
func (s *heapStore) Apply(index uint64, fill func(Batch)) error {
	var b heapBatch
	fill(&b)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.effects {
		s.state.apply(&b.effects[i])
	}
	s.applied.Store(index)
	return nil
}

// apply does one effect; deleting what is not there is no error. heapStore.mu is held for writing.
func (st *heapState) apply(e *heapEffect) {
	switch {
	case e.inode != nil && e.remove:
		st.inodes.Delete(e.inode)
	case e.inode != nil:
		st.inodes.Set(e.inode)
	case e.remove:
		st.records.Delete(e.record)
	default:
		st.records.Set(e.record)
	}
}
