package inodestore

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

// used is the only field that is written under the read lock, and so atomic; all others change under the write lock.
type cacheEntry struct {
	hash  uint64
	key   cacheKey
	inode *Inode // nil: known to be absent
	cost  int32  // bytes; 0: the slot is free
	used  uint32 // atomic under the read lock
}

// slots never move while they are used, so the index can name them by number; those in free hold nothing and are used
// again first. bytes is the sum of the costs of the slots that are used (INV-2 of cache keeps it within limit).
type cacheShard struct {
	mu      sync.RWMutex
	version uint64
	index   slotIndex
	slots   []cacheEntry
	free    []uint32
	hand    int
	bytes   int64
	limit   int64
	hits    atomic.Int64
	misses  atomic.Int64
	_       [64]byte // keep neighbours' locks off this line
}

// put sets an entry and evicts down to the limit. s.mu is held.
// An entry that is larger than the limit is evicted at once: it was put last and without the used bit, so the hand may
// take others before it, but it ends within the limit in any case. The used bit of an entry that is overwritten stays
// as it was: being written is no use.
func (s *cacheShard) put(hash uint64, key cacheKey, n *Inode) {
	cost := entryCost(key, n)
	_, slot, ok := s.index.find(hash, s.slots, key)
	if !ok {
		slot = s.newSlot()
		s.slots[slot].hash, s.slots[slot].key = hash, key
		s.index.insert(hash, slot, s.slots)
	}
	e := &s.slots[slot]
	s.bytes += int64(cost - e.cost)
	e.inode, e.cost = n, cost
	for s.bytes > s.limit {
		s.evictOne()
	}
}

// newSlot gives a free slot, an old one first. s.mu is held.
// slots grows as far as the limit in bytes lets it, since each costs slotOverhead at least.
func (s *cacheShard) newSlot() uint32 {
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	s.slots = append(s.slots, cacheEntry{})
	return uint32(len(s.slots) - 1)
}

// evictOne moves the hand to an entry that was not used since it last passed, and removes it. s.bytes > 0, so there is
// one; s.mu is held.
// It goes round at most twice: the first round takes the bits away, the second finds an entry without one. Readers
// cannot set bits meanwhile, since the lock is held for writing.
func (s *cacheShard) evictOne() {
	for {
		s.hand++
		if s.hand >= len(s.slots) {
			s.hand = 0
		}
		e := &s.slots[s.hand]
		switch {
		case e.cost == 0:
		case e.used != 0:
			e.used = 0
		default:
			place, _, _ := s.index.find(e.hash, s.slots, e.key)
			s.index.remove(place, s.slots)
			s.bytes -= int64(e.cost)
			*e = cacheEntry{}
			s.free = append(s.free, uint32(s.hand))
			return
		}
	}
}

// slotOverhead is a slot and its share of the index, which is between 3/8 and 3/4 full.
const slotOverhead = int(unsafe.Sizeof(cacheEntry{}) + 2*unsafe.Sizeof(bucket{}))

// entryCost is the memory that an entry keeps alive, in bytes. Users' and groups' names are shared, so not counted.
// A cost is at least slotOverhead, so no entry is taken for a free slot.
func entryCost(key cacheKey, n *Inode) int32 {
	cost := slotOverhead + len(key.name)
	if n == nil {
		return int32(cost)
	}
	cost += int(unsafe.Sizeof(*n)) + len(n.Fingerprint)
	for name, value := range n.Xattr {
		cost += len(name) + len(value) + 64
	}
	return int32(min(cost, math.MaxInt32))
}
