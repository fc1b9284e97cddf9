package eviction_test

import (
	"math/rand/v2"
	"testing"

	"github.com/forebay/forebay/system/worker/eviction"
)

func all(int) bool { return true }

// TestOrder checks who goes first in each policy, after scripts of uses.
func TestOrder(t *testing.T) {
	tests := []struct {
		policy string
		touch  []int
		refuse map[int]bool
		want   []int
	}{
		{"lru", nil, nil, []int{1, 2, 3, 4}},
		{"lru", []int{1, 3}, nil, []int{2, 4, 1, 3}},
		{"lru", []int{1}, map[int]bool{2: true, 4: true}, []int{3, 1}},
		{"lru", nil, map[int]bool{1: true, 2: true, 3: true, 4: true}, nil},
		{"s3-fifo", nil, nil, []int{1, 2, 3, 4}},
		{"s3-fifo", []int{1, 1, 3}, nil, []int{2, 3, 4, 1}},
		{"s3-fifo", []int{1, 1, 1, 1, 1}, map[int]bool{2: true}, []int{3, 4, 1}},
		{"s3-fifo", nil, map[int]bool{1: true, 2: true, 3: true, 4: true}, nil},
	}
	for _, test := range tests {
		p := eviction.New[int](test.policy)
		for key := 1; key <= 4; key++ {
			p.Add(key, 100)
		}
		for _, key := range test.touch {
			p.Touch(key)
		}
		var got []int
		for {
			key, ok := p.Evict(func(k int) bool { return !test.refuse[k] })
			if !ok {
				break
			}
			got = append(got, key)
		}
		if len(got) != len(test.want) {
			t.Errorf("%+v: got %v", test, got)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%+v: got %v", test, got)
				break
			}
		}
		if p.Len() != len(test.refuse) {
			t.Errorf("%+v: %d left", test, p.Len())
		}
	}
}

// TestModel runs random operations against a set: no key is lost, invented, or evicted though refused.
func TestModel(t *testing.T) {
	for _, name := range []string{"lru", "s3-fifo"} {
		r := rand.New(rand.NewPCG(1, 1))
		p := eviction.New[int](name)
		held := map[int]bool{}
		for range 100_000 {
			key := r.IntN(300)
			switch r.IntN(5) {
			case 0, 1:
				p.Add(key, r.Int64N(1000))
				held[key] = true
			case 2:
				p.Touch(key)
			case 3:
				p.Remove(key)
				delete(held, key)
			case 4:
				odd := r.IntN(2)
				victim, ok := p.Evict(func(k int) bool { return k%2 == odd })
				if ok && (!held[victim] || victim%2 != odd) {
					t.Fatalf("%s: evicted %d, held %v", name, victim, held[victim])
				}
				if !ok {
					for k := range held {
						if k%2 == odd {
							t.Fatalf("%s: nothing to evict, but %d is held", name, k)
						}
					}
				}
				delete(held, victim)
			}
			if p.Len() != len(held) {
				t.Fatalf("%s: %d keys, want %d", name, p.Len(), len(held))
			}
		}
	}
}

// missRatio replays accesses on a cache of capacity keys.
func missRatio(p eviction.Policy[int], capacity, accesses int, next func(i int) int) float64 {
	held := map[int]bool{}
	misses := 0
	for i := range accesses {
		key := next(i)
		if held[key] {
			p.Touch(key)
			continue
		}
		misses++
		for p.Len() >= capacity {
			victim, _ := p.Evict(all)
			delete(held, victim)
		}
		p.Add(key, 1)
		held[key] = true
	}
	return float64(misses) / float64(accesses)
}

// TestBetterThanLRU replays Zipf accesses, with and without a scan through cold keys as every epoch's first pass makes.
func TestBetterThanLRU(t *testing.T) {
	for _, test := range []struct {
		name string
		scan bool
		gain float64 // least fraction of LRU's misses that must be gone
	}{{"zipf", false, .05}, {"zipf with scans", true, .1}} {
		ratio := map[string]float64{}
		for _, name := range []string{"lru", "s3-fifo"} {
			r := rand.New(rand.NewPCG(7, 7))
			zipf := rand.NewZipf(r, 1.05, 1, 100_000)
			ratio[name] = missRatio(eviction.New[int](name), 2000, 400_000, func(i int) int {
				if test.scan && i%10_000 < 3000 {
					return 1_000_000 + i
				}
				return int(zipf.Uint64())
			})
		}
		t.Logf("%s: miss ratio LRU %.4f, S3-FIFO %.4f", test.name, ratio["lru"], ratio["s3-fifo"])
		if ratio["s3-fifo"] > ratio["lru"]*(1-test.gain) {
			t.Errorf("%s: S3-FIFO misses %.4f, LRU %.4f", test.name, ratio["s3-fifo"], ratio["lru"])
		}
	}
}
