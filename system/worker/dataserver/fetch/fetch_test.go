package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/ufs/ufstest"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
	"github.com/forebay/forebay/system/worker/tier"
	"github.com/forebay/forebay/system/worker/workertest"
)

const mib = workertest.MiB

// counting counts ranged reads and how often each page was read.
type counting struct {
	ufs.Store
	delay time.Duration
	opens atomic.Int64
	mu    sync.Mutex
	pages map[int64]int
}

func (c *counting) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	c.opens.Add(1)
	c.mu.Lock()
	for at := offset; at < offset+length; at += mib {
		c.pages[at/mib]++
	}
	c.mu.Unlock()
	time.Sleep(c.delay)
	return c.Store.Open(ctx, path, offset, length)
}

type fixture struct {
	*testing.T
	store   *blockstore.Store
	ufs     *counting
	fetcher *fetch.Fetcher
	ref     *proto.FileRef
	content []byte
}

func setup(t *testing.T, size int64, change func(*fetch.Config, *blockstore.Config)) *fixture {
	h := workertest.NewNode()
	f := &fixture{T: t, ufs: &counting{Store: mem.New(h), pages: map[int64]int{}}, content: make([]byte, size)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(f.content)
	e := ufstest.Put(t.Context(), t, f.ufs.Store, "dir/file", f.content)
	f.ref = &proto.FileRef{Inode: 5, Version: 1, Length: size, BlockSize: 4 * mib, MountId: 1, UfsPath: "dir/file",
		Fingerprint: e.Fingerprint, Persisted: true}
	bc := blockstore.Config{Tiers: []tier.Config{{Name: "MEM", Dir: "/mem", CapacityBytes: 64 * mib}}, ScrubBytesPerSecond: -1, FillWait: time.Millisecond}
	fc := fetch.Config{Mount: func(context.Context, dfs.MountID) (ufs.Store, error) { return f.ufs, nil }}
	if change != nil {
		change(&fc, &bc)
	}
	store, err := blockstore.Open(t.Context(), h, bc)
	if err != nil {
		t.Fatal(err)
	}
	fc.Store, f.store = store, store
	f.fetcher = fetch.New(h, fc)
	t.Cleanup(func() { f.fetcher.Close(); store.Close() })
	return f
}

// read reads a range and checks its bytes and sums. It tells how many came from the cache.
func (f *fixture) read(q fetch.Request) (cached int64, err error) {
	f.Helper()
	q.File = f.ref
	next := q.Offset
	err = f.fetcher.Read(f.Context(), q, func(p fetch.Piece) error {
		if p.Offset != next || crc32.Checksum(p.Data, crc32.MakeTable(crc32.Castagnoli)) != p.CRC32C {
			f.Errorf("piece at %d (want %d) or its checksum is wrong", p.Offset, next)
		}
		if !bytes.Equal(p.Data, f.content[p.Offset:p.Offset+int64(len(p.Data))]) {
			f.Errorf("wrong bytes at %d", p.Offset)
		}
		next += int64(len(p.Data))
		if p.Cached {
			cached += int64(len(p.Data))
		}
		return nil
	})
	if want := min(q.Offset+q.Length, f.ref.Length); err == nil && next < want {
		f.Errorf("%d+%d ended at %d", q.Offset, q.Length, next)
	}
	return cached, err
}

func (f *fixture) ok(q fetch.Request) (cached int64) {
	f.Helper()
	cached, err := f.read(q)
	if err != nil {
		f.Fatal(err)
	}
	return cached
}

// TestColdWarm reads a file twice: in a few ranged reads, then from the cache.
func TestColdWarm(t *testing.T) {
	const size = 20*mib + 777
	f := setup(t, size, nil)
	if cached := f.ok(fetch.Request{Length: size + 1000}); cached != 0 {
		t.Errorf("%d bytes cached in a cold store", cached)
	}
	if n := f.ufs.opens.Load(); n < 3 || n > 6 {
		t.Errorf("%d ranged reads for 21 pages, want about 3", n)
	}
	f.settle()
	if cached := f.ok(fetch.Request{Length: size}); cached != size {
		t.Errorf("%d of %d bytes cached", cached, size)
	}
	for page, n := range f.ufs.pages {
		if n != 1 {
			t.Errorf("page %d was read %d times", page, n)
		}
	}
	for _, q := range []fetch.Request{{Offset: 5, Length: 10}, {Offset: mib - 3, Length: 6}, {Offset: size - 1, Length: 50}, {Offset: size + 5, Length: 1}, {Length: 0}} {
		f.ok(q)
	}
}

// settle waits until fills and prefetches are done.
func (f *fixture) settle() {
	for f.fetcher.InFlight() > 0 {
		time.Sleep(5 * time.Millisecond)
	}
}

// TestSingleFlight has many readers of one cold file: each page is read once.
func TestSingleFlight(t *testing.T) {
	f := setup(t, 10*mib, nil)
	f.ufs.delay = 20 * time.Millisecond
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			from := int64(i%4) * mib
			if _, err := f.read(fetch.Request{Offset: from, Length: 10*mib - from}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.settle()
	for page, n := range f.ufs.pages {
		if n != 1 {
			t.Errorf("page %d was read %d times", page, n)
		}
	}
	if len(f.ufs.pages) != 10 || f.fetcher.Counters.SharedPages.Load() == 0 {
		t.Errorf("%d pages read, %d shared", len(f.ufs.pages), f.fetcher.Counters.SharedPages.Load())
	}
}

// TestFullStore reads through a store that keeps nothing: still no page is read twice for one reader.
func TestFullStore(t *testing.T) {
	f := setup(t, 18*mib, func(_ *fetch.Config, c *blockstore.Config) { c.Tiers[0].CapacityBytes = mib })
	w, err := f.store.NewWriter(blockstore.Ref{File: dfs.FileVersion{Inode: 99, Version: 1}, BlockSize: mib})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Append(t.Context(), 0, make([]byte, mib)); err != nil {
		t.Fatal(err)
	}
	f.ok(fetch.Request{Length: 18 * mib})
	for page, n := range f.ufs.pages {
		if n != 1 {
			t.Errorf("page %d was read %d times", page, n)
		}
	}
}

// TestNoCache leaves the cache as it is, and uses what it has.
func TestNoCache(t *testing.T) {
	f := setup(t, 6*mib, nil)
	f.ok(fetch.Request{Offset: 2 * mib, Length: mib})
	f.settle()
	filled := f.store.Counters.Filled.Load()
	if cached := f.ok(fetch.Request{Length: 6 * mib, ReadType: dfs.ReadNoCache}); cached != mib {
		t.Errorf("%d bytes from the cache, want one page", cached)
	}
	f.settle()
	if f.store.Counters.Filled.Load() != filled {
		t.Error("a NO_CACHE read filled the cache")
	}
}

// TestPrefetch checks both kinds: what the request announces, and what reads in order promise.
func TestPrefetch(t *testing.T) {
	f := setup(t, 24*mib, nil)
	f.ok(fetch.Request{Length: mib, Prefetch: 5 * mib})
	f.settle()
	if n := f.store.Counters.Filled.Load(); n != 6 {
		t.Errorf("%d pages held, want 6", n)
	}
	for at := int64(0); at < 24*mib; at += mib / 2 {
		f.ok(fetch.Request{Offset: at, Length: mib / 2})
	}
	f.settle()
	if f.fetcher.Counters.PrefetchedPages.Load() < 14 {
		t.Errorf("%d pages prefetched of a file read in order", f.fetcher.Counters.PrefetchedPages.Load())
	}
	for page, n := range f.ufs.pages {
		if n != 1 {
			t.Errorf("page %d was read %d times", page, n)
		}
	}
	before := f.ufs.opens.Load()
	g := setup(t, 24*mib, nil)
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		g.ok(fetch.Request{Offset: 1 + r.Int64N(23*mib), Length: 100})
	}
	if g.fetcher.Counters.PrefetchedPages.Load() != 0 {
		t.Errorf("%d pages prefetched for random reads (%d)", g.fetcher.Counters.PrefetchedPages.Load(), before)
	}
}

// TestRefusals checks the kinds of what cannot be answered.
func TestRefusals(t *testing.T) {
	f := setup(t, 3*mib, nil)
	want := func(what string, kind dfs.Kind, q fetch.Request) {
		t.Helper()
		if _, err := f.read(q); !dfs.IsKind(err, kind) {
			t.Errorf("%s: %v, want %v", what, err, kind)
		}
	}
	want("cached only", dfs.NotFound, fetch.Request{Length: 10, CachedOnly: true})
	want("negative", dfs.InvalidArgument, fetch.Request{Offset: -1, Length: 10})
	f.ref.Persisted = false
	want("not persisted", dfs.NotFound, fetch.Request{Length: 10})
	f.ref.Persisted = true
	f.ref.BlockSize = 0
	want("broken reference", dfs.InvalidArgument, fetch.Request{Length: 10})
	f.ref.BlockSize = 4 * mib
	f.ref.UfsPath = "gone"
	want("gone", dfs.NotFound, fetch.Request{Length: 10})
	f.ref.UfsPath = "dir/file"
	f.ref.Length = 4 * mib
	f.ref.Version = 2
	want("shorter than expected", dfs.Stale, fetch.Request{Offset: 3 * mib, Length: mib})
	f.ref.Length, f.ref.Version = 3*mib, 3
	ufstest.Put(t.Context(), t, f.ufs.Store, "dir/file", make([]byte, 3*mib))
	want("changed", dfs.Stale, fetch.Request{Length: 10})
	want("changed, past the cache", dfs.Stale, fetch.Request{Length: 10, ReadType: dfs.ReadNoCache})
}

// plain hides what a store's readers know.
type plain struct{ ufs.Store }

func (p plain) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	r, err := p.Store.Open(ctx, path, offset, length)
	return struct{ io.ReadCloser }{r}, err
}

