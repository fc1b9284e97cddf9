package eviction_test

import (
	"math/rand/v2"
	"testing"

	"github.com/forebay/forebay/system/worker/eviction"
)

var policies = []string{"lru", "s3-fifo"}

// TestEveryKeyOnce adds keys with random uses and growth, then drains: every key is evicted exactly once.
func TestEveryKeyOnce(t *testing.T) {
	for _, name := range policies {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 3))
			p := eviction.New[int](name)
			n := 1 + r.IntN(500)
			for key := range n {
				p.Add(key, r.Int64N(1<<20))
				for range r.IntN(4) {
					p.Touch(r.IntN(n))
				}
				p.Add(r.IntN(key+1), 5) // grows one that is known
			}
			evicted := map[int]int{}
			for {
				key, ok := p.Evict(all)
				if !ok {
					break
				}
				evicted[key]++
			}
			if len(evicted) != n || p.Len() != 0 {
				t.Errorf("%s, seed %d: %d of %d keys evicted, %d left", name, seed, len(evicted), n, p.Len())
			}
			for key, times := range evicted {
				if times != 1 {
					t.Errorf("%s: key %d evicted %d times", name, key, times)
				}
			}
		}
	}
}

// TestBoundedQuestions: when nearly everything is pinned, the one key that may go is found, and each key is asked a
// bounded number of times, however often it was used.
func TestBoundedQuestions(t *testing.T) {
	for _, name := range policies {
		for _, free := range []int{-1, 0, 499, 999} {
			p := eviction.New[int](name)
			for key := range 1000 {
				p.Add(key, 1)
				for range key % 7 {
					p.Touch(key)
				}
			}
			asked := 0
			key, ok := p.Evict(func(k int) bool { asked++; return k == free })
			if ok != (free >= 0) || ok && key != free {
				t.Errorf("%s: evicted %d, %v; only %d may go", name, key, ok, free)
			}
			if asked > 6*1000 {
				t.Errorf("%s: %d questions for 1000 keys", name, asked)
			}
			if want := 1000; !ok && p.Len() != want {
				t.Errorf("%s: %d keys after an eviction that found none", name, p.Len())
			}
		}
	}
}

// TestUnknownKeys: uses and removals of keys that are not there change nothing.
func TestUnknownKeys(t *testing.T) {
	for _, name := range policies {
		p := eviction.New[string](name)
		p.Touch("x")
		p.Remove("x")
		if _, ok := p.Evict(func(string) bool { return true }); ok || p.Len() != 0 {
			t.Errorf("%s: something from nothing", name)
		}
		p.Add("a", 1)
		p.Remove("a")
		p.Remove("a")
		p.Add("a", 1)
		if key, ok := p.Evict(func(string) bool { return true }); !ok || key != "a" || p.Len() != 0 {
			t.Errorf("%s: %q, %v, %d left", name, key, ok, p.Len())
		}
	}
	if eviction.New[int]("fifo") != nil {
		t.Error("a policy that is not there")
	}
}

// TestUsedAgainStays: in a cache under a scan, keys that are used again outlive those that are not.
func TestUsedAgainStays(t *testing.T) {
	for _, name := range policies {
		p := eviction.New[int](name)
		for key := range 100 {
			p.Add(key, 1)
		}
		for scan := 1000; scan < 1800; scan++ {
			for hot := range 10 { // twice: S3-FIFO takes the first use for part of a scan
				p.Touch(hot)
				p.Touch(hot)
			}
			p.Add(scan, 1)
			if victim, _ := p.Evict(all); victim < 10 {
				t.Errorf("%s: hot key %d went during a scan", name, victim)
			}
		}
	}
}
