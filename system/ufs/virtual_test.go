package ufs_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// virtual runs a test in virtual time.
func virtual(t *testing.T, main func(v *hosttest.Virtual)) {
	t.Helper()
	v := hosttest.NewVirtual(1)
	if err := v.Run(func() { main(v) }); err != nil {
		t.Error(err)
	}
}

// down is a store of which the first n calls of every sort fail with a kind.
type down struct {
	ufs.Store
	kind  dfs.Kind
	left  int
	calls int
}

func (d *down) fails() error {
	d.calls++
	if d.left--; d.left < 0 {
		return nil
	}
	return dfs.Errorf(d.kind, "call", "x", "down")
}

func (d *down) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	if err := d.fails(); err != nil {
		return ufs.Entry{}, err
	}
	return d.Store.Stat(ctx, path)
}

func (d *down) Mkdir(ctx context.Context, path string, mode uint32) error {
	if err := d.fails(); err != nil {
		return err
	}
	return d.Store.Mkdir(ctx, path, mode)
}

// Remove does it and then loses the reply.
func (d *down) Remove(ctx context.Context, path string) error {
	err := d.Store.Remove(ctx, path)
	if lost := d.fails(); lost != nil {
		return lost
	}
	return err
}

// Rename does it and then loses the reply.
func (d *down) Rename(ctx context.Context, from, to string) error {
	err := d.Store.Rename(ctx, from, to)
	if lost := d.fails(); lost != nil {
		return lost
	}
	return err
}

// List yields two entries and fails.
func (d *down) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		n := 0
		for e, err := range d.Store.List(ctx, dir, after) {
			if n++; n == 3 {
				if lost := d.fails(); lost != nil {
					yield(ufs.Entry{}, lost)
					return
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestRetryTable checks which failures are tried again, how often, and how long that takes.
func TestRetryTable(t *testing.T) {
	for _, test := range []struct {
		name     string
		kind     dfs.Kind
		failures int
		options  ufs.RetryOptions
		calls    int
		ok       bool
		min, max time.Duration
	}{
		{"none", dfs.Unavailable, 0, ufs.RetryOptions{}, 1, true, 0, 0},
		{"one", dfs.Unavailable, 1, ufs.RetryOptions{}, 2, true, 25 * time.Millisecond, 50 * time.Millisecond},
		{"doubling", dfs.Unavailable, 4, ufs.RetryOptions{}, 5, true, 375 * time.Millisecond, 750 * time.Millisecond},
		{"too many", dfs.Unavailable, 5, ufs.RetryOptions{}, 5, false, 375 * time.Millisecond, 750 * time.Millisecond},
		{"the longest wait", dfs.Unavailable, 3, ufs.RetryOptions{Base: time.Hour, Max: time.Second}, 4, true, 1500 * time.Millisecond, 3 * time.Second},
		{"a budget of one", dfs.Unavailable, 3, ufs.RetryOptions{Budget: 4}, 2, false, 25 * time.Millisecond, 50 * time.Millisecond},
		{"one attempt", dfs.Unavailable, 1, ufs.RetryOptions{Attempts: 1}, 1, false, 0, 0},
		{"denied", dfs.PermissionDenied, 1, ufs.RetryOptions{}, 1, false, 0, 0},
		{"throttled", dfs.ResourceExhausted, 1, ufs.RetryOptions{}, 1, false, 0, 0},
		{"deadline", dfs.DeadlineExceeded, 1, ufs.RetryOptions{}, 1, false, 0, 0},
		{"stale", dfs.Stale, 1, ufs.RetryOptions{}, 1, false, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(v *hosttest.Virtual) {
				d := &down{Store: mem.New(v), kind: test.kind, left: test.failures}
				start := v.Now()
				_, err := ufs.Retry(v, d, test.options).Stat(context.Background(), "")
				took := v.Now().Sub(start)
				if d.calls != test.calls || (err == nil) != test.ok || took < test.min || took > test.max {
					t.Errorf("%d calls in %v: %v", d.calls, took, err)
				}
				if err != nil && !dfs.IsKind(err, test.kind) {
					t.Errorf("kind of %v", err)
				}
			})
		})
	}
}

// TestRetryBudgetComesBack drains the budget with a store that is down, and earns it back with one that works.
func TestRetryBudgetComesBack(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		ctx := context.Background()
		d := &down{Store: mem.New(v), kind: dfs.Unavailable, left: math.MaxInt}
		s := ufs.Retry(v, d, ufs.RetryOptions{Budget: 20})
		for range 50 {
			_, _ = s.Stat(ctx, "")
		}
		if d.calls > 50+20 {
			t.Errorf("%d calls for 50 while the store was down", d.calls)
		}
		d.left = 0
		for range 120 { // each gives a tenth back: past the half
			_, _ = s.Stat(ctx, "")
		}
		d.left, d.calls = 1, 0
		if _, err := s.Stat(ctx, ""); err != nil || d.calls != 2 {
			t.Errorf("after it came back: %d calls, %v", d.calls, err)
		}
	})
}

