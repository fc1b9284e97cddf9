package ufs

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/forebay/forebay/system/host"
)

// ThrottleOptions limit what is asked of a store. Zero rates are unlimited.
// MaxWait is for one turn, not for a call: a long stream may wait that long before each piece.
type ThrottleOptions struct {
	RequestsPerSecond float64
	BytesPerSecond    float64       // read and written together
	MaxWait           time.Duration // a call that would wait longer is ResourceExhausted; 30 s
}

// listPageEntries of a listing are paid for as one request, since that is what a store with pages is asked.
const listPageEntries = 1000

// Throttle makes calls wait for their turn. One second's worth may come in a burst.
// The pace is the mount's on this process: each worker and master of a cluster has its own. Calls wait in no order of
// their own; each is granted a time when it comes, so none is overtaken by a later one that asks for the same sort of
// turn.
func Throttle(h host.Host, s Store, o ThrottleOptions) Store {
	if o.MaxWait == 0 {
		o.MaxWait = 30 * time.Second
	}
	return &throttle{Store: s, requests: newPace(h, o.RequestsPerSecond, o.MaxWait), bytes: newPace(h, o.BytesPerSecond, o.MaxWait)}
}

// throttle charges a request for each call and bytes for what streams carry. Commit and Abort are free: the stream's
// bytes were paid for, and a write that has come so far should not wait behind new ones.
type throttle struct {
	Store
	requests, bytes *pace
}

func (t *throttle) Unwrap() Store { return t.Store }

func (t *throttle) Stat(ctx context.Context, path string) (Entry, error) {
	if err := t.requests.take(ctx, "stat", path, 1); err != nil {
		return Entry{}, err
	}
	return t.Store.Stat(ctx, path)
}

// List pays for a page's worth of entries at a time, before it asks for more of them.
func (t *throttle) List(ctx context.Context, dir, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		n := 0
		err := t.requests.take(ctx, "list", dir, 1)
		if err == nil {
			for e, listErr := range t.Store.List(ctx, dir, after) {
				if n++; n%listPageEntries == 0 {
					if err = t.requests.take(ctx, "list", dir, 1); err != nil {
						break
					}
				}
				if !yield(e, listErr) {
					return
				}
			}
		}
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

// Open waits until the bytes of earlier reads are paid for, so that a thousand opened streams do not each begin with a
// read for nothing.
func (t *throttle) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	if err := t.requests.take(ctx, "open", path, 1); err != nil {
		return nil, err
	}
	if err := t.bytes.turn(ctx, "open", path); err != nil {
		return nil, err
	}
	r, err := t.Store.Open(ctx, path, offset, length)
	if err != nil {
		return nil, err
	}
	return &throttledReader{ReadCloser: r, t: t, ctx: ctx, path: path}, nil
}

// The stream keeps Open's ctx, which bounds the waits of its reads.
type throttledReader struct {
	io.ReadCloser
	t    *throttle
	ctx  context.Context
	path string
	owed int // bytes read and not yet paid for
}

// Read pays for what the read before gave, since what a read will give is not known before it. The last one is paid by
// Close, without a wait: most readers take just what they asked for and never see the end.
func (r *throttledReader) Read(p []byte) (int, error) {
	if err := r.t.bytes.take(r.ctx, "read", r.path, float64(r.owed)); err != nil {
		return 0, err
	}
	n, err := r.ReadCloser.Read(p)
	r.owed = n
	return n, err
}

// It charges without a wait: a reader that is done must not be held up, and who comes next waits the longer.
func (r *throttledReader) Close() error {
	r.t.bytes.charge(float64(r.owed))
	r.owed = 0
	return r.ReadCloser.Close()
}

// Fingerprint implements Fingerprinted.
func (r *throttledReader) Fingerprint() string { return FingerprintOf(r.ReadCloser) }

func (t *throttle) Create(ctx context.Context, path string, mode uint32) (Writer, error) {
	if err := t.requests.take(ctx, "create", path, 1); err != nil {
		return nil, err
	}
	w, err := t.Store.Create(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	return &throttledWriter{Writer: w, t: t, ctx: ctx, path: path}, nil
}

// The stream keeps Create's ctx for the waits of Write.
type throttledWriter struct {
	Writer
	t    *throttle
	ctx  context.Context
	path string
}

// Write pays for all of p before any of it is written. A write that is refused took nothing and may be repeated as it
// was.
func (w *throttledWriter) Write(p []byte) (int, error) {
	if err := w.t.bytes.take(w.ctx, "write", w.path, float64(len(p))); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (t *throttle) Remove(ctx context.Context, path string) error {
	if err := t.requests.take(ctx, "remove", path, 1); err != nil {
		return err
	}
	return t.Store.Remove(ctx, path)
}

func (t *throttle) Rename(ctx context.Context, from, to string) error {
	if err := t.requests.take(ctx, "rename", from, 1); err != nil {
		return err
	}
	return t.Store.Rename(ctx, from, to)
}

func (t *throttle) Mkdir(ctx context.Context, path string, mode uint32) error {
	if err := t.requests.take(ctx, "mkdir", path, 1); err != nil {
		return err
	}
	return t.Store.Mkdir(ctx, path, mode)
}
