package metasync

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/ufs"
)

// breaking is a store whose listings end with an error after some entries, and whose looks at one path fail.
type breaking struct {
	ufs.Store
	after int   // entries that a listing gives; negative: all
	err   error // then
	stat  string
	looks int
}

func (b *breaking) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		n := 0
		for e, err := range b.Store.List(ctx, dir, after) {
			if n == b.after {
				yield(ufs.Entry{}, b.err)
				return
			}
			if n++; !yield(e, err) {
				return
			}
		}
	}
}

func (b *breaking) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	b.looks++
	if path == b.stat && b.err != nil {
		return ufs.Entry{}, b.err
	}
	return b.Store.Stat(ctx, path)
}

func breakingRig(t *testing.T) (*rig, *breaking) {
	t.Helper()
	b := &breaking{after: -1}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { b.Store = s; return b })
	t.Cleanup(func() { r.close(nil) })
	return r, b
}

// TestBrokenListing (INV-2): what lies beyond the place where a listing broke stays, and the directory is not marked as
// loaded; the next listing that is whole puts everything right.
func TestBrokenListing(t *testing.T) {
	for after := range 6 {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			r, b := breakingRig(t)
			for i := range 6 {
				r.put(fmt.Sprintf("d/%d", i), "old")
			}
			r.must(r.s.Path(ctx, "/m/d"))
			b.after, b.err = after, dfs.Errorf(dfs.Unavailable, "list", "d", "the server went away")
			if err := r.s.Children(ctx, "/m/d"); !dfs.IsKind(err, dfs.Unavailable) {
				t.Errorf("%v", err)
			}
			if r.peek("/m/d").Loaded {
				t.Error("half a listing counts as a whole one")
			}
			b.after = -1
			r.must(r.s.Children(ctx, "/m/d"))
			if !r.peek("/m/d").Loaded || len(r.knownTree()) != 7 {
				t.Errorf("known: %v", r.knownTree())
			}
			for i := range 3 {
				r.must(r.store.Remove(ctx, fmt.Sprintf("d/%d", 2*i)))
			}
			b.after = 1 // "1" is there, and so "0" is gone; nothing is known of the others
			if err := r.s.Children(ctx, "/m/d"); err == nil {
				t.Error("no error")
			}
			for i := 2; i < 6; i++ {
				if r.peek(dfs.Path(fmt.Sprintf("/m/d/%d", i))) == nil {
					t.Errorf("%d was called gone by a listing that never came so far", i)
				}
			}
			b.after = -1
			r.must(r.s.Children(ctx, "/m/d"))
			if got, want := r.knownTree(), r.storeTree(""); !slices.Equal(got, want) {
				t.Errorf("known %v, there %v", got, want)
			}
		})
	}
}

// TestFailedLookIsNotRemembered: a path whose look failed is due again at once, and its error is the caller's.
func TestFailedLookIsNotRemembered(t *testing.T) {
	r, b := breakingRig(t)
	r.put("f", "x")
	b.stat, b.err = "f", dfs.Errorf(dfs.Unavailable, "stat", "f", "the server went away")
	if err := r.s.Path(ctx, "/m/f"); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("%v", err)
	}
	if !r.s.Due("/m/f", false, time.Hour) || len(r.s.flights) != 0 {
		t.Errorf("due %v, %d flights", r.s.Due("/m/f", false, time.Hour), len(r.s.flights))
	}
	b.err = nil
	r.must(r.s.Path(ctx, "/m/f"))
	if r.s.Due("/m/f", false, time.Hour) || r.peek("/m/f") == nil {
		t.Error("the look that went well is not remembered")
	}
}

// TestStoreCannotBeOpened: the error is the caller's, nothing is claimed, and no place is taken for ever.
func TestStoreCannotBeOpened(t *testing.T) {
	r, _ := breakingRig(t)
	refused := errors.New("connection refused")
	r.s.open = func(context.Context, *mounttable.Mount) (ufs.Store, error) { return nil, refused }
	for range 2 * maxConcurrent {
		if err := r.s.Path(ctx, "/m/f"); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if err := r.s.Children(ctx, "/m"); !errors.Is(err, refused) {
			t.Fatal(err)
		}
	}
	claim, err := r.e.Claim(ctx, "/m")
	r.must(err)
	claim.Release()
}

// TestOutsideOfMounts: paths that lie in no store, and the root of a mount, are never looked for.
func TestOutsideOfMounts(t *testing.T) {
	r, b := breakingRig(t)
	for _, p := range []dfs.Path{"/", "/other", "/other/x", "/m"} {
		r.must(r.s.Path(ctx, p))
	}
	r.must(r.s.Children(ctx, "/other"))
	if b.looks != 0 {
		t.Errorf("the store was asked %d times", b.looks)
	}
}

// TestManyShareOneLook: callers for one path who come while a look is under way share it, whatever its outcome.
func TestManyShareOneLook(t *testing.T) {
	for name, fail := range map[string]error{"well": nil, "badly": dfs.Errorf(dfs.Unavailable, "list", "", "the server went away")} {
		t.Run(name, func(t *testing.T) {
			g := &gate{reached: make(chan struct{}), pass: make(chan struct{}), after: "f"}
			b := &breaking{after: -1}
			r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { b.Store = s; g.Store = b; return g })
			defer r.close(nil)
			r.put("f", "x")
			r.put("g", "x")
			if fail != nil {
				b.after, b.err = 1, fail
			}
			var wg sync.WaitGroup
			answers := make(chan error, 20)
			ask := func() { answers <- r.s.Children(ctx, "/m") }
			wg.Go(ask)
			<-g.reached
			for range cap(answers) - 1 {
				wg.Go(ask)
			}
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if err := r.s.Children(gone, "/m"); err == nil {
				t.Error("a caller who gave up was served")
			}
			close(g.pass)
			wg.Wait()
			for range cap(answers) {
				if err := <-answers; (err == nil) != (fail == nil) {
					t.Errorf("%v, the look ended with %v", err, fail)
				}
			}
			if len(r.s.flights) != 0 {
				t.Errorf("%d flights are left", len(r.s.flights))
			}
		})
	}
}

// TestNamesThatNoPathCarries are passed over, and do not stop what comes after them.
func TestNamesThatNoPathCarries(t *testing.T) {
	odd := &oddNames{}
	r := newRig(t, host.NewReal(), func(s ufs.Store) ufs.Store { odd.Store = s; return odd })
	defer r.close(nil)
	r.put("b", "x")
	r.put("z", "x")
	r.must(r.s.Children(ctx, "/m"))
	if got := r.knownTree(); len(got) != 2 {
		t.Errorf("known %v", got)
	}
}

type oddNames struct{ ufs.Store }

func (o *oddNames) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		for _, name := range []string{"", ".", "..", "a/b", "a\x00"} {
			if !yield(ufs.Entry{Name: name, Size: 1, Fingerprint: "f"}, nil) {
				return
			}
		}
		o.Store.List(ctx, dir, after)(yield)
	}
}
