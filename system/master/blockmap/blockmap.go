// Package blockmap knows which workers hold which blocks. It is soft state: workers report it, a new leader starts with
// nothing, and nothing here is logged. Workers are interned to small numbers, and a block's holders lie inline, so that
// a hundred million blocks cost map entries and no pointers.
package blockmap

import (
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
)

// Map is safe for concurrent use.
//
// INV-1: a block is in extra only while all of its inline places are taken, so the inline ones alone say whether anyone
// holds it. INV-2: holders keep the order in which they reported, since the first is asked first. INV-3: counts follow
// the shards, but under another lock: between two steps of one report a count may lag, and it is for people only.
//
// Lock order: a shard's lock and Map.mu are never held together. What is read under one may be old under the other; a
// number that a Reset has made meaningless is skipped.
type Map struct {
	shards [mapShards]shard

	mu      sync.RWMutex
	numbers map[dfs.WorkerID]uint16
	names   []dfs.WorkerID // by number; names[0] is unused
	counts  []int64        // blocks by number
}

// New makes an empty map.
func New() *Map {
	return &Map{numbers: map[dfs.WorkerID]uint16{}, names: []dfs.WorkerID{""}, counts: []int64{0}}
}

// Blocks of one file spread over the shards, so that a worker's report of a large file does not keep one lock busy.
func (m *Map) shardOf(b dfs.BlockID) *shard {
	return &m.shards[hashOf(b)>>(64-shardBits)]
}

// hashOf spreads ids that differ by one in any field over all bits: the high ones choose the shard, the next the place in
// its table. It is the finalizer of splitmix64 over the fields, each multiplied by a constant of its own.
func hashOf(b dfs.BlockID) uint64 {
	x := uint64(b.File.Inode)*0x9e3779b97f4a7c15 + uint64(b.Index)*0xd6e8feb86659fd93 + uint64(b.File.Version)*0xa0761d6478bd642f
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// number interns a worker. At most 65,535 are known in one leadership.
// Numbers are not used again before Reset, since blocks may still name them. false when there is none left.
func (m *Map) number(w dfs.WorkerID) (uint16, bool) {
	m.mu.RLock()
	n, ok := m.numbers[w]
	m.mu.RUnlock()
	if ok {
		return n, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.numbers[w]; ok {
		return n, true
	}
	if len(m.names) > 0xffff {
		return 0, false
	}
	n = uint16(len(m.names))
	m.names, m.counts = append(m.names, w), append(m.counts, 0)
	m.numbers[w] = n
	return n, true
}

// count adds to a worker's blocks. A report that a Reset has overtaken has a number that means nothing any more.
func (m *Map) count(n uint16, delta int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(n) < len(m.counts) {
		m.counts[n] += delta
	}
}

// Add records that w holds the blocks of f. It returns false when the table of workers is full. Blocks that it holds
// already are counted once. Reports of one worker should come one at a time: of an Add and a Remove of the same block
// at once, either may be last.
// It takes a shard's lock for one block at a time, so lookups are never held up for a whole report. A report that a
// Reset overtakes may leave blocks under a number that a later worker gets: readers ask that worker in vain and go on
// to the next.
func (m *Map) Add(w dfs.WorkerID, f dfs.FileVersion, blocks []uint32) bool {
	n, ok := m.number(w)
	if !ok {
		return false
	}
	added := int64(0)
	for _, index := range blocks {
		b := dfs.BlockID{File: f, Index: index}
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

// Remove records that w no longer holds the blocks.
func (m *Map) Remove(w dfs.WorkerID, f dfs.FileVersion, blocks []uint32) {
	m.mu.RLock()
	n, ok := m.numbers[w] // a worker that is not known holds nothing, and need not become known
	m.mu.RUnlock()
	if !ok {
		return
	}
	removed := int64(0)
	for _, index := range blocks {
		b := dfs.BlockID{File: f, Index: index}
		s := m.shardOf(b)
		s.mu.Lock()
		if s.remove(b, n) {
			removed++
		}
		s.mu.Unlock()
	}
	m.count(n, -removed)
}

// RemoveWorker forgets everything that w holds, shard by shard, so that lookups go on meanwhile.
// It looks at every block, so it costs as much as the map is large; workers are lost rarely. An Add of the same worker
// at the same time may leave blocks behind: the caller has ended its lease before.
func (m *Map) RemoveWorker(w dfs.WorkerID) {
	m.mu.RLock()
	n, ok := m.numbers[w]
	m.mu.RUnlock()
	if !ok {
		return
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.removeAll(n)
		s.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(n) < len(m.counts) {
		m.counts[n] = 0
	}
}

// Locate lists the workers that hold a block, in the order in which they reported it.
// nil when nobody has it. The list is the caller's. A worker in it may be lost by now, or may have evicted the block:
// it is a hint.
func (m *Map) Locate(b dfs.BlockID) []dfs.WorkerID {
	s := m.shardOf(b)
	s.mu.RLock()
	numbers := make([]uint16, 0, inlineHolders)
	if at := s.held.find(b); at >= 0 {
		for _, n := range s.held.entries[at].holders {
			if n != 0 {
				numbers = append(numbers, n)
			}
		}
		numbers = append(numbers, s.extra[b]...)
	}
	s.mu.RUnlock()
	if len(numbers) == 0 {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]dfs.WorkerID, 0, len(numbers))
	for _, n := range numbers {
		if int(n) < len(m.names) { // else see count
			out = append(out, m.names[n])
		}
	}
	return out
}

// Holders lists the workers that hold any of the first blocks of f. blocks bounds the work, not the answer: a holder
// is named once, in the order of the first block that it holds.
func (m *Map) Holders(f dfs.FileVersion, blocks uint32) []dfs.WorkerID {
	var out []dfs.WorkerID
	for i := range blocks {
		for _, w := range m.Locate(dfs.BlockID{File: f, Index: i}) {
			if !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	return out
}

// Blocks is how many blocks w holds.
func (m *Map) Blocks(w dfs.WorkerID) int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.counts[m.numbers[w]]
}

// Len is how many blocks are held anywhere.
// Each shard is counted at another moment, so the sum is exact only while nothing is reported.
func (m *Map) Len() int64 {
	total := int64(0)
	for i := range m.shards {
		m.shards[i].mu.RLock()
		total += int64(m.shards[i].held.used)
		m.shards[i].mu.RUnlock()
	}
	return total
}

// Reset forgets everything, the numbers of workers too: a new leadership starts from reports. A report that is under
// way may still come in afterwards; its worker has to register with the new leadership, which drops what it held
// before.
func (m *Map) Reset() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.held, s.extra = table{}, nil // the memory goes back: the next leadership may be another master's
		s.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.numbers)
	m.names, m.counts = []dfs.WorkerID{""}, []int64{0}
}
