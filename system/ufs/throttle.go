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

// ThrottleOptions limit what is asked of a store. Zero rates are unlimited.
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

// pace hands out turns at a rate (the generic cell rate algorithm: it keeps one time and no tokens).
// INV-1: next is at most burst behind the clock (what was not used is not saved up further) and, since a wait over most
// is refused and takes no turn, at most most plus one call's cost ahead of it, except for what charge adds, which was
// used already.
type pace struct {
	h    host.Host
	unit float64 // seconds that one unit takes; 0: free
	most time.Duration

	mu   sync.Mutex
	next time.Time // when everything that was granted is paid for
	seen time.Time // the clock, when it was last looked at
}

const burst = time.Second

func newPace(h host.Host, perSecond float64, most time.Duration) *pace {
	p := &pace{h: h, most: most}
	if perSecond > 0 {
		p.unit = 1 / perSecond
	}
	return p
}

// take waits for n units' turn.
// ResourceExhausted takes no turn: a caller that is refused does not push others back. A caller whose ctx ends while it
// waits has had its turn all the same: giving it back would need to move those behind it.
func (p *pace) take(ctx context.Context, op, path string, n float64) error {
	if n <= 0 {
		return nil
	}
	return p.wait(ctx, op, path, p.cost(n))
}

// turn waits until what was charged before is paid for.
func (p *pace) turn(ctx context.Context, op, path string) error { return p.wait(ctx, op, path, 0) }

// wait is take by a cost in time; 0 waits for what is owed and owes nothing itself.
func (p *pace) wait(ctx context.Context, op, path string, cost time.Duration) error {
	if p.unit == 0 {
		return nil
	}
	wait, ok := p.reserve(cost)
	if !ok {
		return dfs.Errorf(dfs.ResourceExhausted, op, path, "the mount's throttle would hold this for more than %v: raise it or ask for less", p.most)
	}
	if wait <= 0 {
		return nil
	}
	return dfs.Wrap(p.h.Sleep(ctx, wait), op, path)
}

// maxCost is what one call costs at most: at rates that are nearly nothing, the product would not fit a Duration.
const maxCost = 24 * time.Hour

func (p *pace) cost(n float64) time.Duration {
	return time.Duration(min(n*p.unit, maxCost.Seconds()) * float64(time.Second))
}

// charge pays for n units that were taken already: who comes next waits for them.
func (p *pace) charge(n float64) {
	if p.unit == 0 || n <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	p.next = p.next.Add(p.cost(n))
}

// settle brings next up to the present, less the burst that may be saved up. The caller holds mu.
func (p *pace) settle() (now time.Time) {
	now = p.h.Now()
	if now.Before(p.seen) { // the clock was set back: what is owed does not grow by that
		p.next = p.next.Add(now.Sub(p.seen))
	}
	p.seen = now
	if earliest := now.Add(-burst); p.next.Before(earliest) {
		p.next = earliest
	}
	return now
}

// reserve grants the next turn and tells how long until it comes; not ok says that it is too far away and was not
// taken.
func (p *pace) reserve(cost time.Duration) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = p.next.Sub(p.settle())
	if wait > p.most {
		return 0, false
	}
	p.next = p.next.Add(cost)
	return wait, true
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
