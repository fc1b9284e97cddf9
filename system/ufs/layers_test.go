package ufs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// operations are one call of each sort, for wrappers that must treat them alike. They need "o" and "d/o".
var operations = []struct {
	name    string
	changes bool
	call    func(ctx context.Context, s ufs.Store) error
}{
	{"stat", false, func(ctx context.Context, s ufs.Store) error { _, err := s.Stat(ctx, "o"); return err }},
	{"list", false, func(ctx context.Context, s ufs.Store) error {
		for _, err := range s.List(ctx, "d", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"read", false, func(ctx context.Context, s ufs.Store) error {
		r, err := s.Open(ctx, "o", 0, 100)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(r)
		return errors.Join(err, r.Close())
	}},
	{"write", true, func(ctx context.Context, s ufs.Store) error {
		w, err := s.Create(ctx, "new/o", 0o644)
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err = w.Write([]byte("0123456789")); err == nil {
			_, err = w.Commit(ctx)
		}
		return err
	}},
	{"remove", true, func(ctx context.Context, s ufs.Store) error { return s.Remove(ctx, "o") }},
	{"rename", true, func(ctx context.Context, s ufs.Store) error { return s.Rename(ctx, "o", "p") }},
	{"mkdir", true, func(ctx context.Context, s ufs.Store) error { return s.Mkdir(ctx, "m/n", 0o755) }},
	{"set attributes", true, func(ctx context.Context, s ufs.Store) error {
		setter, ok := ufs.As[ufs.AttrSetter](s)
		if !ok {
			return errors.New("no AttrSetter")
		}
		mode := uint32(0o600)
		return setter.SetAttr(ctx, "o", &mode, nil, nil, nil)
	}},
}

func filled(v *hosttest.Virtual, t *testing.T) *mem.Store {
	s := mem.New(v)
	ufstest.Put(context.Background(), t, s, "o", []byte("content"))
	ufstest.Put(context.Background(), t, s, "d/o", []byte("content"))
	return s
}

// names is what the whole store lists.
func names(t *testing.T, s ufs.Store, dir string) (all string) {
	for e, err := range s.List(context.Background(), dir, "") {
		if err != nil {
			t.Error(err)
		}
		if all += ufs.Join(dir, e.Name) + " "; e.Dir {
			all += names(t, s, ufs.Join(dir, e.Name))
		}
	}
	return all
}

// TestReadOnlyTable: each operation that changes anything is refused before the store is asked, with words that say what to
// do; every other one passes.
func TestReadOnlyTable(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		inner := filled(v, t)
		var c ufs.Counters
		s := ufs.ReadOnly(ufs.Metrics(v, inner, &c))
		before := names(t, inner, "")
		for _, op := range operations {
			err := op.call(context.Background(), s)
			if op.changes && (!dfs.IsKind(err, dfs.ReadOnly) || !strings.Contains(err.Error(), "mount it again")) || !op.changes && err != nil {
				t.Errorf("%s: %v", op.name, err)
			}
		}
		if after := names(t, inner, ""); after != before {
			t.Errorf("%s became %s", before, after)
		}
		for _, op := range c.Snapshot() {
			if asked := op.Calls > 0; asked != (op.Op == ufs.OpStat || op.Op == ufs.OpList || op.Op == ufs.OpRead) {
				t.Errorf("%v: the store was asked %d times", op.Op, op.Calls)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestThrottleEach: each operation pays for a request; over MaxWait each is ResourceExhausted and does nothing; a caller whose
// time ends while it waits hears that, and its turn does nothing either.
func TestThrottleEach(t *testing.T) {
	for _, op := range operations {
		if op.name == "set attributes" {
			continue // masters set attributes, which are not worth a turn
		}
		t.Run(op.name, func(t *testing.T) {
			virtual(t, func(v *hosttest.Virtual) {
				inner := filled(v, t)
				before := names(t, inner, "")
				s := ufs.Throttle(v, inner, ufs.ThrottleOptions{RequestsPerSecond: .1, MaxWait: 12 * time.Second})
				for i := 0; ; i++ { // spends what may come at once
					_, err := s.Stat(context.Background(), "o")
					if dfs.IsKind(err, dfs.ResourceExhausted) {
						break
					}
					ctx, cancel := v.WithTimeout(context.Background(), time.Second)
					if err := op.call(ctx, s); i > 0 && !dfs.IsKind(err, dfs.DeadlineExceeded) && !dfs.IsKind(err, dfs.ResourceExhausted) {
						t.Errorf("while it waits for its turn: %v", err)
					}
					cancel()
					if i > 20 {
						t.Fatal("nothing is ever refused")
					}
				}
				began := v.Now()
				if err := op.call(context.Background(), s); !dfs.IsKind(err, dfs.ResourceExhausted) {
					t.Errorf("over MaxWait: %v", err)
				}
				if v.Now() != began {
					t.Errorf("a refusal took %v", v.Now().Sub(began))
				}
				if after := names(t, inner, ""); after != before && op.name != "write" && op.name != "mkdir" && op.name != "remove" && op.name != "rename" {
					t.Errorf("%s became %s", before, after)
				}
				_ = v.Sleep(context.Background(), time.Hour)
				if err := op.call(context.Background(), s); err != nil && !dfs.IsKind(err, dfs.NotFound) {
					t.Errorf("an hour later: %v", err)
				}
			})
		})
	}
}

// TestClockSetBack: a clock that is set back by a day makes nobody wait for a day.
func TestClockSetBack(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		clock := &skewed{Virtual: v}
		s := ufs.Throttle(clock, filled(v, t), ufs.ThrottleOptions{RequestsPerSecond: 10, MaxWait: time.Minute})
		stat := func() {
			if _, err := s.Stat(context.Background(), "o"); err != nil {
				t.Error(err)
			}
		}
		for range 15 {
			stat()
		}
		clock.skew = -24 * time.Hour
		began := v.Now()
		for range 10 {
			stat()
		}
		if took := v.Now().Sub(began); took > 3*time.Second {
			t.Errorf("ten calls took %v", took)
		}
	})
}

type skewed struct {
	*hosttest.Virtual
	skew time.Duration
}

func (s *skewed) Now() time.Time { return s.Virtual.Now().Add(s.skew) }

// order notes which layer a call meets.
type order struct {
	ufs.Store
	name string
	seen *[]string
	err  error
}

func (o order) Unwrap() ufs.Store { return o.Store }

func (o order) Stat(ctx context.Context, path string) (ufs.Entry, error) {
	*o.seen = append(*o.seen, o.name)
	if o.err != nil {
		return ufs.Entry{}, o.err
	}
	return o.Store.Stat(ctx, path)
}

// TestUsualOrder composes the wrappers as the package says: each attempt is counted and paid for, the kind changes only when
// Retry has given up, and what each layer adds is found through all of them.
func TestUsualOrder(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		var c ufs.Counters
		var seen []string
		down := order{Store: filled(v, t), name: "driver", seen: &seen, err: dfs.Errorf(dfs.Unavailable, "stat", "o", "down")}
		s := ufs.ReadOnly(ufs.Final(ufs.Retry(v, ufs.Throttle(v, ufs.Metrics(v, down, &c), ufs.ThrottleOptions{RequestsPerSecond: 1}),
			ufs.RetryOptions{Attempts: 4, Base: time.Millisecond})))
		began := v.Now()
		_, err := s.Stat(context.Background(), "o")
		if !dfs.IsKind(err, dfs.UnderStore) || !strings.Contains(err.Error(), "down") {
			t.Errorf("got %v", err)
		}
		if n := c.Snapshot()[ufs.OpStat]; n.Calls != 4 || n.Errors[dfs.Unavailable] != 4 || len(seen) != 4 {
			t.Errorf("%d attempts counted, the driver saw %v", n.Calls, seen)
		}
		if took := v.Now().Sub(began); took < 2*time.Second || took > 4*time.Second { // one attempt or two of a burst are free
			t.Errorf("four attempts at one a second took %v", took)
		}
		if _, ok := ufs.As[ufs.AttrSetter](s); !ok {
			t.Error("no AttrSetter in all of that")
		}
		if _, ok := ufs.As[ufs.SkipCounter](s); ok {
			t.Error("mem counts nothing")
		}
	})
}

// flaky is a writer and a reader that fail with the kinds of a list, one a call, taking part of what they are given.
type flaky struct {
	ufs.Store
	kinds *[]dfs.Kind
}

func (f flaky) next(op string) error {
	if len(*f.kinds) == 0 {
		return nil
	}
	kind := (*f.kinds)[0]
	*f.kinds = (*f.kinds)[1:]
	if kind == 0 {
		return nil
	}
	return dfs.Errorf(kind, op, "o", "as the test says")
}

func (f flaky) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	w, err := f.Store.Create(ctx, path, mode)
	return flakyWriter{w, f}, err
}

