package ufs

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// RetryOptions bound what Retry adds to a struggling store. Zero fields take the defaults.
// Attempts bound the failures in a row of one call, and Budget those of all of them; both are in addition to ctx, which always ends the waits.
type RetryOptions struct {
	Attempts int           // of one call, the first included; 5
	Base     time.Duration // the first wait; it doubles each time, with jitter of half; 50 ms
	Max      time.Duration // the longest wait; 2 s
	// Budget is how many failures in excess of successes all calls together may retry; 50. Each failure costs one, each
	// success gives a tenth back, and with half of it gone nothing is retried: a store that is down is not hammered.
	Budget float64
}

// Retry calls s again when it is Unavailable. What a first attempt may have done is settled: a repeated Remove that finds
// nothing has succeeded, a repeated Rename whose source is gone and whose target is there too, a repeated Commit
// publishes once (see Writer). A listing goes on behind the last name, a read at the byte where it broke.
func Retry(h host.Host, s Store, o RetryOptions) Store {
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Base == 0 {
		o.Base = 50 * time.Millisecond
	}
	if o.Max == 0 {
		o.Max = 2 * time.Second
	}
	if o.Budget == 0 {
		o.Budget = 50
	}
	return &retry{Store: s, h: h, o: o, budget: o.Budget}
}

// retry is safe for concurrent use; only the budget is shared between calls.
//
// INV-1: 0 <= budget <= o.Budget.
type retry struct {
	Store
	h host.Host
	o RetryOptions

	mu     sync.Mutex
	budget float64
}

func (r *retry) Unwrap() Store { return r.Store }

// spend tells whether a failure may be retried, and charges for it.
// It charges also when it refuses, so that a store that stays down keeps the budget low, and the first successes after
// that are not followed by a wave of retries.
func (r *retry) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = max(r.budget-1, 0)
	return r.budget > r.o.Budget/2
}

// earn gives a tenth back for a success: a store that answers ten of eleven calls can be retried for ever.
func (r *retry) earn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = min(r.budget+0.1, r.o.Budget)
}

// again tells whether attempt, which ended in err, is worth another, and waits before it.
// attempt counts from 1. The wait doubles with it up to o.Max, half of it by chance, so that callers which failed
// together do not come back together. It is false when ctx ends during the wait: the caller then returns err, which
// says what was wrong with the store, and not that the time is up.
func (r *retry) again(ctx context.Context, attempt int, err error) bool {
	if !dfs.IsKind(err, dfs.Unavailable) {
		if err == nil {
			r.earn()
		}
		return false
	}
	if !r.spend() || attempt >= r.o.Attempts {
		return false
	}
	wait := min(r.o.Base<<min(attempt-1, 20), r.o.Max)
	wait = wait/2 + time.Duration(r.h.Rand().Int64N(int64(wait/2)+1))
	return r.h.Sleep(ctx, wait) == nil
}

// do calls f until it succeeds or is not worth another attempt, and tells how many it took.
// The error is that of the last attempt.
// f must leave nothing behind when it fails that a repetition would double; where it may, its caller settles it.
func (r *retry) do(ctx context.Context, f func() error) (attempts int, err error) {
	for attempt := 1; ; attempt++ {
		if err = f(); !r.again(ctx, attempt, err) {
			return attempt, err
		}
	}
}

func (r *retry) Stat(ctx context.Context, path string) (e Entry, err error) {
	_, err = r.do(ctx, func() error { e, err = r.Store.Stat(ctx, path); return err })
	return e, err
}

// List goes on behind the last name that was yielded, so that no entry comes twice and none is left out that was there
// all the time. A listing that makes progress may fail any number of times: o.Attempts bounds failures in a row.
func (r *retry) List(ctx context.Context, dir, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		last, stopped := after, false
		attempt := 0
		once := func() (err error) {
			var e Entry
			for e, err = range r.Store.List(ctx, dir, last) {
				if err != nil {
					return err
				}
				last, attempt = e.Name, 0 // it made progress: the next failure is a first one
				if !yield(e, nil) {
					stopped = true
					return nil
				}
			}
			return nil
		}
		for {
			err := once()
			attempt++
			if stopped || err == nil {
				r.earn()
				return
			}
			if !r.again(ctx, attempt, err) {
				yield(Entry{}, err)
				return
			}
		}
	}
}

// Create may leave a writer behind when its reply is lost: drivers make nothing in Create that must be given back,
// except a temporary file that listings remove later and parents that are empty.
func (r *retry) Create(ctx context.Context, path string, mode uint32) (w Writer, err error) {
	_, err = r.do(ctx, func() error { w, err = r.Store.Create(ctx, path, mode); return err })
	if err != nil {
		return nil, err
	}
	return &retryWriter{Writer: w, r: r, ctx: ctx}, nil
}

func (r *retry) Remove(ctx context.Context, path string) error {
	attempts, err := r.do(ctx, func() error { return r.Store.Remove(ctx, path) })
	if attempts > 1 && dfs.IsKind(err, dfs.NotFound) {
		return nil // an earlier attempt removed it, though its answer was lost
	}
	return err
}

// Rename takes NotFound after a first attempt for success only if the target is there: the source may never have
// existed. A target that was there before cannot be told from one that arrived: then, too, the source is gone, which is
// all that can be known.
func (r *retry) Rename(ctx context.Context, from, to string) error {
	attempts, err := r.do(ctx, func() error { return r.Store.Rename(ctx, from, to) })
	if attempts > 1 && dfs.IsKind(err, dfs.NotFound) {
		if _, statErr := r.Stat(ctx, to); statErr == nil {
			return nil
		}
	}
	return err
}

// Making a directory that is there is no error, so a repetition needs no settling.
func (r *retry) Mkdir(ctx context.Context, path string, mode uint32) error {
	_, err := r.do(ctx, func() error { return r.Store.Mkdir(ctx, path, mode) })
	return err
}

// Open remembers the fingerprint of what it opened first. ctx is kept for the reader's life: reopening happens in Read.
func (r *retry) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	rr := &retryReader{r: r, ctx: ctx, path: path, offset: offset, left: length}
	if _, err := r.do(ctx, rr.reopen); err != nil {
		return nil, err
	}
	rr.print = FingerprintOf(rr.body)
	return rr, nil
}