// TestLostReplies: what a first attempt did is not an error of the second.
func TestLostReplies(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		ctx := context.Background()
		inner := mem.New(v)
		for _, name := range []string{"a", "b", "d/1", "d/2", "d/3", "d/4", "d/5"} {
			ufstest.Put(ctx, t, inner, name, []byte(name))
		}
		d := &down{Store: inner, kind: dfs.Unavailable}
		s := ufs.Retry(v, d, ufs.RetryOptions{})
		d.left = 1
		if err := s.Remove(ctx, "a"); err != nil {
			t.Errorf("remove: %v", err)
		}
		d.left = 1
		if err := s.Rename(ctx, "b", "c"); err != nil {
			t.Errorf("rename: %v", err)
		}
		d.left = 0
		if err := s.Remove(ctx, "a"); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("removing what is not there: %v", err)
		}
		if err := s.Rename(ctx, "b", "x"); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("renaming what is not there: %v", err)
		}
		d.left = 1
		if err := s.Rename(ctx, "b", "x"); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("renaming what is not there, to nothing: %v", err)
		}
		d.left = 2
		var names []string
		for e, err := range s.List(ctx, "d", "") {
			if err != nil {
				t.Error(err)
			}
			names = append(names, e.Name)
		}
		if !slices.Equal(names, []string{"1", "2", "3", "4", "5"}) {
			t.Errorf("a listing that broke twice: %v", names)
		}
		d.left = math.MaxInt
		for e, err := range s.List(ctx, "d", "") {
			if err == nil && e.Name > "2" && d.calls == 0 {
				t.Error("went on")
			}
			if err == nil && e.Name == "1" {
				break // a consumer that has enough is no failure
			}
		}
	})
}

// TestThrottlePace checks when each call is let through.
func TestThrottlePace(t *testing.T) {
	stat := func(s ufs.Store) error { _, err := s.Stat(context.Background(), ""); return err }
	list := func(s ufs.Store) error {
		for _, err := range s.List(context.Background(), "", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}
	read := func(n int64) func(s ufs.Store) error {
		return func(s ufs.Store) error {
			r, err := s.Open(context.Background(), "o", 0, n)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }()
			_, err = io.ReadFull(r, make([]byte, n)) // as fetch does: it never sees the end
			return err
		}
	}
	for _, test := range []struct {
		name    string
		options ufs.ThrottleOptions
		call    func(ufs.Store) error
		times   int
		took    time.Duration
		refused int
	}{
		{"unlimited", ufs.ThrottleOptions{}, stat, 1000, 0, 0},
		{"a burst", ufs.ThrottleOptions{RequestsPerSecond: 10}, stat, 10, 0, 0},
		{"behind a burst", ufs.ThrottleOptions{RequestsPerSecond: 10}, stat, 31, 2 * time.Second, 0},
		{"a listing is a request", ufs.ThrottleOptions{RequestsPerSecond: 10}, list, 21, time.Second, 0},
		{"reads of 1000 bytes", ufs.ThrottleOptions{BytesPerSecond: 1000}, read(1000), 5, 3 * time.Second, 0},
		{"nothing to pay", ufs.ThrottleOptions{BytesPerSecond: 1}, stat, 100, 0, 0},
		{"a rate of nearly nothing", ufs.ThrottleOptions{BytesPerSecond: 1e-12}, read(1000), 3, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(v *hosttest.Virtual) {
				inner := mem.New(v)
				ufstest.Put(context.Background(), t, inner, "o", make([]byte, 5000))
				s := ufs.Throttle(v, inner, test.options)
				start, refused := v.Now(), 0
				for range test.times {
					if err := test.call(s); dfs.IsKind(err, dfs.ResourceExhausted) {
						refused++
					} else if err != nil {
						t.Error(err)
					}
				}
				took := v.Now().Sub(start)
				if d := took - test.took; d < -time.Millisecond || d > 101*time.Millisecond || (refused > 0) != (test.refused > 0) {
					t.Errorf("took %v, want %v; %d refused", took, test.took, refused)
				}
			})
		})
	}
}

// TestFaultsAreSeeded: the same seed and calls meet the same faults.
func TestFaultsAreSeeded(t *testing.T) {
	trace := func(seed uint64) string {
		var out strings.Builder
		virtual(t, func(v *hosttest.Virtual) {
			s := ufs.Faults(v, mem.New(v), ufs.FaultOptions{Seed: seed, ErrorRate: .2, LostReplyRate: .2, ShortReadRate: .3, BrokenReadRate: .1, LatencyMax: time.Second})
			ctx := context.Background()
			for i := range 60 {
				path := fmt.Sprint(i % 7)
				err := s.Mkdir(ctx, path, 0o755)
				_, statErr := s.Stat(ctx, path)
				fmt.Fprintln(&out, err, statErr, s.Remove(ctx, path), v.Now().UnixNano())
				if w, err := s.Create(ctx, "o", 0); err == nil {
					n, writeErr := w.Write([]byte("content"))
					e, commitErr := w.Commit(ctx)
					again, againErr := w.Commit(ctx)
					fmt.Fprintln(&out, n, writeErr, e.Size, commitErr, again.Size, againErr)
					if commitErr == nil && (againErr != nil || again != e) {
						t.Errorf("a repeated commit: %+v, %v", again, againErr)
					}
					w.Abort()
				}
			}
		})
		return out.String()
	}
	if a, b := trace(3), trace(3); a != b {
		t.Error("one seed, two traces")
	}
	if trace(3) == trace(4) {
		t.Error("two seeds, one trace")
	}
}