type flakyWriter struct {
	ufs.Writer
	f flaky
}

func (w flakyWriter) Write(p []byte) (int, error) {
	if err := w.f.next("write"); err != nil {
		n, _ := w.Writer.Write(p[:len(p)/3])
		return n, err
	}
	return w.Writer.Write(p)
}

func (w flakyWriter) Commit(ctx context.Context) (ufs.Entry, error) {
	if err := w.f.next("commit"); err != nil {
		return ufs.Entry{}, err
	}
	return w.Writer.Commit(ctx)
}

func (f flaky) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	return func(yield func(ufs.Entry, error) bool) {
		if err := f.next("list"); err != nil {
			yield(ufs.Entry{}, err)
			return
		}
		f.Store.List(ctx, dir, after)(yield)
	}
}

// TestRetryWriter repeats what was not taken and nothing else, for as many failures as are allowed in a row; another kind
// ends it at once. The object is whole or absent.
func TestRetryWriter(t *testing.T) {
	const u, full = dfs.Unavailable, dfs.NoSpace
	for _, test := range []struct {
		name  string
		kinds []dfs.Kind // of the calls of Write and Commit
		want  dfs.Kind
	}{
		{"sound", nil, 0},
		{"a write fails twice", []dfs.Kind{u, u}, 0},
		{"each write once", []dfs.Kind{u, 0, u, 0, u, 0, u}, 0},
		{"a commit twice", []dfs.Kind{0, 0, 0, u, u}, 0},
		{"a write too often", []dfs.Kind{u, u, u}, u},
		{"a commit too often", []dfs.Kind{0, 0, 0, u, u, u}, u},
		{"another kind", []dfs.Kind{u, full}, full},
		{"another kind at the commit", []dfs.Kind{0, 0, 0, full}, full},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(v *hosttest.Virtual) {
				inner, kinds := mem.New(v), test.kinds
				s := ufs.Retry(v, flaky{inner, &kinds}, ufs.RetryOptions{Attempts: 3})
				w, err := s.Create(context.Background(), "o", 0o644)
				if err != nil {
					t.Error(err)
					return
				}
				whole := ""
				for i := range 3 {
					piece := strings.Repeat(fmt.Sprint(i), 100)
					n := 0
					if n, err = w.Write([]byte(piece)); err != nil {
						break
					}
					if n != len(piece) {
						t.Errorf("%d bytes taken without an error", n)
					}
					whole += piece
				}
				if err == nil {
					_, err = w.Commit(context.Background())
				}
				w.Abort()
				if test.want == 0 && err != nil || test.want != 0 && !dfs.IsKind(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if _, statErr := inner.Stat(context.Background(), "o"); (statErr == nil) != (test.want == 0) {
					t.Errorf("afterwards: %v", statErr)
				}
				if test.want == 0 {
					if got := ufstest.Get(context.Background(), t, inner, "o", 0, 1000); string(got) != whole {
						t.Errorf("it holds %q", got)
					}
				}
			})
		})
	}
}

