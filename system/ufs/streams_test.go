package ufs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// breaking is a store whose readers end as broken says, and which counts the ones that are open.
type breaking struct {
	ufs.Store
	broken       func() error // asked before each read; nil lets it through
	withBytes    bool         // the error comes beside the bytes of its read
	opens, alive int
}

func (b *breaking) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	r, err := b.Store.Open(ctx, path, offset, length)
	if err != nil {
		return nil, err
	}
	b.opens++
	b.alive++
	return &breakingReader{ReadCloser: r, b: b}, nil
}

type breakingReader struct {
	io.ReadCloser
	b      *breaking
	closed bool
}

func (r *breakingReader) Fingerprint() string { return ufs.FingerprintOf(r.ReadCloser) }

func (r *breakingReader) Read(p []byte) (n int, err error) {
	if err = r.b.broken(); err == nil {
		return r.ReadCloser.Read(p)
	}
	if r.b.withBytes {
		n, _ = r.ReadCloser.Read(p)
	}
	return n, err
}

func (r *breakingReader) Close() error {
	if !r.closed {
		r.closed = true
		r.b.alive--
	}
	return r.ReadCloser.Close()
}

// TestRetryReaderAtRandom: a stream that breaks anywhere, with bytes or without, reads as one that does not, of any range,
// and closes every body that it opened.
func TestRetryReaderAtRandom(t *testing.T) {
	content := make([]byte, 4000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	for seed := range uint64(30) {
		virtual(t, func(v *hosttest.Virtual) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			b := &breaking{Store: mem.New(v), withBytes: seed%2 == 0, broken: func() error {
				if rnd.IntN(3) > 0 {
					return nil
				}
				return dfs.Errorf(dfs.Unavailable, "read", "o", "broken")
			}}
			ufstest.Put(context.Background(), t, b.Store, "o", content)
			from, length := rnd.Int64N(4100), rnd.Int64N(5000)
			r, err := ufs.Retry(v, b, ufs.RetryOptions{Attempts: 40, Budget: 1e6}).Open(context.Background(), "o", from, length)
			if err != nil {
				t.Error(err)
				return
			}
			var got bytes.Buffer
			for err == nil {
				p := make([]byte, 1+rnd.IntN(200))
				var n int
				n, err = r.Read(p)
				got.Write(p[:n])
			}
			start := min(from, int64(len(content)))
			if want := content[start:min(start+length, int64(len(content)))]; err != io.EOF || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("seed %d: %d bytes of %d+%d, %v", seed, got.Len(), from, length, err)
			}
			if err := r.Close(); err != nil || b.alive != 0 {
				t.Errorf("seed %d: %d of %d bodies are left open, %v", seed, b.alive, b.opens, err)
			}
		})
	}
}

// TestRetryReaderEnds: which failures of a stream are final, after how many openings, and with which kind.
func TestRetryReaderEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  dfs.Kind
		limit time.Duration // of Open's context; 0: none
		opens int
	}{
		{"down for good", dfs.Unavailable, 0, 3},
		{"another kind", dfs.PermissionDenied, 0, 1},
		{"not retried by anybody", dfs.UnderStore, 0, 1},
		{"the caller's time ends in the first wait", dfs.Unavailable, time.Millisecond, 1},
	} {
		virtual(t, func(v *hosttest.Virtual) {
			b := &breaking{Store: filled(v, t), broken: func() error { return dfs.Errorf(test.kind, "read", "o", "as the test says") }}
			ctx := context.Background()
			if test.limit > 0 {
				limited, cancel := v.WithTimeout(ctx, test.limit)
				defer cancel()
				ctx = limited
			}
			r, err := ufs.Retry(v, b, ufs.RetryOptions{Attempts: 3}).Open(ctx, "o", 0, 7)
			if err != nil {
				t.Error(err)
				return
			}
			n, err := r.Read(make([]byte, 7))
			if n != 0 || !dfs.IsKind(err, test.kind) || b.opens != test.opens {
				t.Errorf("%s: %d bytes, %v, opened %d times, want %d", test.name, n, err, b.opens, test.opens)
			}
			_ = r.Close()
			if b.alive != 0 {
				t.Errorf("%s: %d bodies are left open", test.name, b.alive)
			}
		})
	}
}

