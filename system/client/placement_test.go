package client

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

func testWorkers(capacities ...int64) []Worker {
	var workers []Worker
	for i, c := range capacities {
		workers = append(workers, Worker{
			ID: dfs.WorkerID(fmt.Sprintf("worker-%d", i)), Address: fmt.Sprintf("10.0.0.%d:1", i),
			Tiers: []Tier{{Name: "SSD", CapacityBytes: c}, {Name: "HDD", CapacityBytes: 1 << 50, Failed: true}},
		})
	}
	return workers
}

func testBlock(i int) dfs.BlockID {
	return dfs.BlockID{File: dfs.FileVersion{Inode: dfs.InodeID(1000 + i/3), Version: 1}, Index: uint32(i % 3)}
}

// TestRingBalance (INV-1): shares follow capacities, for equal and for unequal workers.
func TestRingBalance(t *testing.T) {
	const blocks = 60_000
	for _, capacities := range [][]int64{{1, 1, 1, 1, 1}, {100, 200, 300, 400}} {
		workers := testWorkers(capacities...)
		r := newRing(workers)
		got := make(map[dfs.WorkerID]int)
		for i := range blocks {
			got[r.first(testBlock(i)).ID]++
		}
		total := int64(0)
		for _, c := range capacities {
			total += c
		}
		for i, w := range workers {
			want := float64(blocks) * float64(capacities[i]) / float64(total)
			if deviation := math.Abs(float64(got[w.ID])-want) / want; deviation > 0.05 {
				t.Errorf("capacities %v: %s has %d blocks, want about %.0f", capacities, w.ID, got[w.ID], want)
			}
		}
	}
}

// TestRingMovesLittle (INV-2): a worker that leaves gives its blocks to others, and no other block moves.
func TestRingMovesLittle(t *testing.T) {
	for _, capacities := range [][]int64{{1, 1, 1, 1, 1, 1}, {5, 9, 2, 7, 7, 3}} {
		workers := testWorkers(capacities...)
		before := newRing(workers)
		after := newRing(slices.Concat(workers[:2], workers[3:]))
		for i := range 20_000 {
			was, is := before.first(testBlock(i)).ID, after.first(testBlock(i)).ID
			if was != workers[2].ID && was != is {
				t.Fatalf("%v moved from %s to %s, though neither left", testBlock(i), was, is)
			}
		}
	}
}

// TestRingOrderIsFree (INV-3): the order of the list does not matter, and first is the head of rank.
func TestRingOrderIsFree(t *testing.T) {
	workers := testWorkers(3, 1, 4, 1, 5, 9, 2, 6)
	r := newRing(workers)
	mixed := slices.Clone(workers)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	m := newRing(mixed)
	for i := range 2000 {
		b := testBlock(i)
		ranked, other := r.rank(b, 9), m.rank(b, 9)
		for k := range ranked {
			if ranked[k].ID != other[k].ID {
				t.Fatalf("%v: rank %d is %s or %s", b, k, ranked[k].ID, other[k].ID)
			}
		}
		n := i % 9
		if some := r.rank(b, n); !slices.Equal(some, ranked[:min(n, len(ranked))]) {
			t.Fatalf("%v: the first %d are not the head of all", b, n)
		}
		ids := []dfs.WorkerID{workers[i%8].ID, "gone", workers[(i+3)%8].ID}
		only := slices.DeleteFunc(slices.Clone(ranked), func(w *Worker) bool { return !slices.Contains(ids, w.ID) })
		if got := r.rankOnly(b, ids); !slices.Equal(got, only) {
			t.Fatalf("%v: %v of %v are ranked %v", b, ids, only, got)
		}
		if r.first(b).ID != ranked[0].ID {
			t.Fatalf("%v: first is %s, rank begins with %s", b, r.first(b).ID, ranked[0].ID)
		}
	}
}

// TestPlaces: copies get distinct workers, failed ones are passed over.
func TestPlaces(t *testing.T) {
	live := newRing(testWorkers(1, 1, 1))
	p := &places{live: live, ranked: live.rank(testBlock(1), 3), inUse: map[dfs.WorkerID]bool{}, failed: map[dfs.WorkerID]bool{}}
	a, b := p.take(), p.take()
	if a == nil || b == nil || a.ID == b.ID {
		t.Fatalf("got %v and %v, want two workers", a, b)
	}
	p.fail(a)
	c := p.take()
	if c == nil || c.ID == a.ID || c.ID == b.ID {
		t.Fatalf("got %v after %v failed, want the third", c, a)
	}
	if d := p.take(); d != nil {
		t.Fatalf("got %v, want none", d)
	}
}

func BenchmarkRank3000(b *testing.B) {
	capacities := make([]int64, 3000)
	for i := range capacities {
		capacities[i] = 1 << 40
	}
	r := newRing(testWorkers(capacities...))
	for i := 0; b.Loop(); i++ {
		r.first(testBlock(i))
	}
}
