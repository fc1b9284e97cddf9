package metasync

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
)

// tripped is a store whose n-th call (a look, or one step of a listing), counted from 0, fails.
type tripped struct {
	ufs.Store
	n, calls int
	kind     dfs.Kind
	end      func() // called instead of failing; nil: it fails
}

func (s *tripped) trip(what, path string) error {
	s.calls++
	if s.calls-1 != s.n {
		return nil
	}
	if s.end != nil {
		s.end()
		return nil
	}
	return dfs.Errorf(s.kind, what, path, "the store refuses")
}

func (s *tripped) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if err := s.trip("stat", path); err != nil {
		return ufs.Entry{}, err
	}
	return s.Store.Stat(ctx, path)
}

func (s *tripped) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		for e, err := range s.Store.List(ctx, dir, after) {
			if err == nil {
				err = s.trip("list", dir)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// changedRig is a rig that has seen a tree which then changed in every way: files and directories that came, went,
// changed and took each other's places.
func changedRig(t *testing.T) (*rig, *tripped) {
	t.Helper()
	s := &tripped{n: -1, kind: dfs.Unavailable}
	r := newRig(t, host.NewReal(), func(store ufs.Store) ufs.Store { s.Store = store; return s })
	t.Cleanup(func() { r.close(nil) })
	for _, p := range []string{"d/a", "d/b/x", "d/b/y/z", "d/c", "d/e", "gone/1", "gone/2/3"} {
		r.put(p, "old")
	}
	r.must(r.syncAll("/m"))
	for _, p := range []string{"d/a", "d/b", "d/c", "gone"} {
		r.removeTree(p)
	}
	r.put("d/a/new", "a directory now")
	r.put("d/b", "a file now")
	r.put("d/e", "changed")
	r.put("d/f", "came")
	s.calls = 0
	return r, s
}

// TestFailsAtEachCall (INV-1, INV-2): whichever call to the store fails, its error is told, no claim and no place stays
// taken, what is in the namespace is what it was or what the store has, and the next sync that is whole puts it right.
func TestFailsAtEachCall(t *testing.T) {
	for _, kind := range []dfs.Kind{dfs.Unavailable, dfs.PermissionDenied} {
		for n, failed := 0, true; failed; n++ {
			r, s := changedRig(t)
			s.kind = kind
			before := r.knownTree()
			s.n = n
			err := r.syncAll("/m")
			failed = s.calls > n
			if failed != dfs.IsKind(err, kind) || !failed && err != nil {
				t.Fatalf("call %d failed %v: %v", n, failed, err)
			}
			want := r.storeTree("")
			for _, line := range r.knownTree() {
				isDir := line[len(line)-1] == '/'
				if !isDir && !slices.Contains(before, line) && !slices.Contains(want, line) {
					t.Errorf("call %d: %s was never in either", n, line)
				}
			}
			claim, err := r.e.Claim(ctx, "/m")
			r.must(err)
			claim.Release()
			if len(r.s.flights) != 0 {
				t.Errorf("call %d: %d flights are left", n, len(r.s.flights))
			}
			r.must(r.s.slots.Acquire(ctx, maxConcurrent))
			r.s.slots.Release(maxConcurrent)
			s.n = -1
			r.must(r.syncAll("/m"))
			if got := r.knownTree(); !slices.Equal(got, want) {
				t.Errorf("after call %d:\n got  %v\n want %v", n, got, want)
			}
			if !failed && n < 5 {
				t.Errorf("only %d calls", n)
			}
		}
	}
}

// TestEndsAtEachCall: the same when the caller goes away at any call: the sync is done or says so, and nothing stays taken.
func TestEndsAtEachCall(t *testing.T) {
	for n, reached := 0, true; reached; n++ {
		r, s := changedRig(t)
		short, cancel := context.WithCancel(ctx)
		s.n, s.end = n, cancel
		err := r.s.Children(short, "/m/d")
		reached = s.calls > n
		if err != nil && !dfs.IsKind(err, dfs.Canceled) && !errors.Is(err, context.Canceled) || !reached && err != nil {
			t.Errorf("call %d: %v", n, err)
		}
		claim, err := r.e.Claim(ctx, "/m")
		r.must(err)
		claim.Release()
		s.n = -1
		r.must(r.syncAll("/m"))
		if got, want := r.knownTree(), r.storeTree(""); !slices.Equal(got, want) {
			t.Errorf("after call %d:\n got  %v\n want %v", n, got, want)
		}
		cancel()
	}
}

// TestLostDirectoryKeepsOurs (INV-3): of a directory of several pages that the store lost, what only Forebay has stays with
// the way to it, wherever in the pages it is, and everything else is told gone, once.
func TestLostDirectoryKeepsOurs(t *testing.T) {
	const files = batchEntries + 5
	for _, ours := range [][]string{{}, {"00000"}, {"00999x"}, {"01000x"}, {"00500x", "sub/deep", "zz"}} {
		t.Run(fmt.Sprint(ours), func(t *testing.T) {
			r := newRig(t, host.NewReal(), nil)
			defer r.close(nil)
			for i := range files {
				r.put(fmt.Sprintf("d/%05d", i+1), "x")
			}
			r.put("d/sub/theirs", "x")
			r.must(r.syncAll("/m"))
			for _, name := range ours {
				r.create(dfs.Path("/m/d/"+name), dfs.WriteMustCache)
			}
			r.removeTree("d")
			r.must(r.s.Path(ctx, "/m/d"))
			if len(r.told()) != files+1 {
				t.Errorf("%d of %d were told gone", len(r.told()), files+1)
			}
			if told := r.told(); len(slices.Compact(slices.Sorted(slices.Values(told)))) != files+1 {
				t.Error("some were told gone more than once")
			}
			known := 0
			for _, line := range r.knownTree() {
				if line[len(line)-1] != '/' {
					known++
				}
			}
			for _, name := range ours {
				if r.peek(dfs.Path("/m/d/"+name)) == nil {
					t.Errorf("%s, which only Forebay has, is gone", name)
				}
			}
			if known != len(ours) || (r.peek("/m/d") != nil) != (len(ours) > 0) {
				t.Errorf("%d files are left of %d, known: %v", known, len(ours), r.knownTree())
			}
		})
	}
}

// TestPagesMeetAtTheirBounds: as many known entries as a batch, one less and one more, against as many in the store.
func TestPagesMeetAtTheirBounds(t *testing.T) {
	sizes := []int{batchEntries - 1, batchEntries, batchEntries + 1}
	for _, known := range sizes {
		r := newRig(t, host.NewReal(), nil)
		for i := range known {
			r.put(fmt.Sprintf("%05d", 2*i), "x")
		}
		r.must(r.s.Children(ctx, "/m"))
		if got := len(r.knownTree()); got != known {
			t.Errorf("%d of %d are known", got, known)
		}
		for i := range known { // every other one goes, and others come between
			if i%2 == 0 {
				r.must(r.store.Remove(ctx, fmt.Sprintf("%05d", 2*i)))
				r.put(fmt.Sprintf("%05d", 2*i+1), "y")
			}
		}
		r.must(r.s.Children(ctx, "/m"))
		if got, want := r.knownTree(), r.storeTree(""); !slices.Equal(got, want) {
			t.Errorf("of %d: %d are known, %d there", known, len(got), len(want))
		}
		if len(r.told()) != (known+1)/2 {
			t.Errorf("of %d: %d were told gone", known, len(r.told()))
		}
		r.close(nil)
	}
}

// crowd is a store that counts how many look at once, and holds them until it is let go.
type crowd struct {
	ufs.Store
	now, most atomic.Int64
	pass      chan struct{}
}

func (c *crowd) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	<-c.pass
	return c.Store.Stat(ctx, path)
}

// TestLooksAreBounded (INV-4): no more than maxConcurrent looks at once, and one that waits for a place goes with its
// caller.
func TestLooksAreBounded(t *testing.T) {
	c := &crowd{pass: make(chan struct{})}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { c.Store = s; return c })
	defer r.close(nil)
	const callers = 3 * maxConcurrent
	answers := make(chan error, callers)
	look := func(i int) { answers <- r.s.Path(ctx, dfs.Path(fmt.Sprint("/m/", i))) }
	for i := range maxConcurrent {
		r.put(fmt.Sprint(i), "x")
		go look(i)
	}
	for c.now.Load() < maxConcurrent { // until every place is taken
		r.must(r.h.Sleep(ctx, 100_000))
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.s.Path(gone, "/m/late"); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("a caller who gave up: %v", err)
	}
	for i := maxConcurrent; i < callers; i++ {
		go look(i)
	}
	close(c.pass)
	for range callers {
		r.must(<-answers)
	}
	if most := c.most.Load(); most != maxConcurrent {
		t.Errorf("%d looked at once, want %d", most, maxConcurrent)
	}
	if len(r.s.flights) != 0 || len(r.knownTree()) != maxConcurrent {
		t.Errorf("%d flights are left, known %v", len(r.s.flights), r.knownTree())
	}
}
