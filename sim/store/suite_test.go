package store

import (
	"context"
	"io"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
)

// bridge lets goroutines outside of the world call a store inside: each call is a task, for which virtual time runs until it has
// ended.
type bridge struct {
	ufs.Store
	mu sync.Mutex // one call at a time
	w  *world.World
	n  *world.Node
	t  testing.TB
}

func (b *bridge) do(ctx context.Context, call func(ctx context.Context)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := false
	b.n.Go("call", func() {
		inside, cancel := b.n.WithCancel(context.Background())
		defer cancel()
		if ctx.Err() != nil {
			cancel()
		}
		call(inside)
		done = true
		b.w.Sched.Stop()
	})
	if err := b.w.Sched.Run(b.w.Sched.Elapsed() + time.Hour); err != nil || !done {
		b.t.Errorf("call: ended %v, %v", done, err)
	}
}

func (b *bridge) Stat(ctx context.Context, path string) (e ufs.Entry, err error) {
	b.do(ctx, func(ctx context.Context) { e, err = b.Store.Stat(ctx, path) })
	return e, err
}

func (b *bridge) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	type item struct {
		e   ufs.Entry
		err error
	}
	var items []item
	b.do(ctx, func(ctx context.Context) {
		for e, err := range b.Store.List(ctx, dir, after) {
			items = append(items, item{e, err})
		}
	})
	return func(yield func(ufs.Entry, error) bool) {
		for _, i := range items {
			if !yield(i.e, i.err) {
				return
			}
		}
	}
}

func (b *bridge) Open(ctx context.Context, path string, offset, length int64) (r io.ReadCloser, err error) {
	var inner io.ReadCloser
	b.do(ctx, func(context.Context) { inner, err = b.Store.Open(context.Background(), path, offset, length) })
	return &bridgeReader{inner, b}, err
}

type bridgeReader struct {
	io.ReadCloser
	b *bridge
}

func (r *bridgeReader) Read(p []byte) (n int, err error) {
	r.b.do(context.Background(), func(context.Context) { n, err = r.ReadCloser.Read(p) })
	return n, err
}

func (r *bridgeReader) Fingerprint() string { return ufs.FingerprintOf(r.ReadCloser) }

func (b *bridge) Create(ctx context.Context, path string, mode uint32) (w ufs.Writer, err error) {
	var inner ufs.Writer
	b.do(ctx, func(context.Context) { inner, err = b.Store.Create(context.Background(), path, mode) })
	return &bridgeWriter{inner, b}, err
}

type bridgeWriter struct {
	ufs.Writer
	b *bridge
}

func (w *bridgeWriter) Write(p []byte) (n int, err error) {
	w.b.do(context.Background(), func(context.Context) { n, err = w.Writer.Write(p) })
	return n, err
}

func (w *bridgeWriter) Commit(ctx context.Context) (e ufs.Entry, err error) {
	w.b.do(ctx, func(ctx context.Context) { e, err = w.Writer.Commit(ctx) })
	return e, err
}

func (b *bridge) Remove(ctx context.Context, path string) (err error) {
	b.do(ctx, func(ctx context.Context) { err = b.Store.Remove(ctx, path) })
	return err
}

func (b *bridge) Rename(ctx context.Context, from, to string) (err error) {
	b.do(ctx, func(ctx context.Context) { err = b.Store.Rename(ctx, from, to) })
	return err
}

func (b *bridge) Mkdir(ctx context.Context, path string, mode uint32) (err error) {
	b.do(ctx, func(ctx context.Context) { err = b.Store.Mkdir(ctx, path, mode) })
	return err
}

func (b *bridge) SetAttr(ctx context.Context, path string, mode *uint32, owner, group *string, modTime *time.Time) (err error) {
	inner, _ := ufs.As[ufs.AttrSetter](b.Store)
	b.do(ctx, func(ctx context.Context) { err = inner.SetAttr(ctx, path, mode, owner, group, modTime) })
	return err
}

// TestConformance holds a handle to ufs.Store's contract: without time, with a store's latencies, and within the wrappers of
// production over a store of which every fifth request and many streams fail.
func TestConformance(t *testing.T) {
	slow := ObjectStore
	slow.ErrorRate, slow.LostReplies, slow.Breaks = 0, 0, 0
	broken := ObjectStore
	broken.ErrorRate, broken.LostReplies, broken.Breaks = 0.15, 0.05, 0.2
	for _, test := range []struct {
		name    string
		model   Model
		retried bool
	}{{"without time", Model{}, false}, {"with latency", slow, false}, {"retried", broken, true}} {
		t.Run(test.name, func(t *testing.T) {
			ufstest.Run(t, func(t *testing.T) ufs.Store {
				w := world.New(5) // retries take a second attempt's NotFound for the first one's success, which other seeds show
				t.Cleanup(w.Close)
				s, err := New(w, "store", test.model)
				if err != nil {
					t.Fatal(err)
				}
				b := &bridge{w: w, n: w.NewNode("n", world.NodeConfig{}), t: t}
				b.Store = s.On(b.n)
				if test.retried {
					b.Store = ufs.Final(ufs.Retry(b.n, ufs.Metrics(b.n, b.Store, &ufs.Counters{}), ufs.RetryOptions{Attempts: 20, Budget: 1000}))
				}
				return b
			}, ufstest.Options{Retried: test.retried, Model: func() ufs.Store { return mem.New(w0) }})
		})
	}
}

var w0 = world.New(0).NewNode("model", world.NodeConfig{})
