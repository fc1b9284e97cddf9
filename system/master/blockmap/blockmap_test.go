package blockmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

func file(i int) dfs.FileVersion { return dfs.FileVersion{Inode: dfs.InodeID(i), Version: 1} }

// TestAgainstModel runs random reports against a plain map of sets.
func TestAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m, model := New(), map[dfs.BlockID]map[dfs.WorkerID]bool{}
	workers := make([]dfs.WorkerID, 12) // more than lie inline
	for i := range workers {
		workers[i] = dfs.WorkerID(fmt.Sprint("w", i))
	}
	for step := range 20_000 {
		b := dfs.BlockID{File: file(rng.IntN(20)), Index: uint32(rng.IntN(3))}
		w := workers[rng.IntN(len(workers))]
		if model[b] == nil {
			model[b] = map[dfs.WorkerID]bool{}
		}
		switch op := rng.IntN(100); {
		case op < 60:
			m.Add(w, b.File, []uint32{b.Index})
			model[b][w] = true
		case op < 99:
			m.Remove(w, b.File, []uint32{b.Index})
			delete(model[b], w)
		default:
			m.RemoveWorker(w)
			for _, set := range model {
				delete(set, w)
			}
		}
		if got := m.Locate(b); len(got) != len(model[b]) {
			t.Fatalf("step %d: %v held by %v, want %v", step, b, got, model[b])
		}
	}
	counts, blocks := map[dfs.WorkerID]int64{}, int64(0)
	for b, set := range model {
		got := m.Locate(b)
		for _, w := range got {
			if !set[w] {
				t.Errorf("%v: %s does not hold it", b, w)
			}
			counts[w]++
		}
		if len(set) > 0 {
			blocks++
		}
	}
	for _, w := range workers {
		if m.Blocks(w) != counts[w] {
			t.Errorf("%s: %d blocks, want %d", w, m.Blocks(w), counts[w])
		}
	}
	if m.Len() != blocks {
		t.Errorf("%d blocks, want %d", m.Len(), blocks)
	}
}

func TestHoldersAndReset(t *testing.T) {
	m := New()
	m.Add("a", file(1), []uint32{0, 1})
	m.Add("b", file(1), []uint32{1, 2})
	if got := m.Holders(file(1), 3); !slices.Equal(got, []dfs.WorkerID{"a", "b"}) {
		t.Errorf("holders %v", got)
	}
	if got := m.Holders(file(1), 1); !slices.Equal(got, []dfs.WorkerID{"a"}) {
		t.Errorf("holders of the first block %v", got)
	}
	if m.Locate(dfs.BlockID{File: dfs.FileVersion{Inode: 1, Version: 2}}) != nil {
		t.Error("another version has the same holders")
	}
	m.Reset()
	if m.Len() != 0 || m.Blocks("a") != 0 || m.Holders(file(1), 3) != nil {
		t.Error("something is left after Reset")
	}
	m.RemoveWorker("never seen")
}

func TestConcurrentReports(t *testing.T) {
	m := New()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			id := dfs.WorkerID(fmt.Sprint(w))
			for i := range 500 {
				m.Add(id, file(i), []uint32{0, 1, 2})
				m.Locate(dfs.BlockID{File: file(i)})
				m.Remove(id, file(i), []uint32{1})
			}
		})
	}
	wg.Wait()
	for w := range 8 {
		if n := m.Blocks(dfs.WorkerID(fmt.Sprint(w))); n != 1000 {
			t.Errorf("worker %d holds %d blocks, want 1000", w, n)
		}
	}
}

func BenchmarkAddLocate(b *testing.B) {
	m := New()
	for i := range b.N {
		m.Add("w", file(i), []uint32{0})
		if len(m.Locate(dfs.BlockID{File: file(i)})) != 1 {
			b.Fatal("lost")
		}
	}
}

// TestResetForgetsWorkers: a new leadership has the whole table of workers, and a report that a reset has overtaken
// neither counts nor panics.
func TestResetForgetsWorkers(t *testing.T) {
	m := New()
	f := dfs.FileVersion{Inode: 7, Version: 1}
	for i := range 100 {
		m.Add(dfs.WorkerID(rune('a'+i)), f, []uint32{0})
	}
	n, _ := m.number("z")
	m.Reset()
	if len(m.numbers) != 0 || len(m.names) != 1 {
		t.Errorf("%d workers are known after the reset", len(m.numbers))
	}
	s := m.shardOf(dfs.BlockID{File: f})
	s.add(dfs.BlockID{File: f}, n) // the late report, which had its number before
	m.count(n, 1)
	if w := m.Locate(dfs.BlockID{File: f}); len(w) != 0 {
		t.Errorf("located at %v", w)
	}
	m.Remove("never-seen", f, []uint32{0})
	if len(m.numbers) != 0 {
		t.Error("a removal made a worker known")
	}
}
