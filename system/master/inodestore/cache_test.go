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
