package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

// workersAnswer is a worker list in both forms: names in capitals are live.
func workersAnswer(names string) (*pb.ResultBatch, error) {
	r, p := &pb.Result{WorkersVersion: 1}, &pb.Placement{}
	for _, n := range names {
		r.WorkersVersion = r.WorkersVersion*131 + uint64(n)
		if n >= 'A' && n <= 'Z' {
			p.Workers = append(p.Workers, &pb.PlacedWorker{Id: string(n), Address: string(n) + ":1", CapacityBytes: 100})
		}
		r.Workers = append(r.Workers, &pb.WorkerInfo{
			Id: string(n), Address: string(n) + ":1", Live: n >= 'A' && n <= 'Z', Registered: true,
			Tiers: []*pb.TierInfo{{Name: "MEM", CapacityBytes: 100, UsedBytes: 10}, {Name: "HDD", CapacityBytes: 1000, Failed: true}},
		})
	}
	r.Placement, _ = proto.Marshal(p)
	return answer(r, nil)
}

func names(workers []Worker) (all string) {
	for _, w := range workers {
		all += string(w.ID)
	}
	return all
}

func isListWorkers(op *pb.Operation) bool { return op.GetListWorkers() != nil }

// TestWorkerListAge: the list is asked for once while it is young, again when it is old, and sooner when a failure was seen,
// when it is empty, or when the clock was set back; but never more often than at minListAge.
func TestWorkerListAge(t *testing.T) {
	list := "ABc"
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return workersAnswer(list) }
	inVirtualTime(t, Config{WorkerListAge: 2 * time.Second}, scripts{script}, func(h host.Host, c *Client, masters []*fakeMaster) {
		ctx, w := context.Background(), c.core.workers
		asked := 0
		for i, step := range []struct {
			wait   time.Duration
			before func()
			asks   bool
		}{
			{0, nil, true},
			{time.Second, nil, false},
			{999 * time.Millisecond, nil, false},
			{time.Millisecond, nil, true},
			{100 * time.Millisecond, func() { w.suspect("A:1") }, false}, // within minListAge
			{100 * time.Millisecond, nil, true},
			{250 * time.Millisecond, nil, false}, // the failure is answered for
			{0, w.doubt, true},
			{199 * time.Millisecond, w.doubt, false},
			{time.Millisecond, func() { list = "c" }, true},
			{200 * time.Millisecond, func() { list = "ABc" }, true}, // nobody lived
			{200 * time.Millisecond, nil, false},
			{0, func() { w.with(func() { w.loaded = h.Now().Add(time.Hour) }) }, true}, // the clock was set back by an hour
		} {
			_ = h.Sleep(ctx, step.wait)
			if step.before != nil {
				step.before()
			}
			if _, err := w.get(ctx); err != nil {
				t.Fatal(err)
			}
			if step.asks {
				asked++
			}
			if n := masters[0].count(isListWorkers); n != asked {
				t.Fatalf("step %d: asked %d times, want %d", i, n, asked)
			}
		}
		live, err := w.get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all, err := c.Workers(ctx)
		if err != nil || names(all) != "ABc" || names(live.workers) != "AB" {
			t.Errorf("all %s, live %s, %v", names(all), names(live.workers), err)
		}
		if a := all[0]; a.CapacityBytes() != 100 || a.UsedBytes() != 10 || a.Address != "A:1" || !a.Registered {
			t.Errorf("a worker is read as %+v", a)
		}
	})
}