// TestPaths checks the rules of paths and renames.
func TestPaths(t *testing.T) {
	for _, test := range []struct{ dir, path string }{{"", "a"}, {"a", "a/b"}, {"a/b", "a/b/c"}} {
		_, name := ufs.Split(test.path)
		if dir, _ := ufs.Split(test.path); dir != test.dir || ufs.Join(dir, name) != test.path {
			t.Errorf("%q splits into %q and %q", test.path, dir, name)
		}
	}
	for _, test := range []struct {
		dir, path string
		inside    bool
	}{{"", "", true}, {"", "a", true}, {"a", "a", true}, {"a", "a/b", true}, {"a", "ab", false}, {"a/b", "a", false}, {"a", "", false}, {"a", "b/a", false}} {
		if ufs.Inside(test.dir, test.path) != test.inside {
			t.Errorf("%q in %q", test.path, test.dir)
		}
	}
	for path, kind := range map[string]dfs.Kind{"a//b": dfs.InvalidArgument, "..": dfs.InvalidArgument, "a/../b": dfs.InvalidArgument, ".": dfs.InvalidArgument,
		"a/": dfs.InvalidArgument, "/a": dfs.InvalidArgument, "a\x00b": dfs.InvalidArgument, "a\xffb": dfs.InvalidArgument,
		ufs.TempPrefix + "x": dfs.NotFound, "d/" + ufs.TempPrefix: dfs.NotFound, strings.Repeat("n", 300): dfs.NameTooLong} {
		if err := ufs.CheckPath("stat", path); !dfs.IsKind(err, kind) {
			t.Errorf("%q: %v, want %v", path, err, kind)
		}
	}
	for _, test := range []struct {
		from, to string
		ok       bool
	}{{"a", "b", true}, {"a", "a", true}, {"a", "ab", true}, {"a/b", "a", true}, {"a", "a/b", false}, {"", "a", false}, {"a", "", false}, {"a", "..", false}} {
		if err := ufs.CheckRename(test.from, test.to); (err == nil) != test.ok {
			t.Errorf("%q to %q: %v", test.from, test.to, err)
		}
	}
	for _, test := range []struct {
		fromDir, toDir, full bool
		kind                 dfs.Kind
	}{{false, false, false, 0}, {true, true, false, 0}, {false, true, false, dfs.IsDirectory}, {true, false, false, dfs.NotDirectory}, {true, true, true, dfs.NotEmpty}} {
		if err := ufs.CheckReplace(test.fromDir, test.toDir, test.full, "x"); (err == nil) != (test.kind == 0) || (err != nil && !dfs.IsKind(err, test.kind)) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestStaleReaderStaysStale: a reader that found another content when it opened the object anew never gives a byte of it,
// however often it is asked.
func TestStaleReaderStaysStale(t *testing.T) {
	inner := mem.New(h)
	ufstest.Put(t.Context(), t, inner, "o", []byte("first content"))
	s := ufs.Retry(h, &breakOnce{Store: inner}, ufs.RetryOptions{Base: time.Microsecond})
	r, err := s.Open(t.Context(), "o", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	ufstest.Put(t.Context(), t, inner, "o", []byte("other content"))
	for range 3 {
		if n, err := r.Read(make([]byte, 10)); n != 0 || !dfs.IsKind(err, dfs.Stale) {
			t.Errorf("%d bytes of another content, %v", n, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestMetricsBuckets checks where latencies are counted, and that a clock that goes back does no harm.
func TestMetricsBuckets(t *testing.T) {
	for _, test := range []struct {
		took   time.Duration
		bucket int
	}{{0, 0}, {999 * time.Nanosecond, 0}, {time.Microsecond, 1}, {3 * time.Microsecond, 2}, {time.Millisecond, 10}, {time.Second, 20}, {1000 * time.Hour, ufs.LatencyBuckets - 1}} {
		virtual(t, func(v *hosttest.Virtual) {
			var c ufs.Counters
			s := ufs.Metrics(v, slow{mem.New(v), v, test.took}, &c)
			_, _ = s.Stat(context.Background(), "")
			got := c.Snapshot()[ufs.OpStat]
			if got.Latency[test.bucket] != 1 || got.Total != test.took || got.Op.String() != "stat" {
				t.Errorf("%v: %+v", test.took, got)
			}
		})
	}
}

type slow struct {
	ufs.Store
	v    *hosttest.Virtual
	took time.Duration
}

func (s slow) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	_ = s.v.Sleep(ctx, s.took)
	return s.Store.Stat(ctx, path)
}
