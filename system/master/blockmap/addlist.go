package blockmap

import (
	"github.com/forebay/forebay/system/dfs"
)

// AddList is Add for many blocks of any files, as registrations bring them. A block's place is a miss of the processor's
// cache in a map of this size, and the misses of one list are taken together: it is sorted by shard, and each shard's
// places are touched before the first is changed.
// A shard's lock is held for its share of the list, a thousandth.
func (m *Map) AddList(w dfs.WorkerID, blocks []dfs.BlockID) bool {
	n, ok := m.number(w)
	if !ok {
		return false
	}
	added := int64(0)
	if len(blocks) < worthSorting {
		for _, b := range blocks {
			s := m.shardOf(b)
			s.mu.Lock()
			if s.add(b, n) {
				added++
			}
			s.mu.Unlock()
		}
		m.count(n, added)
		return true
	}
	sorted, ends := byShard(blocks)
	from := int32(0)
	for i, end := range ends {
		if from < end {
			s := &m.shards[i]
			s.mu.Lock()
			added += s.addAll(sorted[from:end], n)
			s.mu.Unlock()
			from = end
		}
	}
	m.count(n, added)
	return true
}

// worthSorting: a shorter list, as heartbeats have it, does not pay for a look at every shard.
const worthSorting = 256

// byShard is a counting sort; ends[i] is where shard i's part of sorted ends.
func byShard(blocks []dfs.BlockID) (sorted []dfs.BlockID, ends [mapShards]int32) {
	for _, b := range blocks {
		ends[hashOf(b)>>(64-shardBits)]++
	}
	for i := 1; i < mapShards; i++ {
		ends[i] += ends[i-1]
	}
	sorted = make([]dfs.BlockID, len(blocks))
	for i := len(blocks) - 1; i >= 0; i-- { // from behind, so that each end becomes its part's beginning
		at := &ends[hashOf(blocks[i])>>(64-shardBits)]
		*at--
		sorted[*at] = blocks[i]
	}
	copy(ends[:], ends[1:])
	ends[mapShards-1] = int32(len(blocks))
	return sorted, ends
}

// addAll counts those that n did not hold. s.mu is held.
// The first loop's loads do not depend on each other, so that a processor waits for all of them at once.
func (s *shard) addAll(blocks []dfs.BlockID, n uint16) (added int64) {
	if len(s.held.entries) > 0 {
		for _, b := range blocks {
			s.touched += s.held.entries[s.held.home(hashOf(b))].holders[0]
		}
	}
	for _, b := range blocks {
		if s.add(b, n) {
			added++
		}
	}
	return added
}