// TestRetryListEnds: a consumer that has enough ends a listing, also between two failures; one that fails too often ends with
// the error and no entry twice.
func TestRetryListEnds(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		inner := mem.New(v)
		for i := range 5 {
			ufstest.Put(context.Background(), t, inner, fmt.Sprint("d/", i), nil)
		}
		kinds := []dfs.Kind{dfs.Unavailable, dfs.Unavailable}
		s := ufs.Retry(v, flaky{inner, &kinds}, ufs.RetryOptions{Attempts: 3})
		seen := 0
		for e, err := range s.List(context.Background(), "d", "0") {
			if err != nil || e.Name != fmt.Sprint(seen+1) {
				t.Errorf("entry %q, %v", e.Name, err)
			}
			if seen++; seen == 2 {
				break
			}
		}
		kinds = []dfs.Kind{dfs.Unavailable, dfs.Unavailable, dfs.Unavailable}
		var last error
		for e, err := range s.List(context.Background(), "d", "") {
			if last = err; err == nil {
				t.Errorf("entry %q", e.Name)
			}
		}
		if seen != 2 || !dfs.IsKind(last, dfs.Unavailable) {
			t.Errorf("%d entries, then %v", seen, last)
		}
	})
}

// TestMetricsStreams counts streams at their end, once, with their bytes and the error that ended them.
func TestMetricsStreams(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		for _, test := range []struct {
			name   string
			kinds  []dfs.Kind
			finish func(w ufs.Writer)
			bytes  int64
			errors map[dfs.Kind]int64
		}{
			{"committed", nil, func(w ufs.Writer) { _, _ = w.Commit(context.Background()); w.Abort(); w.Abort() }, 9, nil},
			{"given up", nil, func(w ufs.Writer) { w.Abort(); w.Abort() }, 9, nil},
			{"full", []dfs.Kind{dfs.NoSpace}, func(w ufs.Writer) { w.Abort() }, 3, map[dfs.Kind]int64{dfs.NoSpace: 1}},
			{"refused at the end", []dfs.Kind{0, dfs.UnderStore}, func(w ufs.Writer) { _, _ = w.Commit(context.Background()); w.Abort() }, 9,
				map[dfs.Kind]int64{dfs.UnderStore: 1}},
		} {
			var c ufs.Counters
			kinds := test.kinds
			s := ufs.Metrics(v, flaky{mem.New(v), &kinds}, &c)
			w, err := s.Create(context.Background(), "o", 0)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = w.Write([]byte("123456789"))
			_ = v.Sleep(context.Background(), time.Second)
			test.finish(w)
			got := c.Snapshot()[ufs.OpWrite]
			if got.Calls != 1 || got.Bytes != test.bytes || got.Total != time.Second || fmt.Sprint(got.Errors) != fmt.Sprint(orEmpty(test.errors)) {
				t.Errorf("%s: %+v", test.name, got)
			}
		}
		var c ufs.Counters
		s := ufs.Metrics(v, filled(v, t), &c)
		for _, op := range operations[:3] {
			if err := op.call(context.Background(), s); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Open(context.Background(), "missing", 0, 1); err == nil {
			t.Error("opened")
		}
		if got := c.Snapshot()[ufs.OpRead]; got.Calls != 2 || got.Bytes != 7 || got.Errors[dfs.NotFound] != 1 {
			t.Errorf("reads: %+v", got)
		}
	})
}

func orEmpty(m map[dfs.Kind]int64) map[dfs.Kind]int64 {
	if m == nil {
		return map[dfs.Kind]int64{}
	}
	return m
}
