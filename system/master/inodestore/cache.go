package inodestore

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/forebay/forebay/system/dfs"
)

// cache keeps hot entries of directories in front of a slower store, bounded in bytes. A known absence is an entry too
// (its inode is nil), since programs that search along a path ask for what is not there again and again.
//
// It is sharded so that readers on different cores seldom meet, and each shard evicts by CLOCK: a hit sets one bit, and
// the hand passes over what was used since its last round. New entries start without the bit, so that a scan of things
// used once cannot wash out what is used often.
//
// INV-1: an entry that a reader fills in is never older than what Apply wrote. A reader takes the shard's version with
// its miss, before it reads the store, and its fill is refused when the version has moved. Apply moves the version of a
// key's shard after the store has the new value; a fill that comes between the store's commit and this step is
// overwritten by it. Hence when Apply has returned, no entry that it changed is stale, and none can become so.
//
// INV-2: the bytes accounted to a shard never exceed its limit once an operation has returned.
type cache struct {
	seed   maphash.Seed
	shards []cacheShard // a power of two
}

// cacheShardCount is enough that a shard's version, which every Apply to it moves, stays put during most misses.
const cacheShardCount = 256

type cacheKey struct {
	parent dfs.InodeID
	name   string
}

// newCache makes a cache of at most limit bytes; nil, which is a valid cache that holds nothing, when limit <= 0.
func newCache(limit int64) *cache {
	if limit <= 0 {
		return nil
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]cacheShard, cacheShardCount)}
	for i := range c.shards {
		c.shards[i].limit = max(limit/cacheShardCount, 1)
	}
	return c
}

// locate gives a key's shard and hash. The shard comes from bits that its index uses last.
func (c *cache) locate(key cacheKey) (*cacheShard, uint64) {
	h := maphash.String(c.seed, key.name) ^ uint64(key.parent)*0x9e3779b97f4a7c15
	h *= 0xbf58476d1ce4e5b9 // the parent's low bits reach all of the hash
	h ^= h >> 29
	return &c.shards[h>>56&(cacheShardCount-1)], h
}

// get returns what is known of an entry. On a miss it returns the version to hand to fill.
func (c *cache) get(parent dfs.InodeID, name string) (n *Inode, version uint64, hit bool) {
	if c == nil {
		return nil, 0, false
	}
	key := cacheKey{parent, name}
	s, hash := c.locate(key)
	s.mu.RLock()
	_, slot, hit := s.index.find(hash, s.slots, key)
	if !hit {
		version = s.version
		s.mu.RUnlock()
		s.misses.Add(1)
		return nil, version, false
	}
	e := &s.slots[slot]
	n = e.inode
	if atomic.LoadUint32(&e.used) == 0 {
		atomic.StoreUint32(&e.used, 1)
	}
	s.mu.RUnlock()
	s.hits.Add(1)
	return n, 0, true
}

// fill keeps what a reader found in the store (nil: nothing), unless an Apply to the shard came between (INV-1). name
// must not alias memory that changes or that is much larger. A nil inode notes an absence.
func (c *cache) fill(version uint64, parent dfs.InodeID, name string, n *Inode) {
	if c == nil {
		return
	}
	key := cacheKey{parent, name}
	s, hash := c.locate(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == version {
		s.put(hash, key, n)
	}
}

// apply records what Apply has written (nil: a delete). The store has it already.
func (c *cache) apply(parent dfs.InodeID, name string, n *Inode) {
	if c == nil {
		return
	}
	key := cacheKey{parent, name}
	s, hash := c.locate(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.put(hash, key, n)
}

// clear forgets everything, and refuses the fills that are under way. Hits and misses are counted on.
func (c *cache) clear() {
	if c == nil {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.version++
		s.index, s.slots, s.free, s.hand, s.bytes = slotIndex{}, nil, nil, 0, 0
		s.mu.Unlock()
	}
}

func (c *cache) stats(st *Stats) {
	if c == nil {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		st.CacheBytes += s.bytes
		s.mu.RUnlock()
		st.CacheHits += s.hits.Load()
		st.CacheMisses += s.misses.Load()
	}
}
