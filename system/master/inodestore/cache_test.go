package inodestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

// INV-1: a fill whose reader missed before an Apply to the same entry is refused.
func TestCacheRefusesStaleFill(t *testing.T) {
	c := newCache(1 << 20)
	old, current := &Inode{Name: "a", Length: 1}, &Inode{Name: "a", Length: 2}
	_, version, hit := c.get(1, "a")
	if hit {
		t.Fatal("hit in an empty cache")
	}
	c.apply(1, "a", current)
	c.fill(version, 1, "a", old)
	if n, _, hit := c.get(1, "a"); !hit || n != current {
		t.Fatalf("got %v %v, want the applied one", n, hit)
	}
	_, version, _ = c.get(1, "b")
	c.clear()
	c.fill(version, 1, "b", old)
	if _, _, hit := c.get(1, "b"); hit {
		t.Fatal("a fill from before clear was taken")
	}
}

// INV-2, and that accounting returns to zero with the entries.
func TestCacheBound(t *testing.T) {
	const limit = cacheShardCount * 4000
	c := newCache(limit)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 100_000 {
		name := fmt.Sprintf("n%d", rng.IntN(20_000))
		var n *Inode
		if rng.IntN(3) > 0 {
			n = &Inode{Name: name, Fingerprint: string(make([]byte, rng.IntN(300)))}
		}
		c.apply(dfs.InodeID(i%7), name, n)
		if i%1000 == 0 {
			var st Stats
			if c.stats(&st); st.CacheBytes > limit {
				t.Fatalf("%d bytes, limit %d", st.CacheBytes, limit)
			}
		}
	}
	for i := range c.shards {
		s := &c.shards[i]
		for s.bytes > 0 {
			s.evictOne()
		}
		if s.index.used != 0 || len(s.free) != len(s.slots) || s.bytes != 0 {
			t.Fatalf("shard %d: %d entries, %d of %d free, %d bytes", i, s.index.used, len(s.free), len(s.slots), s.bytes)
		}
	}
}

// What is used often stays while ten times the cache's size passes through.
func TestCacheKeepsHot(t *testing.T) {
	c := newCache(cacheShardCount * 8000)
	hot := func(i int) string { return fmt.Sprintf("hot%d", i) }
	for i := range 1000 {
		c.apply(1, hot(i), &Inode{Name: hot(i)})
	}
	for i := range 50_000 {
		name := fmt.Sprintf("cold%d", i)
		c.apply(2, name, &Inode{Name: name})
		c.get(1, hot(i%1000))
		c.get(1, hot(i*7%1000))
	}
	kept := 0
	for i := range 1000 {
		if _, _, hit := c.get(1, hot(i)); hit {
			kept++
		}
	}
	if kept < 900 {
		t.Errorf("%d of 1000 hot entries were kept", kept)
	}
}

// BenchmarkCacheHit: a hot set that the processor's caches hold, and one that they do not.
func BenchmarkCacheHit(b *testing.B) {
	for _, entries := range []int{1 << 10, 1 << 18} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) { benchmarkHit(b, entries) })
	}
}

func benchmarkHit(b *testing.B, entries int) {
	c := newCache(256 << 20)
	names := make([]string, entries)
	for i := range names {
		names[i] = fmt.Sprintf("part-%05d.parquet", i)
		c.apply(dfs.InodeID(i%16), names[i], &Inode{Name: names[i]})
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := rand.IntN(len(names))
		for pb.Next() {
			i = (i + 7919) % len(names)
			if n, _, hit := c.get(dfs.InodeID(i%16), names[i]); !hit || n == nil {
				b.Fatal("miss")
			}
		}
	})
}

func TestCacheHitDoesNotAllocate(t *testing.T) {
	c := newCache(1 << 20)
	c.apply(1, "a", &Inode{Name: "a"})
	if n := testing.AllocsPerRun(1000, func() { c.get(1, "a") }); n > 0 {
		t.Errorf("%v allocations a hit", n)
	}
}

