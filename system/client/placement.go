package client

import (
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Worker is one worker of the cluster, as the master told of it. It is not changed after that, so that lists of workers may
// share it.
type Worker struct {
	ID            dfs.WorkerID
	Address       string
	Live          bool
	Registered    bool // the master knows everything that it holds
	LastHeartbeat time.Time
	Started       time.Time
	Version       string
	Blocks        int64
	Tiers         []Tier
}

// Tier is one tier of a worker's storage.
//
// A failed tier keeps its figures, and counts for nothing in a worker's sums.
type Tier struct {
	Name          string
	CapacityBytes int64
	UsedBytes     int64
	Failed        bool
}

// CapacityBytes is the room in all tiers that work.
func (w *Worker) CapacityBytes() int64 { return w.sum(func(t *Tier) int64 { return t.CapacityBytes }) }

// UsedBytes is what is taken of it.
func (w *Worker) UsedBytes() int64 { return w.sum(func(t *Tier) int64 { return t.UsedBytes }) }

// sum adds up over the tiers that have not failed.
func (w *Worker) sum(of func(*Tier) int64) (total int64) {
	for i := range w.Tiers {
		if t := &w.Tiers[i]; !t.Failed {
			total += of(t)
		}
	}
	return total
}

// ring ranks workers for blocks by weighted rendezvous hashing: each worker draws a score for each block, and the
// highest wins.
//
// INV-1: a worker is first for a share of blocks proportional to its weight, its capacity.
// INV-2: when a worker comes or goes, only blocks that it wins or won change their first worker.
// INV-3: all clients with the same worker list agree, whatever the list's order.
//
// It is not changed after newRing, and is read without a lock, by all clients of a process that have this list (rings.go). A
// question costs one draw for each worker; there is nothing to rebuild, and no state that two clients could have differently.
type ring struct {
	workers []Worker
	byID    map[dfs.WorkerID]int
	seeds   []uint64  // of each worker
	weights []float64 // of each worker
	even    bool      // all weights are equal: the draws alone decide, without logarithms
}

// newRing makes a ring of the workers, whose slice it keeps. Capacities, not free space, are the weights: free space changes
// with every block, and placement must not (INV-3). A worker whose tiers all failed weighs next to nothing, and is still
// ranked, last for nearly every block.
func newRing(workers []Worker) *ring {
	r := &ring{workers: workers, even: true, byID: make(map[dfs.WorkerID]int, len(workers))}
	for i := range workers {
		h := fnv.New64a()
		_, _ = h.Write([]byte(workers[i].ID)) // a hash never fails
		r.seeds = append(r.seeds, mix(h.Sum64()))
		r.weights = append(r.weights, float64(max(workers[i].CapacityBytes(), 1)))
		r.even = r.even && r.weights[i] == r.weights[0]
		r.byID[workers[i].ID] = i
	}
	return r
}

// joined is this ring with the workers that only other has; other may be nil. A new leader learns of workers one after the
// other; until it knows them, those that the one before knew are more likely to live than not. But not one whose address is
// another's now: two copies of a block would go to one machine.
func (r *ring) joined(other *ring) *ring {
	var more []Worker
	if other != nil {
		taken := make(map[string]bool, len(r.workers))
		for _, w := range r.workers {
			taken[w.Address] = true
		}
		for _, w := range other.workers {
			if _, ok := r.byID[w.ID]; !ok && !taken[w.Address] {
				more = append(more, w)
			}
		}
	}
	if len(more) == 0 {
		return r
	}
	return newRing(append(slices.Clone(r.workers), more...))
}

// mix is the finalizer of splitmix64: every input bit changes every output bit with even odds.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// blockSeed spreads ids that differ by one in any field over all of 64 bits.
func blockSeed(b dfs.BlockID) uint64 {
	const golden = 0x9e3779b97f4a7c15 // keeps the fields of an id apart
	return mix(mix(uint64(b.File.Inode)+golden) ^ (uint64(b.File.Version)<<32 | uint64(b.Index)) + golden)
}

// score is worker i's draw for a block: -weight/ln(u) with u uniform in (0,1), whose maximum falls on a worker with a
// probability proportional to its weight (Schindelhauer and Schomaker, SPAA 2005).
func (r *ring) score(i int, block uint64) float64 {
	u := (float64(mix(r.seeds[i]^block)>>11) + 0.5) / (1 << 53)
	if r.even {
		return u
	}
	return -r.weights[i] / math.Log(u)
}

// ranked is a worker's place in a ring and its draw.
type ranked struct {
	at    int
	score float64
}

// before tells whether a comes before b. Draws that are alike, which happens to one pair in 2^53, go by name, so that all
// clients agree (INV-3).
func (r *ring) before(a, b ranked) bool {
	return a.score > b.score || a.score == b.score && r.workers[a.at].ID < r.workers[b.at].ID
}

// first is the block's first worker, the head of rank; nil when there is none. It allocates nothing: writers ask it for each
// chunk.
func (r *ring) first(b dfs.BlockID) *Worker {
	block := blockSeed(b)
	best := ranked{at: -1}
	for i := range r.workers {
		if one := (ranked{i, r.score(i, block)}); best.at < 0 || r.before(one, best) {
			best = one
		}
	}
	if best.at < 0 {
		return nil
	}
	return &r.workers[best.at]
}

// rank lists the block's first n workers, or all when they are fewer, the first one first. Of thousands a reader needs a
// few, so that only those are sorted.
// The order is total, since ids are unique: it does not depend on that of the list (INV-3).
func (r *ring) rank(b dfs.BlockID, n int) []*Worker {
	block := blockSeed(b)
	n = min(n, len(r.workers))
	best := make([]ranked, 0, n+1)
	for i := range r.workers {
		one := ranked{i, r.score(i, block)}
		if len(best) == n && (n == 0 || !r.before(one, best[n-1])) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, one, func(have, want ranked) int {
			if r.before(have, want) {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, one)
		best = best[:min(len(best), n)]
	}
	return r.listed(best)
}

// rankOnly lists those of ids that are in the ring, in the order of rank.
func (r *ring) rankOnly(b dfs.BlockID, ids []dfs.WorkerID) []*Worker {
	block := blockSeed(b)
	var best []ranked
	for _, id := range ids {
		if i, ok := r.byID[id]; ok {
			best = append(best, ranked{i, r.score(i, block)})
		}
	}
	slices.SortFunc(best, func(a, b ranked) int {
		if r.before(a, b) {
			return -1
		}
		return 1
	})
	return r.listed(best)
}

func (r *ring) listed(best []ranked) []*Worker {
	workers := make([]*Worker, len(best))
	for i := range best {
		workers[i] = &r.workers[best[i].at]
	}
	return workers
}
