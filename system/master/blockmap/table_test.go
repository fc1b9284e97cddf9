package blockmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/forebay/forebay/system/dfs"
)

// check (INV-4): every entry is found from its home without passing a free place, and used counts them.
func (t *table) check() error {
	used := 0
	for i := range t.entries {
		if t.entries[i].holders[0] == 0 {
			continue
		}
		used++
		if at := t.find(t.entries[i].block()); at != i {
			return fmt.Errorf("the entry at %d of %d is found at %d", i, len(t.entries), at)
		}
	}
	if used != t.used {
		return fmt.Errorf("%d entries, %d are counted", used, t.used)
	}
	return nil
}

// TestTableAgainstMap: a table that grows and is emptied over and over says what a Go map says. Few ids and a small table
// make entries lie over its end.
func TestTableAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var s shard
		model := map[dfs.BlockID]uint16{}
		ids := 5 + rng.IntN(200)
		for step := range 2000 {
			b := dfs.BlockID{File: dfs.FileVersion{Inode: dfs.InodeID(rng.IntN(ids)), Version: uint32(rng.IntN(2))}, Index: uint32(rng.IntN(2))}
			switch rng.IntN(20) {
			case 0:
				n := uint16(1 + rng.IntN(3))
				s.removeAll(n)
				for b, holder := range model {
					if holder == n {
						delete(model, b)
					}
				}
			case 1, 2, 3, 4, 5, 6, 7, 8:
				if got, want := s.remove(b, model[b]), model[b] != 0; got != want {
					t.Fatalf("step %d: removed %v: %v", step, b, got)
				}
				delete(model, b)
			default:
				if model[b] == 0 {
					model[b] = uint16(1 + rng.IntN(3))
				}
				s.add(b, model[b])
			}
			if err := s.held.check(); err != nil || s.held.used != len(model) {
				t.Fatalf("step %d: %v; %d entries, want %d", step, err, s.held.used, len(model))
			}
		}
		for b, n := range model {
			if at := s.held.find(b); at < 0 || s.held.entries[at].holders != (holders{n}) {
				t.Fatalf("%v is at %d, want a holder %d", b, at, n)
			}
		}
	}
}

// TestTableIsSmall: 24 bytes an entry, and between 0.6 and 0.9 of the places taken once it has grown.
func TestTableIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size != 24 {
		t.Errorf("an entry is %d bytes", size)
	}
	var s shard
	for i := range 50_000 {
		s.add(dfs.BlockID{File: file(i)}, 1)
		if share := float64(s.held.used) / float64(len(s.held.entries)); i > 100 && (share < 0.55 || share > 0.9) {
			t.Fatalf("after %d blocks %.2f of the places are taken", i+1, share)
		}
	}
}

// TestAddListIsAdd: a list, short or long enough to be sorted, with blocks twice in it, does what single reports do.
func TestAddListIsAdd(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	one, list := New(), New()
	for round := range 60 {
		w := dfs.WorkerID(fmt.Sprint("w", round%7)) // more than lie inline
		blocks := make([]dfs.BlockID, rng.IntN(3*worthSorting))
		for i := range blocks {
			blocks[i] = dfs.BlockID{File: file(rng.IntN(1000)), Index: uint32(rng.IntN(3))}
			one.Add(w, blocks[i].File, []uint32{blocks[i].Index})
		}
		if !list.AddList(w, blocks) {
			t.Fatal("refused")
		}
		if one.Blocks(w) != list.Blocks(w) || one.Len() != list.Len() {
			t.Fatalf("round %d: %d blocks of %s and %d in all, want %d and %d", round, list.Blocks(w), w, list.Len(), one.Blocks(w), one.Len())
		}
	}
	for i := range 1000 {
		for index := range uint32(3) {
			b := dfs.BlockID{File: file(i), Index: index}
			if got, want := list.Locate(b), one.Locate(b); !slices.Equal(got, want) {
				t.Fatalf("%v is at %v, want %v", b, got, want)
			}
		}
	}
}

// BenchmarkAddList is what a block of a registration costs in a map of 20 million.
func BenchmarkAddList(b *testing.B) {
	for _, sorted := range []bool{false, true} {
		b.Run(fmt.Sprintf("together=%v", sorted), func(b *testing.B) {
			m := New()
			blocks := make([]dfs.BlockID, 10_000)
			for i := range b.N {
				for j := range blocks {
					blocks[j] = dfs.BlockID{File: file(i*len(blocks) + j)}
				}
				if sorted {
					m.AddList("w", blocks)
					continue
				}
				for _, id := range blocks {
					m.Add("w", id.File, []uint32{0})
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(blocks)), "ns/block")
		})
	}
}
