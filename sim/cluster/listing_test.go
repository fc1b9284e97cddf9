package cluster

import (
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// TestListing: whatever a message holds at most, every listed block is told once, and no two workers list the same.
func TestListing(t *testing.T) {
	for _, most := range []int{1, 7, 99, 100, 101, 1000} {
		told := map[dfs.BlockID]int{}
		for i := range 3 {
			l := &listed{Store: emptyStore(t), blocks: 100, worker: i, workers: 3}
			var from blockstore.Cursor
			for more := true; more; {
				var batch []blockstore.Held
				batch, from, more = l.HeldBatch(from, most)
				n := 0
				for _, f := range batch {
					for _, index := range f.Blocks {
						told[dfs.BlockID{File: f.File, Index: index}]++
						n++
					}
				}
				if n > most {
					t.Fatalf("%d blocks in a message of %d", n, most)
				}
			}
		}
		for b, n := range told {
			if n != 1 {
				t.Fatalf("%v is told %d times", b, n)
			}
		}
		if len(told) != 300 {
			t.Errorf("in messages of %d, %d blocks are told, want 300", most, len(told))
		}
	}
}

// emptyStore is a worker's, of a cluster that has run for a moment.
func emptyStore(t *testing.T) *blockstore.Store {
	w := world.New(1)
	t.Cleanup(w.Close)
	c := New(w, Config{})
	if err := w.Sched.Run(time.Second); err != nil {
		t.Fatal(err)
	}
	return c.Worker(0).Store()
}

// TestStorm: when the leader dies, the next one serves while it learns of the workers' blocks; who waits for its turn to tell
// them is live meanwhile; and in the end the map is whole again. That takes the CPU time that the model charges.
func TestStorm(t *testing.T) {
	const workers, blocks, slow = 100, 4000, 20
	w := world.New(3)
	defer w.Close()
	w.CPU = func(method string, bytes int) time.Duration { return slow * world.DefaultCPU(method, bytes) }
	c := New(w, Config{Masters: 3, Workers: workers, Racks: 4, Listed: blocks})
	until := func(what string, limit time.Duration, done func(leader int) bool) time.Duration {
		t.Helper()
		for begin := w.Sched.Elapsed(); w.Sched.Elapsed() < begin+limit; {
			if err := w.Sched.Run(w.Sched.Elapsed() + 10*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if l := c.Leader(); l >= 0 && done(l) {
				return w.Sched.Elapsed() - begin
			}
		}
		t.Fatalf("%s: not within %v", what, limit)
		return 0
	}
	gauge := func(leader int, name string) int { return int(c.Master(leader).Gauges()[name]()) }
	whole := func(l int) bool { return gauge(l, "blocks") == workers*blocks }
	until("the first map", 20*time.Second, whole)
	old := c.Leader()
	c.CrashMaster(old)
	used := c.Masters[(old+1)%3].Used() + c.Masters[(old+2)%3].Used()
	partial, waiting := 0, false
	took := until("the next map", 20*time.Second, func(l int) bool {
		if n := gauge(l, "blocks"); n > 0 && n < workers*blocks {
			partial++
			waiting = waiting || gauge(l, "workers") > c.Master(l).RegisteredWorkers()+16
		}
		return whole(l)
	})
	used = c.Masters[(old+1)%3].Used() + c.Masters[(old+2)%3].Used() - used
	if least := slow * workers * blocks * 14 / 1024 * 50 * time.Microsecond; used < least || used > 2*least {
		t.Errorf("the new leader used %v of CPU, want about %v", used, least)
	}
	if partial == 0 || !waiting || c.Master(c.Leader()).RegisteredWorkers() != workers {
		t.Errorf("after %v %d workers are registered; the map was seen half full %d times; more live workers than admitted ones: %v",
			took, c.Master(c.Leader()).RegisteredWorkers(), partial, waiting)
	}
}