// TestFingerprintByStat checks the comparison for stores whose readers have no fingerprint.
func TestFingerprintByStat(t *testing.T) {
	f := setup(t, mib, nil)
	f.ufs.Store = plain{f.ufs.Store}
	f.ok(fetch.Request{Length: 10})
	f.ref.Version, f.ref.Fingerprint = 2, "other"
	if _, err := f.read(fetch.Request{Length: 10}); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("got %v", err)
	}
}

// TestFaults reads through an under store that fails often, with the retry wrapper: every byte is right.
func TestFaults(t *testing.T) {
	f := setup(t, 12*mib, nil)
	h := host.NewReal()
	f.ufs.Store = ufs.Retry(h, ufs.Faults(h, f.ufs.Store, ufs.FaultOptions{Seed: 3, ErrorRate: .2, BrokenReadRate: .05, ShortReadRate: .2}),
		ufs.RetryOptions{Base: time.Microsecond, Attempts: 20, Budget: 1e6})
	f.ok(fetch.Request{Length: 12 * mib})
}

// TestCloseIsNotTheUnderStore: a fetch that Close cuts off says Unavailable, so that clients ask another worker. Before this
// test it blamed the under store, which ends a client's attempts.
func TestCloseIsNotTheUnderStore(t *testing.T) {
	f := setup(t, 2*mib, nil)
	f.ufs.Store = hanging{f.ufs.Store}
	done := make(chan error, 1)
	go func() { _, err := f.read(fetch.Request{Length: mib}); done <- err }()
	for f.ufs.opens.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	f.fetcher.Close()
	if err := <-done; !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("got %v", err)
	}
}

