package blockstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// TestEviction fills a store over and over: it stays under its capacity and never gives up pinned or unpersisted data.
func TestEviction(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, newNode(fs), tiers(3, 4))
	pinned, unpersisted := ref(1, 3*mib/8, 2*mib/8), ref(2, 3*mib/8, 2*mib/8)
	pinned.Pinned = true
	fill(t, s, pinned, 0, pinned.Length)
	if _, err := write(t, s, unpersisted, false); err != nil {
		t.Fatal(err)
	}
	unpersisted.Persisted = false
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 60 {
				r := ref(dfs.InodeID(100+g*1000+i), 3*mib/8, 2*mib/8)
				fill(t, s, r, 0, r.Length)
				readable(t, s, r)
				for _, ti := range s.Tiers() {
					if ti.UsedBytes > ti.CapacityBytes {
						t.Errorf("%s over its capacity: %d", ti.Name, ti.UsedBytes)
					}
				}
			}
		})
	}
	wg.Wait()
	if n, m := readable(t, s, pinned), readable(t, s, unpersisted); n != 2 || m != 2 {
		t.Errorf("pinned %d, unpersisted %d pages of 2", n, m)
	}
	c := &s.Counters
	if c.EvictedBlocks.Load() == 0 || c.DemotedBlocks.Load() == 0 || c.Filled.Load() < 300 {
		t.Errorf("evicted %d, demoted %d, filled %d, refused %d", c.EvictedBlocks.Load(), c.DemotedBlocks.Load(), c.Filled.Load(), c.FillsRefused.Load())
	}
	time.Sleep(50 * time.Millisecond)
	s.Close()
	if bad := c.BadPages.Load(); bad != 0 {
		t.Errorf("%d bad pages", bad)
	}
	again := open(t, newNode(fs), tiers(3, 4))
	if n := readable(t, again, pinned); n != 2 {
		t.Errorf("after a restart: %d pinned pages", n)
	}
	for i, ti := range again.Tiers() {
		if was := s.Tiers()[i].UsedBytes; ti.UsedBytes != was {
			t.Errorf("%s: %d bytes used after a restart, %d before", ti.Name, ti.UsedBytes, was)
		}
	}
}

// TestBackPressure fills a store with data that must stay: the next write waits and is refused; once a file is
// persisted, a waiting write gets its room.
func TestBackPressure(t *testing.T) {
	s := open(t, newNode(vfs.NewMem()), tiers(6))
	for inode := dfs.InodeID(1); inode <= 3; inode++ {
		if _, err := write(t, s, ref(inode, 2*mib, 2*mib), false); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	_, err := write(t, s, ref(4, 2*mib, 2*mib), false)
	if !dfs.IsKind(err, dfs.ResourceExhausted) || time.Since(start) < 150*time.Millisecond {
		t.Errorf("a full store, after %v: %v", time.Since(start), err)
	}
	if s.Fill(t.Context(), ref(9, mib, mib), 0, content(9, 0, mib)) {
		t.Error("a full store took a fill")
	}
	done := make(chan error, 1)
	go func() {
		_, err := write(t, s, ref(5, 2*mib, 2*mib), false)
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	must(t, s.SetPersisted(t.Context(), 1, 1))
	if err := <-done; err != nil {
		t.Errorf("a write with room made in time: %v", err)
	}
}

// TestPromote moves a block up and keeps its bytes.
func TestPromote(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, newNode(fs), tiers(10, 30))
	var on int64 = -1
	for inode := dfs.InodeID(1); inode <= 12; inode++ {
		fill(t, s, ref(inode, 2*mib, 2*mib), 0, 2*mib)
	}
	for range 100 { // until the evictor has demoted something
		for inode := dfs.InodeID(1); inode <= 12 && on < 0; inode++ {
			if s.TierOf(ref(inode, 2*mib, 2*mib), 0) == 1 {
				on = int64(inode)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	if on < 0 {
		t.Fatal("nothing on the lower tier")
	}
	r := ref(dfs.InodeID(on), 2*mib, 2*mib)
	ok := false
	for range 50 {
		if ok = s.Promote(r, 0); ok {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if !ok || s.TierOf(r, 0) != 0 || readable(t, s, r) != 2 {
		t.Errorf("promoted %v, tier %d, %d pages", ok, s.TierOf(r, 0), readable(t, s, r))
	}
}

// TestReadersAndFree frees files while they are read: readers see whole pages or none.
func TestReadersAndFree(t *testing.T) {
	s := open(t, newNode(vfs.NewMem()), tiers(50))
	r := ref(1, 4*mib, 2*mib)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				readable(t, s, r)
				fill(t, s, r, 0, r.Length)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			s.Free(1, 1)
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	s.Free(1, 0)
	if used, bad := s.Tiers()[0].UsedBytes, s.Counters.BadPages.Load(); used != 0 || bad != 0 {
		t.Errorf("%d bytes used, %d bad pages", used, bad)
	}
}

// TestRealDisk runs on the machine's file system: holes are punched, and the pairs open at a time are bounded.
func TestRealDisk(t *testing.T) {
	c := tiers(64)
	c.Tiers[0].Dir, c.MaxOpenFiles = t.TempDir(), 4
	s := open(t, host.NewReal(), c)
	for inode := dfs.InodeID(1); inode <= 30; inode++ {
		r := ref(inode, 5*mib/2, mib)
		if _, err := write(t, s, r, inode%10 == 0); err != nil && !errors.Is(err, &dfs.Error{Kind: dfs.ResourceExhausted}) {
			t.Fatal(err)
		}
		must(t, s.SetPersisted(t.Context(), inode, 1))
		readable(t, s, r)
	}
	s.Close()
	again := open(t, host.NewReal(), c)
	if got, was := again.Tiers()[0].UsedBytes, s.Tiers()[0].UsedBytes; got != was || got > 64*mib || got < 20*mib {
		t.Errorf("%d bytes after a restart, %d before", got, was)
	}
}

// TestScrub finds damage that nobody reads.
func TestScrub(t *testing.T) {
	fs := vfs.NewMem()
	c := tiers(100)
	s := open(t, newNode(fs), c)
	r := ref(1, 4*mib, 2*mib)
	fill(t, s, r, 0, r.Length)
	s.Close()
	damage(t, fs, mib+5, false)
	c.ScrubBytesPerSecond = 1 << 40
	s = open(t, newNode(fs), c)
	for range 500 {
		if s.Counters.ScrubbedPages.Load() == 4 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if bad, pages := s.Counters.BadPages.Load(), s.Counters.ScrubbedPages.Load(); bad != 1 || pages != 4 {
		t.Errorf("%d bad of %d pages, want 1 of 4", bad, pages)
	}
	if n := readable(t, s, r); n != 3 {
		t.Errorf("%d pages left", n)
	}
}