// with runs f under the lock.
func (w *workerList) with(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// TestWorkerListWithoutMaster: an old list serves while no master does. One caller asks and waits for a bounded time, the
// others go on at once, and nobody asks again before patience has passed. Without any list callers wait and fail.
func TestWorkerListWithoutMaster(t *testing.T) {
	var h host.Host
	hung := false
	script := func(ctx context.Context, _ *pb.OperationBatch) (*pb.ResultBatch, error) {
		if hung {
			return hang(h, ctx)
		}
		return workersAnswer("AB")
	}
	inVirtualTime(t, Config{Timeout: 5 * time.Second, WorkerListAge: time.Second}, scripts{script}, func(v host.Host, c *Client, masters []*fakeMaster) {
		h = v
		ctx, w := context.Background(), c.core.workers
		if _, err := w.get(ctx); err != nil {
			t.Error(err)
		}
		hung = true
		_ = v.Sleep(ctx, 2*time.Second)
		slow := 0
		g := host.NewGroup(v, 0)
		for range 10 {
			_ = g.Go(ctx, "reader", func() error {
				spent := took(v, func() {
					if live, err := w.get(ctx); err != nil || names(live.workers) != "AB" {
						t.Errorf("got %v", err)
					}
				})
				if spent > refreshPatience {
					t.Errorf("a reader waited %v", spent)
				}
				if spent > 0 {
					slow++
				}
				return nil
			})
		}
		_ = g.Wait(ctx)
		if slow != 1 || masters[0].count(isListWorkers) != 2 {
			t.Errorf("%d readers waited, the master was asked %d times; want 1 and 2", slow, masters[0].count(isListWorkers))
		}
		_ = v.Sleep(ctx, refreshPatience-time.Millisecond)
		if _, err := w.get(ctx); err != nil || masters[0].count(isListWorkers) != 2 {
			t.Errorf("asked again within its patience: %v", err)
		}
		_ = v.Sleep(ctx, 2*time.Millisecond)
		short, cancel := v.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := w.get(short)
		wantKind(t, err, dfs.DeadlineExceeded) // the caller's own time: the old list is no use to it

		w.with(func() { w.live, w.patient = nil, time.Time{} })
		for _, d := range []time.Duration{0, 700 * time.Millisecond} {
			ctx, limit := context.Background(), 5*time.Second
			if d > 0 {
				bounded, cancel := v.WithTimeout(ctx, d)
				defer cancel()
				ctx, limit = bounded, d
			}
			done := host.NewGroup(v, 0)
			for range 3 { // one behind the other at the lock: one timeout for all
				_ = done.Go(context.Background(), "first", func() error {
					if spent := took(v, func() { _, err = w.get(ctx) }); spent > limit+time.Second {
						t.Errorf("waited %v, has %v", spent, limit)
					}
					wantKind(t, err, dfs.DeadlineExceeded)
					return nil
				})
			}
			_ = done.Wait(context.Background())
		}
		if held := w.loading.TryLock(); !held {
			t.Error("the lock was not given back")
		}
	})
}

// TestSuspects: a worker that failed is asked last until it serves or the suspicion is over, others keep their ranks, and
// what is remembered does not grow with time.
func TestSuspects(t *testing.T) {
	inVirtualTime(t, Config{}, scripts{nil}, func(h host.Host, c *Client, _ []*fakeMaster) {
		w := c.core.workers
		var ranked []*Worker
		for _, n := range "abcde" {
			ranked = append(ranked, &Worker{ID: dfs.WorkerID(string(n)), Address: string(n) + ":1"})
		}
		order := func() (s string) {
			for _, r := range w.preferred(ranked) {
				s += string(r.ID)
			}
			return s
		}
		for i, step := range []struct {
			do   func()
			want string
		}{
			{func() {}, "abcde"},
			{func() { w.suspect("b:1") }, "acdeb"},
			{func() { _ = h.Sleep(context.Background(), suspicion/2); w.suspect("a:1") }, "cdeab"},
			{func() { w.cleared("a:1") }, "acdeb"},
			{func() { w.cleared("nobody:1") }, "acdeb"},
			{func() { w.suspect("a:1"); _ = h.Sleep(context.Background(), suspicion/2) }, "bcdea"}, // b's time is over
			{func() {
				for _, r := range ranked {
					w.suspect(r.Address)
				}
			}, "abcde"},
			{func() { _ = h.Sleep(context.Background(), suspicion) }, "abcde"},
		} {
			step.do()
			if got := order(); got != step.want {
				t.Fatalf("step %d: %s, want %s", i, got, step.want)
			}
		}
		for i := range 100_000 {
			w.suspect(fmt.Sprintf("gone-%d:1", i))
			_ = h.Sleep(context.Background(), time.Second)
		}
		if n := len(w.suspects); n > int(suspicion/time.Second)+1 {
			t.Errorf("%d workers are remembered that failed long ago", n)
		}
		if w.suspected("gone-1:1") || !w.suspected("gone-99999:1") {
			t.Error("suspected does not agree with the suspicion's time")
		}
	})
}

// TestRingGrows (INV-2): a worker that joins takes blocks, and every block that it does not take stays where it was, with the
// whole order of the others behind it.
func TestRingGrows(t *testing.T) {
	for _, capacities := range [][]int64{{1, 1, 1, 1, 1}, {5, 9, 2, 7, 3}} {
		workers := testWorkers(capacities...)
		before, after := newRing(workers[:4]), newRing(workers)
		taken := 0
		for i := range 5000 {
			b := testBlock(i)
			var others []dfs.WorkerID
			for _, w := range after.rank(b, 9) {
				if w.ID != workers[4].ID {
					others = append(others, w.ID)
				}
			}
			if after.first(b).ID == workers[4].ID {
				taken++
			}
			for k, w := range before.rank(b, 9) {
				if w.ID != others[k] {
					t.Fatalf("%v: rank %d was %s and is %s, though it did not change", b, k, w.ID, others[k])
				}
			}
		}
		if taken < 200 {
			t.Errorf("the new worker took %d of 5000 blocks", taken)
		}
	}
}

// TestRingEdges: no workers, one, workers without capacity, and workers that draw alike.
func TestRingEdges(t *testing.T) {
	if w := newRing(nil).first(testBlock(1)); w != nil || len(newRing(nil).rank(testBlock(1), 3)) != 0 {
		t.Errorf("an empty ring gives %v", w)
	}
	for _, workers := range [][]Worker{testWorkers(7), testWorkers(0, 0, 0), testWorkers(0, 1<<50)} {
		r := newRing(workers)
		for i := range 200 {
			if got := r.rank(testBlock(i), len(workers)); len(got) != len(workers) || r.first(testBlock(i)).ID != got[0].ID {
				t.Fatalf("%d workers: ranked %d", len(workers), len(got))
			}
		}
	}
	twin := Worker{ID: "twin", Tiers: []Tier{{CapacityBytes: 1}}}
	if got := newRing([]Worker{twin, twin}).rank(testBlock(1), 5); len(got) != 2 {
		t.Errorf("two of one name: ranked %d", len(got))
	}
}

// TestBlocksSpread: neighbouring blocks, versions and inodes have unrelated workers: each of the three alone spreads evenly.
func TestBlocksSpread(t *testing.T) {
	r := newRing(testWorkers(1, 1, 1, 1))
	for name, block := range map[string]func(i int) dfs.BlockID{
		"index": func(i int) dfs.BlockID {
			return dfs.BlockID{File: dfs.FileVersion{Inode: 7, Version: 1}, Index: uint32(i)}
		},
		"version": func(i int) dfs.BlockID { return dfs.BlockID{File: dfs.FileVersion{Inode: 7, Version: uint32(i)}} },
		"inode":   func(i int) dfs.BlockID { return dfs.BlockID{File: dfs.FileVersion{Inode: dfs.InodeID(i), Version: 1}} },
	} {
		got, same := map[dfs.WorkerID]int{}, 0
		for i := range 8000 {
			got[r.first(block(i)).ID]++
			if r.first(block(i)).ID == r.first(block(i+1)).ID {
				same++
			}
		}
		for id, n := range got {
			if n < 1800 || n > 2200 {
				t.Errorf("%s: %s has %d of 8000 blocks", name, id, n)
			}
		}
		if same < 1800 || same > 2200 {
			t.Errorf("%s: %d of 8000 neighbours share a worker, want about 2000", name, same)
		}
	}
}

// TestPlacesAgainstModel: whatever fails in whatever order, no two copies have one worker, one that failed is not given again
// before a refresh, and the best that is left comes first.
func TestPlacesAgainstModel(t *testing.T) {
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return workersAnswer("ABCDEF") }
	inVirtualTime(t, Config{WorkerListAge: time.Hour}, scripts{script}, func(_ host.Host, c *Client, _ []*fakeMaster) {
		rnd := rand.New(rand.NewPCG(1, 2))
		for round := range 50 {
			p, err := c.core.newPlaces(context.Background(), testBlock(round))
			if err != nil {
				t.Fatal(err)
			}
			used, failed := map[dfs.WorkerID]*Worker{}, map[dfs.WorkerID]bool{}
			for range 60 {
				switch rnd.IntN(5) {
				case 0, 1, 2:
					var want *Worker
					for _, w := range p.ranked {
						if used[w.ID] == nil && !failed[w.ID] {
							want = w
							break
						}
					}
					got := p.take()
					if got != want {
						t.Fatalf("took %v, want %v", got, want)
					}
					if got != nil {
						used[got.ID] = got
					}
				case 3:
					for id, w := range used {
						p.fail(w)
						delete(used, id)
						failed[id] = true
						break
					}
				case 4:
					if err := p.refresh(context.Background()); err != nil {
						t.Fatal(err)
					}
					clear(failed)
				}
			}
		}
	})
}