// TestFaultsBeforeAndAfter: an error before a call means that the store never saw it, a lost reply that it did; both are
// Unavailable, and reads lose nothing either way.
func TestFaultsBeforeAndAfter(t *testing.T) {
	for _, op := range operations {
		if op.name == "set attributes" {
			continue
		}
		for _, after := range []bool{false, true} {
			virtual(t, func(v *hosttest.Virtual) {
				inner := filled(v, t)
				before := names(t, inner, "")
				o := ufs.FaultOptions{ErrorRate: 1}
				if after {
					o = ufs.FaultOptions{LostReplyRate: 1}
				}
				err := op.call(context.Background(), ufs.Faults(v, inner, o))
				if !dfs.IsKind(err, dfs.Unavailable) {
					t.Errorf("%s, after %v: %v", op.name, after, err)
				}
				// A create whose reply is lost has made a writer that nobody has: it was aborted.
				changed := op.changes && after && op.name != "write"
				if (names(t, inner, "") != before) != changed {
					t.Errorf("%s, after %v: %s became %s", op.name, after, before, names(t, inner, ""))
				}
			})
		}
	}
}

// TestFaultLatency: each call takes between the two bounds, also where they are the same or the wrong way round, and ends with
// its caller's time and without reaching the store.
func TestFaultLatency(t *testing.T) {
	for _, test := range []struct{ least, most, from, to time.Duration }{
		{0, time.Second, 0, time.Second}, {time.Second, time.Second, time.Second, time.Second},
		{time.Second, 2 * time.Second, time.Second, 2 * time.Second}, {time.Second, time.Millisecond, time.Second, time.Second}, {time.Second, 0, 0, 0},
	} {
		virtual(t, func(v *hosttest.Virtual) {
			s := ufs.Faults(v, filled(v, t), ufs.FaultOptions{Seed: 3, LatencyMin: test.least, LatencyMax: test.most})
			for range 50 {
				began := v.Now()
				_, err := s.Stat(context.Background(), "o")
				if took := v.Now().Sub(began); err != nil || took < test.from || took > test.to {
					t.Errorf("%v to %v: %v, %v", test.least, test.most, took, err)
				}
			}
		})
	}
	virtual(t, func(v *hosttest.Virtual) {
		inner := filled(v, t)
		s := ufs.Faults(v, inner, ufs.FaultOptions{LatencyMin: time.Hour, LatencyMax: time.Hour})
		ctx, cancel := v.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Remove(ctx, "o"); !dfs.IsKind(err, dfs.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := inner.Stat(context.Background(), "o"); err != nil {
			t.Errorf("it was removed all the same: %v", err)
		}
	})
}

// TestFinalStreams: in the middle of a stream as well nothing is Unavailable through Final, the cause stays in the chain, and
// bytes that came with the error are not lost.
func TestFinalStreams(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		ctx := context.Background()
		b := &breaking{Store: filled(v, t), withBytes: true, broken: func() error { return dfs.Errorf(dfs.Unavailable, "read", "o", "broken") }}
		r, err := ufs.Final(b).Open(ctx, "o", 0, 7)
		if err != nil {
			t.Error(err)
			return
		}
		n, err := r.Read(make([]byte, 4))
		var e *dfs.Error
		if n != 4 || !dfs.IsKind(err, dfs.UnderStore) || !errors.As(err, &e) || e.Op != "read" || e.Path != "o" || !errors.Is(err, &dfs.Error{Kind: dfs.Unavailable}) {
			t.Errorf("%d bytes, %v", n, err)
		}
		for _, kinds := range [][]dfs.Kind{{dfs.Unavailable}, {0, dfs.Unavailable}, {dfs.NoSpace}, {0, dfs.NoSpace}} {
			left := kinds
			w, err := ufs.Final(flaky{mem.New(v), &left}).Create(ctx, "o", 0)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err = w.Write([]byte("123")); err == nil {
				_, err = w.Commit(ctx)
			}
			w.Abort()
			want := kinds[len(kinds)-1]
			if want == dfs.Unavailable {
				want = dfs.UnderStore
			}
			if !dfs.IsKind(err, want) {
				t.Errorf("%v: %v, want %v", kinds, err, want)
			}
		}
	})
}