// hanging answers when its caller gives up.
type hanging struct{ ufs.Store }

func (hanging) Open(ctx context.Context, path string, _, _ int64) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, dfs.Wrap(ctx.Err(), "open", path)
}

// TestFingerprintEachTime: a store whose readers have no fingerprint is asked for each read, not once for each version:
// the content may change between two reads.
func TestFingerprintEachTime(t *testing.T) {
	f := setup(t, 8*mib, nil)
	inner := f.ufs.Store
	f.ufs.Store = plain{inner}
	f.ok(fetch.Request{Length: 10})
	f.settle()
	ufstest.Put(t.Context(), t, inner, "dir/file", make([]byte, 8*mib))
	if _, err := f.read(fetch.Request{Offset: 7 * mib, Length: 10}); !dfs.IsKind(err, dfs.Stale) {
		t.Errorf("got %v", err)
	}
}

// TestCanceledReader checks that a reader which gives up cuts nobody else off and holds nothing.
func TestCanceledReader(t *testing.T) {
	f := setup(t, 8*mib, func(c *fetch.Config, _ *blockstore.Config) { c.MaxBytes = 8 * mib })
	f.ufs.delay = 50 * time.Millisecond
	for i := range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		err := f.fetcher.Read(ctx, fetch.Request{File: f.ref, Length: 8 * mib}, func(fetch.Piece) error { return nil })
		cancel()
		if i == 0 && !dfs.IsKind(err, dfs.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	err := f.fetcher.Read(t.Context(), fetch.Request{File: f.ref, Length: 8 * mib}, func(fetch.Piece) error { return fmt.Errorf("receiver went away") })
	if err == nil {
		t.Error("no error from the receiver")
	}
	f.ok(fetch.Request{Length: 8 * mib})
	for page, n := range f.ufs.pages {
		if n != 1 {
			t.Errorf("page %d was read %d times", page, n)
		}
	}
}
