package ufs_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

var h = host.NewReal()

// TestConformance holds every wrapper to the contract; Retry over a store that fails a tenth of everything.
func TestConformance(t *testing.T) {
	seed := uint64(0)
	wrappers := map[string]func(ufs.Store) ufs.Store{
		"Metrics": func(s ufs.Store) ufs.Store { return ufs.Metrics(h, s, &ufs.Counters{}) },
		"Throttle": func(s ufs.Store) ufs.Store {
			return ufs.Throttle(h, s, ufs.ThrottleOptions{RequestsPerSecond: 1e6, BytesPerSecond: 1e12})
		},
		"RetryOverFaults": func(s ufs.Store) ufs.Store {
			seed++
			s = ufs.Faults(h, s, ufs.FaultOptions{Seed: seed, ErrorRate: .1, LostReplyRate: .05, ShortReadRate: .3, BrokenReadRate: .02})
			return ufs.Retry(h, s, ufs.RetryOptions{Attempts: 12, Base: time.Microsecond, Budget: 1e6})
		},
		"FaultsWithoutFaults": func(s ufs.Store) ufs.Store { return ufs.Faults(h, s, ufs.FaultOptions{}) },
	}
	for name, wrap := range wrappers {
		t.Run(name, func(t *testing.T) {
			ufstest.Run(t, func(t *testing.T) ufs.Store { return wrap(mem.New(h)) }, ufstest.Options{Retried: name == "RetryOverFaults",
				Model: func() ufs.Store { return mem.New(h) }})
		})
	}
}

// failing is a store of which everything is Unavailable.
type failing struct {
	ufs.Store
	calls int
}

func (f *failing) Stat(context.Context, string) (ufs.Entry, error) {
	f.calls++
	return ufs.Entry{}, dfs.Errorf(dfs.Unavailable, "stat", "x", "down")
}

// TestRetryBounds checks the attempts of one call, and that a store which stays down is left alone after a while.
func TestRetryBounds(t *testing.T) {
	f := &failing{}
	s := ufs.Retry(h, f, ufs.RetryOptions{Attempts: 3, Base: time.Microsecond, Budget: 20})
	if _, err := s.Stat(t.Context(), "x"); !dfs.IsKind(err, dfs.Unavailable) || f.calls != 3 {
		t.Errorf("%d calls, %v", f.calls, err)
	}
	for range 100 {
		_, _ = s.Stat(t.Context(), "x")
	}
	if f.calls > 130 {
		t.Errorf("%d calls for 101: the budget does not hold", f.calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.calls = 0
	s = ufs.Retry(h, f, ufs.RetryOptions{Base: time.Hour})
	if _, err := s.Stat(ctx, "x"); !dfs.IsKind(err, dfs.Unavailable) || f.calls != 1 {
		t.Errorf("a canceled caller: %d calls, %v", f.calls, err)
	}
}

// TestRetryReaderRefusesAnotherContent breaks a read, replaces the object, and expects Stale instead of a mixture.
func TestRetryReaderRefusesAnotherContent(t *testing.T) {
	inner := mem.New(h)
	ufstest.Put(t.Context(), t, inner, "o", []byte("first content"))
	breaking := &breakOnce{Store: inner}
	s := ufs.Retry(h, breaking, ufs.RetryOptions{Base: time.Microsecond})
	r, err := s.Open(t.Context(), "o", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	ufstest.Put(t.Context(), t, inner, "o", []byte("other content"))
	if b, err := io.ReadAll(r); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("read %q, %v", b, err)
	}
}

type breakOnce struct {
	ufs.Store
	broken bool
}

func (b *breakOnce) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	r, err := b.Store.Open(ctx, path, offset, length)
	if err == nil && !b.broken {
		b.broken = true
		return brokenReader{r}, nil
	}
	return r, err
}

type brokenReader struct{ io.ReadCloser }

func (brokenReader) Read([]byte) (int, error) {
	return 0, dfs.Errorf(dfs.Unavailable, "read", "o", "broken")
}
func (r brokenReader) Fingerprint() string { return ufs.FingerprintOf(r.ReadCloser) }

// TestThrottle checks the pace and the bound on waiting.
func TestThrottle(t *testing.T) {
	s := ufs.Throttle(h, mem.New(h), ufs.ThrottleOptions{RequestsPerSecond: 100, MaxWait: 50 * time.Millisecond})
	start := time.Now()
	refused := 0
	for range 120 { // a burst of 100, then 10 ms each
		if _, err := s.Stat(t.Context(), ""); err != nil {
			refused++
		}
	}
	if took := time.Since(start); took < 150*time.Millisecond || refused > 0 {
		t.Errorf("120 requests took %v, %d refused", took, refused)
	}
	s = ufs.Throttle(h, mem.New(h), ufs.ThrottleOptions{BytesPerSecond: 1000, MaxWait: time.Millisecond})
	w, err := s.Create(t.Context(), "o", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err = w.Write(make([]byte, 2000))
	}
	if !dfs.IsKind(err, dfs.ResourceExhausted) {
		t.Errorf("6,000 bytes at 1,000 a second: %v", err)
	}
}

// TestMetrics checks counts, kinds and bytes.
func TestMetrics(t *testing.T) {
	var c ufs.Counters
	s := ufs.Metrics(h, mem.New(h), &c)
	ufstest.Put(t.Context(), t, s, "o", []byte("12345"))
	ufstest.Get(t.Context(), t, s, "o", 0, 3)
	_, _ = s.Stat(t.Context(), "missing")
	got := c.Snapshot()
	if w := got[ufs.OpWrite]; w.Calls != 1 || w.Bytes != 5 || len(w.Errors) != 0 {
		t.Errorf("write: %+v", w)
	}
	if r := got[ufs.OpRead]; r.Calls != 1 || r.Bytes != 3 {
		t.Errorf("read: %+v", r)
	}
	if s := got[ufs.OpStat]; s.Calls != 1 || s.Errors[dfs.NotFound] != 1 {
		t.Errorf("stat: %+v", s)
	}
}

// TestReadOnly checks that everything that changes is refused, by way of As too.
func TestReadOnly(t *testing.T) {
	inner := mem.New(h)
	ufstest.Put(t.Context(), t, inner, "o", []byte("x"))
	s := ufs.ReadOnly(ufs.Metrics(h, inner, &ufs.Counters{}))
	_, createErr := s.Create(t.Context(), "n", 0o644)
	setter, ok := ufs.As[ufs.AttrSetter](s)
	if !ok {
		t.Fatal("no AttrSetter")
	}
	for what, err := range map[string]error{
		"create": createErr, "remove": s.Remove(t.Context(), "o"), "rename": s.Rename(t.Context(), "o", "p"),
		"mkdir": s.Mkdir(t.Context(), "d", 0o755), "set": setter.SetAttr(t.Context(), "o", nil, nil, nil, nil),
	} {
		if !errors.Is(err, &dfs.Error{Kind: dfs.ReadOnly}) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := ufstest.Get(t.Context(), t, s, "o", 0, 10); string(got) != "x" {
		t.Errorf("read %q", got)
	}
}