// TestSlotIndex holds the index against a map, through growth and removals that move entries back (INV-1 of slotIndex).
// Hashes are few and crowd together, so that entries probe past each other and wrap round the end.
func TestSlotIndex(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var x slotIndex
		var slots []cacheEntry
		present := map[cacheKey]uint32{}
		for step := range 3000 {
			key := cacheKey{parent: dfs.InodeID(rng.IntN(60)), name: "n"}
			hash := uint64(key.parent)%5<<32 | uint64(key.parent)%7 + 14
			place, slot, ok := x.find(hash, slots, key)
			want, there := present[key]
			if ok != there || ok && slot != want {
				t.Fatalf("seed %d, step %d: found %v %d, want %v %d", seed, step, ok, slot, there, want)
			}
			if ok {
				x.remove(place, slots)
				delete(present, key)
				continue
			}
			slots = append(slots, cacheEntry{hash: hash, key: key})
			present[key] = uint32(len(slots) - 1)
			x.insert(hash, uint32(len(slots)-1), slots)
			if x.used != len(present) || x.used*4 > len(x.buckets)*3 {
				t.Fatalf("seed %d, step %d: %d used of %d, %d present", seed, step, x.used, len(x.buckets), len(present))
			}
		}
		for key, want := range present {
			hash := slots[want].hash
			if _, slot, ok := x.find(hash, slots, key); !ok || slot != want {
				t.Errorf("seed %d: %v is lost", seed, key)
			}
		}
	}
}

// TestNoCache: a cache without room is nil, holds nothing, and is safe to use.
func TestNoCache(t *testing.T) {
	for _, limit := range []int64{0, -1} {
		c := newCache(limit)
		c.apply(1, "a", &Inode{Name: "a"})
		c.fill(0, 1, "a", &Inode{Name: "a"})
		c.clear()
		var st Stats
		if c.stats(&st); st != (Stats{}) {
			t.Errorf("limit %d: %+v", limit, st)
		}
		if _, _, hit := c.get(1, "a"); hit {
			t.Errorf("limit %d: it holds something", limit)
		}
	}
}

// TestCacheTooLargeEntry: an entry that is larger than a shard is not kept, and does not take the others' place for long.
func TestCacheTooLargeEntry(t *testing.T) {
	c := newCache(cacheShardCount * 1000)
	c.apply(1, "big", &Inode{Name: "big", Fingerprint: string(make([]byte, 5000))})
	if _, _, hit := c.get(1, "big"); hit {
		t.Error("kept beyond the limit")
	}
	var st Stats
	if c.stats(&st); st.CacheBytes != 0 {
		t.Errorf("%d bytes are accounted for nothing", st.CacheBytes)
	}
	c.apply(1, "small", &Inode{Name: "small"})
	if n, _, hit := c.get(1, "small"); !hit || n.Name != "small" {
		t.Error("a small one is not kept afterwards")
	}
}

// TestCacheCountsAbsence: a known absence is an answer, and ends with the entry that is applied.
func TestCacheCountsAbsence(t *testing.T) {
	c := newCache(1 << 20)
	_, version, _ := c.get(1, "a")
	c.fill(version, 1, "a", nil)
	if n, _, hit := c.get(1, "a"); !hit || n != nil {
		t.Errorf("absence: %v, hit %v", n, hit)
	}
	c.apply(1, "a", &Inode{Name: "a"})
	if n, _, hit := c.get(1, "a"); !hit || n == nil {
		t.Error("the absence outlived the entry")
	}
	c.apply(1, "a", nil)
	if n, _, hit := c.get(1, "a"); !hit || n != nil {
		t.Errorf("a deletion: %v, hit %v", n, hit)
	}
	var st Stats
	if c.stats(&st); st.CacheHits != 3 || st.CacheMisses != 1 {
		t.Errorf("%d hits, %d misses", st.CacheHits, st.CacheMisses)
	}
}
