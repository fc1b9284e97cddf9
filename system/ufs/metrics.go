package ufs

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/forebay/forebay/system/host"
)

// Metrics counts s's calls in c.
// It adds no lock and no wait, and changes neither results nor errors.
// Where it stands among the wrappers decides what it counts: inside of Retry each attempt, outside each call.
func Metrics(h host.Host, s Store, c *Counters) Store { return &metered{Store: s, h: h, c: c} }

// metered is safe for concurrent use, as Counters are.
type metered struct {
	Store
	h host.Host
	c *Counters
}

func (m *metered) Unwrap() Store { return m.Store }

// time counts one call of f under op, with how long it took on the host's clock and the kind of its error.
func (m *metered) time(op Op, f func() error) error {
	start := m.h.Now()
	err := f()
	m.c.count(op, m.h.Now().Sub(start), err)
	return err
}

func (m *metered) Stat(ctx context.Context, path string) (e Entry, err error) {
	err = m.time(OpStat, func() error { e, err = m.Store.Stat(ctx, path); return err })
	return e, err
}

// List counts a listing once; its latency includes what its consumer does between entries.
func (m *metered) List(ctx context.Context, dir, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		_ = m.time(OpList, func() error {
			for e, err := range m.Store.List(ctx, dir, after) {
				if !yield(e, err) || err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// A failed Open counts at once, since no stream will.
func (m *metered) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	start := m.h.Now()
	r, err := m.Store.Open(ctx, path, offset, length)
	if err != nil {
		m.c.count(OpRead, m.h.Now().Sub(start), err)
		return nil, err
	}
	return &meteredReader{ReadCloser: r, m: m, start: start}, nil
}

// meteredReader counts its stream once, when it is closed, with the error that Read met last: a stream that broke is an
// error even if its reader closed it properly. Bytes count as they pass.
type meteredReader struct {
	io.ReadCloser
	m     *metered
	start time.Time
	err   error
	ended bool
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.m.c.ops[OpRead].bytes.Add(int64(n))
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// Fingerprint implements Fingerprinted.
func (r *meteredReader) Fingerprint() string { return FingerprintOf(r.ReadCloser) }

func (r *meteredReader) Close() error {
	err := r.ReadCloser.Close()
	if !r.ended {
		r.ended = true
		r.m.c.count(OpRead, r.m.h.Now().Sub(r.start), r.err)
	}
	return err
}

// As with Open, what succeeds counts when its stream ends.
func (m *metered) Create(ctx context.Context, path string, mode uint32) (Writer, error) {
	start := m.h.Now()
	w, err := m.Store.Create(ctx, path, mode)
	if err != nil {
		m.c.count(OpWrite, m.h.Now().Sub(start), err)
		return nil, err
	}
	return &meteredWriter{Writer: w, m: m, start: start}, nil
}

// meteredWriter counts its stream once: at a successful Commit, or at Abort with the error that ended it. A write that
// its caller gave up without an error counts as a call without one.
type meteredWriter struct {
	Writer
	m     *metered
	start time.Time
	err   error
	ended bool
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.m.c.ops[OpWrite].bytes.Add(int64(n))
	if err != nil {
		w.err = err
	}
	return n, err
}

func (w *meteredWriter) Commit(ctx context.Context) (Entry, error) {
	e, err := w.Writer.Commit(ctx)
	if err != nil {
		w.err = err
	} else {
		w.end(nil)
	}
	return e, err
}

func (w *meteredWriter) Abort() {
	w.Writer.Abort()
	w.end(w.err)
}

func (w *meteredWriter) end(err error) {
	if !w.ended {
		w.ended = true
		w.m.c.count(OpWrite, w.m.h.Now().Sub(w.start), err)
	}
}

func (m *metered) Remove(ctx context.Context, path string) error {
	return m.time(OpRemove, func() error { return m.Store.Remove(ctx, path) })
}

func (m *metered) Rename(ctx context.Context, from, to string) error {
	return m.time(OpRename, func() error { return m.Store.Rename(ctx, from, to) })
}

func (m *metered) Mkdir(ctx context.Context, path string, mode uint32) error {
	return m.time(OpMkdir, func() error { return m.Store.Mkdir(ctx, path, mode) })
}
