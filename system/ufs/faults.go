package ufs

import (
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// FaultOptions say what Faults does to a store. Rates are between 0 and 1.
type FaultOptions struct {
	Seed uint64
	// ErrorRate of calls fail before the store sees them; LostReplyRate of them after it did them. Both say Unavailable.
	ErrorRate, LostReplyRate float64
	// ShortReadRate of reads give only a part; BrokenReadRate of them fail in the middle of a stream.
	ShortReadRate, BrokenReadRate float64
	LatencyMin, LatencyMax        time.Duration // of each call
}

// Faults makes s fail in a way that Seed decides, for tests and the simulator. The same calls in the same order meet the
// same faults.
// It goes inside of Retry, to show that retries settle what it breaks; around Retry its errors reach the caller.
// It keeps the contract of Store: a caller that cannot live with these faults has a bug.
func Faults(h host.Host, s Store, o FaultOptions) Store {
	return &faults{Store: s, h: h, o: o, r: rand.New(rand.NewPCG(o.Seed, 0xf0bebab))}
}

// faults draws every chance from one stream, under mu: calls that run at the same time draw in the order in which they
// get there, so only callers that are serial meet the same faults again.
type faults struct {
	Store
	h host.Host
	o FaultOptions

	mu sync.Mutex
	r  *rand.Rand
}

func (f *faults) Unwrap() Store { return f.Store }

// chance draws once, also at rate 0: that a fault is switched off does not shift the others.
func (f *faults) chance(rate float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.Float64() < rate
}

func (f *faults) below(n int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.Int64N(n)
}

func injected(op, path, when string) error {
	return dfs.Errorf(dfs.Unavailable, op, path, "injected fault %s", when)
}

// around calls do with the faults of one call.
// A fault before the call means that the store never saw it; one after it, that it took effect and the caller does not
// know. Latency is spent first, and ends with ctx.
func (f *faults) around(ctx context.Context, op, path string, do func() error) error {
	if f.o.LatencyMax > 0 {
		wait := f.o.LatencyMin + time.Duration(f.below(int64(max(f.o.LatencyMax-f.o.LatencyMin, 0))+1))
		if err := f.h.Sleep(ctx, wait); err != nil {
			return dfs.Wrap(err, op, path)
		}
	}
	if err := ctx.Err(); err != nil {
		return dfs.Wrap(err, op, path) // a call that is over meets no fault
	}
	if f.chance(f.o.ErrorRate) {
		return injected(op, path, "before the call")
	}
	err := do()
	if err == nil && f.chance(f.o.LostReplyRate) {
		return injected(op, path, "after the call")
	}
	return err
}

func (f *faults) Stat(ctx context.Context, path string) (e Entry, err error) {
	err = f.around(ctx, "stat", path, func() error { e, err = f.Store.Stat(ctx, path); return err })
	return e, err
}

// List fails before any of its entries.
func (f *faults) List(ctx context.Context, dir, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := f.around(ctx, "list", dir, func() error { return nil }); err != nil {
			yield(Entry{}, err)
			return
		}
		for e, err := range f.Store.List(ctx, dir, after) {
			if err == nil && f.chance(f.o.BrokenReadRate) {
				yield(Entry{}, injected("list", dir, "between entries"))
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (f *faults) Open(ctx context.Context, path string, offset, length int64) (r io.ReadCloser, err error) {
	err = f.around(ctx, "open", path, func() error { r, err = f.Store.Open(ctx, path, offset, length); return err })
	if err != nil {
		if r != nil {
			_ = r.Close()
		}
		return nil, err
	}
	return &faultyReader{ReadCloser: r, f: f, path: path}, nil
}

// faultyReader gives short reads, which io.Reader allows and callers forget, and breaks streams without having consumed
// anything: whoever opens the object at the same byte again has missed nothing.
type faultyReader struct {
	io.ReadCloser
	f    *faults
	path string
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if r.f.chance(r.f.o.BrokenReadRate) {
		return 0, injected("read", r.path, "in the stream")
	}
	if len(p) > 1 && r.f.chance(r.f.o.ShortReadRate) {
		p = p[:1+r.f.below(int64(len(p)-1))]
	}
	return r.ReadCloser.Read(p)
}

// Fingerprint implements Fingerprinted.
func (r *faultyReader) Fingerprint() string { return FingerprintOf(r.ReadCloser) }

// Create aborts the writer that a lost reply leaves behind, as a server does by itself when its client is gone.
func (f *faults) Create(ctx context.Context, path string, mode uint32) (w Writer, err error) {
	err = f.around(ctx, "create", path, func() error { w, err = f.Store.Create(ctx, path, mode); return err })
	if err != nil {
		if w != nil {
			w.Abort()
		}
		return nil, err
	}
	return &faultyWriter{Writer: w, f: f, path: path}, nil
}

// committed is what a Commit whose reply was lost has done; nil until one has.
type faultyWriter struct {
	Writer
	f         *faults
	path      string
	committed *Entry
}

// Write takes half of p and fails, which is what a caller that repeats it has to allow for (see Writer).
func (w *faultyWriter) Write(p []byte) (int, error) {
	if w.f.chance(w.f.o.ErrorRate) {
		n, err := w.Writer.Write(p[:len(p)/2])
		if err == nil {
			err = injected("write", w.path, "in the stream")
		}
		return n, err
	}
	return w.Writer.Write(p)
}

// Commit keeps the contract of a lost reply: a repeated call learns what the first one did.
func (w *faultyWriter) Commit(ctx context.Context) (e Entry, err error) {
	if w.committed != nil {
		return *w.committed, nil
	}
	err = w.f.around(ctx, "commit", w.path, func() error {
		if e, err = w.Writer.Commit(ctx); err == nil {
			w.committed = &e
		}
		return err
	})
	return e, err
}

func (f *faults) Remove(ctx context.Context, path string) error {
	return f.around(ctx, "remove", path, func() error { return f.Store.Remove(ctx, path) })
}

func (f *faults) Rename(ctx context.Context, from, to string) error {
	return f.around(ctx, "rename", from, func() error { return f.Store.Rename(ctx, from, to) })
}

func (f *faults) Mkdir(ctx context.Context, path string, mode uint32) error {
	return f.around(ctx, "mkdir", path, func() error { return f.Store.Mkdir(ctx, path, mode) })
}
