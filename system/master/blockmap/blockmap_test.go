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

// TestOrderOfHolders (INV-1, INV-2): holders are named in the order in which they reported, beyond the inline places too,
// whoever leaves in between.
func TestOrderOfHolders(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 8))
		m := New()
		b := dfs.BlockID{File: file(1), Index: 3}
		var want []dfs.WorkerID
		for step := range 200 {
			w := dfs.WorkerID(fmt.Sprint("w", rng.IntN(12)))
			i := slices.Index(want, w)
			switch {
			case rng.IntN(20) == 0:
				m.RemoveWorker(w)
			case i < 0 || rng.IntN(3) == 0:
				m.Add(w, file(1), []uint32{3, 3})
				if i < 0 {
					want = append(want, w)
				}
				i = -1
			default:
				m.Remove(w, file(1), []uint32{3, 3, 4})
			}
			if i >= 0 {
				want = slices.Delete(want, i, i+1)
			}
			if got := m.Locate(b); !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: %v, want %v", seed, step, got, want)
			}
			s := m.shardOf(b)
			if extra := len(s.extra[b]); extra != max(0, len(want)-inlineHolders) || len(want) == 0 && s.held.used != 0 {
				t.Fatalf("seed %d, step %d: %d holders, %d of them beside", seed, step, len(want), extra)
			}
			for _, w := range want {
				if m.Blocks(w) != 1 {
					t.Fatalf("seed %d, step %d: %s holds %d blocks", seed, step, w, m.Blocks(w))
				}
			}
		}
	}
}

// TestTableOfWorkersIsBounded: 65,535 workers have numbers; the next is refused and known nowhere, and those that are
// known go on.
func TestTableOfWorkersIsBounded(t *testing.T) {
	m := New()
	for i := range 0xffff {
		if !m.Add(dfs.WorkerID(fmt.Sprint(i)), file(1), nil) {
			t.Fatalf("worker %d was refused", i)
		}
	}
	if m.Add("late", file(1), []uint32{0}) || m.Len() != 0 || m.Blocks("late") != 0 {
		t.Error("one worker too many")
	}
	m.Remove("late", file(1), []uint32{0})
	m.RemoveWorker("late")
	if !m.Add("65534", file(1), []uint32{0}) || m.Locate(dfs.BlockID{File: file(1)})[0] != "65534" {
		t.Error("a known worker was refused")
	}
	m.Reset()
	if !m.Add("late", file(1), []uint32{0}) {
		t.Error("refused after the reset")
	}
}

// TestRemovalBesideReports: while one worker is dropped, the others' reports and lookups lose nothing.
func TestRemovalBesideReports(t *testing.T) {
	m := New()
	const files = 300
	for i := range files {
		m.Add("gone", file(i), []uint32{0, 1})
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.RemoveWorker("gone") })
	for w := range 3 {
		wg.Go(func() {
			for i := range files {
				m.Add(dfs.WorkerID(fmt.Sprint(w)), file(i), []uint32{0, 1})
				for _, name := range m.Locate(dfs.BlockID{File: file(i)}) {
					if name == "" {
						t.Error("a holder without a name")
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range files {
		got := m.Locate(dfs.BlockID{File: file(i), Index: 1})
		slices.Sort(got)
		if !slices.Equal(got, []dfs.WorkerID{"0", "1", "2"}) {
			t.Fatalf("file %d is at %v", i, got)
		}
	}
	if m.Blocks("gone") != 0 || m.Len() != 2*files {
		t.Errorf("%d blocks of the one that is gone, %d in all", m.Blocks("gone"), m.Len())
	}
}
