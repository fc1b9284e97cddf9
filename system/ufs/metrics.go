package ufs

import (
	"context"
	"io"
	"iter"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Op is one of Store's operations, as counted.
type Op int

// The operations. OpRead and OpWrite count streams from their opening to their end, with their bytes.
const (
	OpStat Op = iota
	OpList
	OpRead
	OpWrite
	OpRemove
	OpRename
	OpMkdir
	opCount
)

var opNames = [opCount]string{"stat", "list", "read", "write", "remove", "rename", "mkdir"}

// String is the operation's name.
func (o Op) String() string { return opNames[o] }

const (
	kindCount = int(dfs.Stale) + 1
	// LatencyBuckets is the number of latency buckets: bucket i counts calls that took less than 2^i microseconds, the
	// last all others.
	LatencyBuckets = 28
)

// Counters counts what a store does. The zero value is ready; one may be shared by many stores.
type Counters struct{ ops [opCount]opCounters }

// opCounters are read and written without a lock: sums of calls that end at the same moment need not fit together.
type opCounters struct {
	calls, nanos, bytes atomic.Int64
	errors              [kindCount]atomic.Int64
	latency             [LatencyBuckets]atomic.Int64
}

// OpSnapshot is one operation's counters at a moment.
type OpSnapshot struct {
	Op      Op
	Calls   int64
	Bytes   int64
	Total   time.Duration         // of all calls
	Errors  map[dfs.Kind]int64    // those that happened
	Latency [LatencyBuckets]int64 // see LatencyBuckets
}

// Snapshot reads the counters of every operation. They are read one by one, so a call that ends meanwhile may be in some
// and not in others.
func (c *Counters) Snapshot() []OpSnapshot {
	all := make([]OpSnapshot, opCount)
	for op := range all {
		from, to := &c.ops[op], &all[op]
		*to = OpSnapshot{Op: Op(op), Calls: from.calls.Load(), Bytes: from.bytes.Load(),
			Total: time.Duration(from.nanos.Load()), Errors: map[dfs.Kind]int64{}}
		for kind := range from.errors {
			if n := from.errors[kind].Load(); n > 0 {
				to.Errors[dfs.Kind(kind)] = n
			}
		}
		for i := range from.latency {
			to.Latency[i] = from.latency[i].Load()
		}
	}
	return all
}

// count adds one call. A clock that was set back during it makes no negative time.
func (c *Counters) count(op Op, took time.Duration, err error) {
	o := &c.ops[op]
	o.calls.Add(1)
	took = max(took, 0)
	o.nanos.Add(int64(took))
	o.latency[min(bits.Len64(uint64(took/time.Microsecond)), LatencyBuckets-1)].Add(1)
	if err != nil {
		o.errors[min(int(dfs.KindOf(err)), kindCount-1)].Add(1)
	}
}

// Metrics counts s's calls in c.
// It adds no lock and no wait, and changes neither results nor errors.
func Metrics(h host.Host, s Store, c *Counters) Store { return &metered{Store: s, h: h, c: c} }

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