// TestFingerprintThroughLayers: every wrapper passes on which content a reader reads, since a worker would ask the store for
// it otherwise, and a reader without one is told apart.
func TestFingerprintThroughLayers(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		inner := filled(v, t)
		e, err := inner.Stat(context.Background(), "o")
		if err != nil {
			t.Error(err)
		}
		layers := map[string]ufs.Store{
			"metrics": ufs.Metrics(v, inner, &ufs.Counters{}), "throttle": ufs.Throttle(v, inner, ufs.ThrottleOptions{}), "retry": ufs.Retry(v, inner, ufs.RetryOptions{}),
			"final": ufs.Final(inner), "read-only": ufs.ReadOnly(inner), "faults": ufs.Faults(v, inner, ufs.FaultOptions{}),
		}
		all := ufs.Store(inner)
		for _, wrap := range []func(ufs.Store) ufs.Store{
			func(s ufs.Store) ufs.Store { return ufs.Metrics(v, s, &ufs.Counters{}) }, func(s ufs.Store) ufs.Store { return ufs.Throttle(v, s, ufs.ThrottleOptions{}) },
			func(s ufs.Store) ufs.Store { return ufs.Retry(v, s, ufs.RetryOptions{}) }, ufs.Final, ufs.ReadOnly,
		} {
			all = wrap(all)
		}
		layers["all"] = all
		for name, s := range layers {
			r, err := s.Open(context.Background(), "o", 0, 7)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := ufs.FingerprintOf(r); got == "" || got != e.Fingerprint {
				t.Errorf("%s: fingerprint %q, want %q", name, got, e.Fingerprint)
			}
			_ = r.Close()
			if store, ok := ufs.As[*mem.Store](s); !ok || store != inner {
				t.Errorf("%s: the driver is not found through it", name)
			}
		}
		if got := ufs.FingerprintOf(bytes.NewReader(nil)); got != "" {
			t.Errorf("a reader that knows nothing has %q", got)
		}
	})
}

// TestThrottledListing: a listing pays once for each thousand entries, and one that would wait for too long ends with an error
// behind what it has given.
func TestThrottledListing(t *testing.T) {
	for _, test := range []struct {
		entries int
		took    time.Duration
	}{{998, 0}, {1001, 0}, {1999, 0}, {2500, time.Second}, {3500, 2 * time.Second}} {
		virtual(t, func(v *hosttest.Virtual) {
			inner := mem.New(v)
			for i := range test.entries {
				if err := inner.Mkdir(context.Background(), fmt.Sprintf("%05d", i), 0); err != nil {
					t.Error(err)
				}
			}
			list := func(s ufs.Store) (n int, last error) {
				for _, err := range s.List(context.Background(), "", "") {
					if last = err; err == nil {
						n++
					}
				}
				return n, last
			}
			began := v.Now()
			n, err := list(ufs.Throttle(v, inner, ufs.ThrottleOptions{RequestsPerSecond: 1}))
			// A burst of one second's worth is free: the first request and the one behind it.
			if took := v.Now().Sub(began).Round(time.Millisecond); n != test.entries || err != nil || took != test.took {
				t.Errorf("%d entries: %d in %v, want %v; %v", test.entries, n, took, test.took, err)
			}
			n, err = list(ufs.Throttle(v, inner, ufs.ThrottleOptions{RequestsPerSecond: .01, MaxWait: time.Second}))
			if refused := test.entries >= 1000; refused != dfs.IsKind(err, dfs.ResourceExhausted) || refused && n != 999 {
				t.Errorf("%d entries at nearly nothing: %d, then %v", test.entries, n, err)
			}
		})
	}
}

// aborts counts the writers that were aborted.
type aborts struct {
	ufs.Store
	n int
}

func (a *aborts) Create(ctx context.Context, path string, mode uint32) (ufs.Writer, error) {
	w, err := a.Store.Create(ctx, path, mode)
	return abortedWriter{w, a}, err
}

type abortedWriter struct {
	ufs.Writer
	a *aborts
}

func (w abortedWriter) Abort() {
	w.a.n++
	w.Writer.Abort()
}

// TestLostStreamsAreGivenBack: a stream whose opening took effect and was not heard of has nobody to end it, so Faults does.
func TestLostStreamsAreGivenBack(t *testing.T) {
	virtual(t, func(v *hosttest.Virtual) {
		a := &aborts{Store: filled(v, t)}
		b := &breaking{Store: a, broken: func() error { return nil }}
		s := ufs.Faults(v, b, ufs.FaultOptions{LostReplyRate: 1})
		if w, err := s.Create(context.Background(), "n", 0); w != nil || !dfs.IsKind(err, dfs.Unavailable) || a.n != 1 {
			t.Errorf("create: %v, %v, %d aborted", w, err, a.n)
		}
		if r, err := s.Open(context.Background(), "o", 0, 7); r != nil || !dfs.IsKind(err, dfs.Unavailable) || b.opens != 1 || b.alive != 0 {
			t.Errorf("open: %v, %v, %d of %d are left open", r, err, b.alive, b.opens)
		}
	})
}