// TestWorkersVersionTold: while every answer tells the version that the client has, it asks for no list, however old its own;
// another version makes it ask, once; an answer that tells none changes nothing.
func TestWorkersVersionTold(t *testing.T) {
	list, told := "AB", uint64(0)
	script := func(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		all, err := workersAnswer(list)
		if isListWorkers(b.Operations[0]) {
			return all, err
		}
		r, err := answer(&pb.Result{}, nil)
		r.WorkersVersion = told
		return r, err
	}
	inVirtualTime(t, Config{WorkerListAge: 2 * time.Second}, scripts{script}, func(h host.Host, c *Client, masters []*fakeMaster) {
		ctx, w := context.Background(), c.core.workers
		asks := func(what string, want int) {
			t.Helper()
			for range 10 {
				_ = h.Sleep(ctx, time.Second)
				if _, err := c.read(ctx, aRead(), shared); err != nil {
					t.Fatal(err)
				}
				if _, err := w.get(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if n := masters[0].count(isListWorkers); n != want {
				t.Errorf("%s: asked %d times by now, want %d", what, n, want)
			}
		}
		asks("no version is told: every two seconds", 5)
		told = w.version
		asks("ours is told", 5)
		list = "ABC"
		changed, _ := workersAnswer(list)
		told = changed.Results[0].WorkersVersion
		asks("another is told", 6)
		if live, _ := w.get(ctx); names(live.workers) != "ABC" {
			t.Errorf("live %s", names(live.workers))
		}
	})
}

// TestPartialPlacement: what a new leader does not know of yet is kept beside what it knows, and asked for again, until it says
// that its list is whole; without a list of its own a client goes on with what there is.
func TestPartialPlacement(t *testing.T) {
	list, partial := "", true
	script := func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
		all, err := workersAnswer(list)
		all.Results[0].WorkersPartial = partial
		return all, err
	}
	inVirtualTime(t, Config{WorkerListAge: 2 * time.Second}, scripts{script}, func(h host.Host, c *Client, _ []*fakeMaster) {
		ctx, w := context.Background(), c.core.workers
		for i, step := range []struct {
			list    string
			partial bool
			want    string
		}{
			{"", true, ""}, {"B", true, "B"}, {"AB", false, "AB"}, // a cluster that starts
			{"", true, "AB"}, {"C", true, "CAB"}, {"AC", true, "ACB"}, // a leader that has just been elected
			{"AC", false, "AC"}, // B did not come back
			{"", false, ""},     // nobody lives, says one who knows
		} {
			list, partial = step.list, step.partial
			_ = h.Sleep(ctx, 2*time.Second)
			live, err := w.get(ctx)
			if err != nil || names(live.workers) != step.want {
				t.Fatalf("step %d: %s, %v, want %s", i, names(live.workers), err, step.want)
			}
		}
	})
}

// TestReplacedWorker: a worker that is known no more, and whose address is another's by now, is not kept beside it.
func TestReplacedWorker(t *testing.T) {
	at := func(id, address string) Worker { return Worker{ID: dfs.WorkerID(id), Address: address, Live: true} }
	old := newRing([]Worker{at("A", "a:1"), at("B", "b:1")})
	now := newRing([]Worker{at("A2", "a:1")})
	if all := now.joined(old); len(all.workers) != 2 || all.byID["A"] != 0 || all.workers[0].ID != "A2" || all.workers[1].ID != "B" {
		t.Errorf("joined to %+v", all.workers)
	}
}
