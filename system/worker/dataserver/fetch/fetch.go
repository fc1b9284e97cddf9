// Package fetch is how a worker answers reads: from its block store, and on a miss from the under store, keeping what it
// fetched. It owns the reads in flight, which are shared: however many readers want a page, the under store is asked for
// it once. It never decides what is cached for how long (blockstore does) nor speaks to clients (dataserver does).
//
// A miss asks for the run of missing pages behind it in one ranged read. Readers that go through a file in order, and
// readers that say so, have the pages behind their range fetched ahead.
//
//	INV-1  A page of a file version has at most one flight at a time, and is looked for in the store before one is made.
//	INV-2  Bytes of another content than the one that the reference names are never answered: each read from the under
//	       store is compared with the reference's fingerprint.
//	INV-3  The memory of buffers that readers hold is bounded by Config.MaxBytes, what tasks hold by their number.
//	INV-4  While somebody waits for that memory, a reader whose consumer has taken nothing for Config.StallTimeout keeps
//	       none of it: only the page that is being handed over, as a reader of cached pages does (memory.go).
package fetch

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// Config is what a fetcher is made of. Zero fields take the defaults.
type Config struct {
	Store *blockstore.Store
	// Mount gives the under store of a mount.
	Mount         func(ctx context.Context, id dfs.MountID) (ufs.Store, error)
	MaxFetches    int           // ranged reads at a time; 32
	MaxPrefetches int           // of them for nobody yet; 8
	MaxRunBytes   int64         // of one ranged read; 8 MiB
	MaxBytes      int64         // buffered for readers; 256 MiB
	MaxWindow     int64         // fetched ahead of one reader; 16 MiB
	Timeout       time.Duration // of one ranged read; 60 s
	StallTimeout  time.Duration // see INV-4; 5 s
	Logger        *slog.Logger
}

// Counters count what a fetcher did.
type Counters struct {
	Reads, BytesCached, BytesFetched atomic.Int64
	Fetches                          atomic.Int64 // ranged reads of the under store
	SharedPages                      atomic.Int64 // pages that a reader got from another one's flight
	PrefetchedPages                  atomic.Int64
	StaleReads                       atomic.Int64 // refused, since the under store has another content
	ReclaimedBytes                   atomic.Int64 // taken back from readers whose consumers stood still
}

// Fetcher is safe for concurrent use.
// Locks: mu guards flights, streams and the readers' accounts. The block store is asked under it (Has), so the
// store's lock is inside of this one and the store never calls back. Semaphores are waited for without mu.
type Fetcher struct {
	h      host.Host
	c      Config
	ctx    context.Context
	cancel context.CancelFunc
	tasks  *host.Group
	slots  *host.Semaphore // fetches
	ahead  *host.Semaphore // prefetches
	memory *host.Semaphore // bytes held for readers
	moves  *host.Semaphore // promotions

	// Written without mu by the tasks that store pages.
	refused atomic.Int64 // when the store last had no room for a page; Unix nanoseconds

	// Counters may be read at any time.
	Counters Counters

	mu       sync.Mutex
	flights  map[pageKey]*flight
	streams  map[dfs.FileVersion]sequence
	holders  []*reader // that hold memory
	waiting  int       // readers that wait for memory
	watching bool      // a task reclaims while waiting is not 0
}

// prefetchPause is how long nothing is fetched ahead after the store had no room.
const prefetchPause = time.Second

// minFlightBytes is what a page counts for at least, against the bounds on a run: files of tiny blocks have tiny pages, and
// each takes a flight.
const minFlightBytes = 64 << 10

// maxRemembered bounds the map of what is remembered of files; it starts anew when it is met.
const maxRemembered = 4096

// New makes a fetcher; Close ends it.
func New(h host.Host, c Config) *Fetcher {
	setDefault(&c.MaxFetches, 32)
	setDefault(&c.MaxPrefetches, 8)
	setDefault(&c.MaxRunBytes, 8<<20)
	setDefault(&c.MaxBytes, 256<<20)
	setDefault(&c.MaxWindow, 16<<20)
	setDefault(&c.Timeout, time.Minute)
	setDefault(&c.StallTimeout, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Fetcher{h: h, c: c, tasks: host.NewGroup(h, 0), slots: host.NewSemaphore(h, int64(c.MaxFetches)),
		ahead: host.NewSemaphore(h, int64(c.MaxPrefetches)), memory: host.NewSemaphore(h, c.MaxBytes), moves: host.NewSemaphore(h, 2),
		flights: map[pageKey]*flight{}, streams: map[dfs.FileVersion]sequence{}}
	f.ctx, f.cancel = h.WithCancel(context.Background())
	return f
}

// setDefault takes a zero for "not given"; a bound of zero cannot be asked for.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Close cuts off what is being fetched and waits for it to end.
// Readers that wait for a flight are told Unavailable, and may ask another worker. Reads that begin afterwards
// fail when they miss.
func (f *Fetcher) Close() {
	f.cancel()
	_ = f.tasks.Wait(context.WithoutCancel(f.ctx)) // they end with f.ctx
}

// Ref turns a message into the block store's reference, after checking it.
func Ref(m *proto.FileRef) (*blockstore.Ref, error) {
	if m == nil {
		return nil, dfs.Errorf(dfs.InvalidArgument, "read", "", "the request names no file")
	}
	r := &blockstore.Ref{File: dfs.FileVersion{Inode: dfs.InodeID(m.Inode), Version: m.Version}, Length: m.Length,
		BlockSize: m.BlockSize, Persisted: m.Persisted, Pinned: m.Pinned, Name: m.UfsPath}
	return r, r.Check("read")
}

// Piece is part of an answer, within one page.
type Piece struct {
	Offset int64
	Data   []byte
	Buffer *rpc.PageBuffer // in which Data lies; the fetcher frees it when the piece was taken
	CRC32C uint32
	Cached bool
}

// Request is one read.
// Prefetch is a hint: how much is really fetched is bounded by MaxWindow and by what memory and the store have
// room for.
type Request struct {
	File           *proto.FileRef
	Offset, Length int64
	ReadType       dfs.ReadType
	CachedOnly     bool
	Prefetch       int64 // bytes behind the range that will probably be read next
}

// Read hands the range's bytes to take, in order, in pieces of at most a page. A range past the end is cut short.
// NotFound says that this worker does not have the data and cannot get it (CachedOnly, or not persisted); Stale that the
// under store has another content by now; Corrupted and DataLost that the only copy is bad.
func (f *Fetcher) Read(ctx context.Context, q Request, take func(Piece) error) error {
	ref, err := Ref(q.File)
	if err != nil {
		return err
	}
	if q.Offset < 0 || q.Length < 0 {
		return dfs.Errorf(dfs.InvalidArgument, "read", q.File.UfsPath, "range %d+%d: both must be at least 0", q.Offset, q.Length)
	}
	f.Counters.Reads.Add(1)
	if q.Offset >= ref.Length {
		return nil
	}
	end := q.Offset + min(q.Length, ref.Length-q.Offset) // neither overflows
	r := &reader{f: f, ctx: ctx, q: &q, ref: ref, next: q.Offset, end: end, take: take}
	defer r.drop()
	window := f.window(&q, ref, end)
	if window > 0 && q.Length <= f.c.MaxRunBytes { // beside the read; a long one is its own read-ahead
		f.prefetch(q.File, ref, end, min(end+window, ref.Length))
	}
	if err := r.run(); err != nil {
		return err
	}
	if window > 0 && q.Length > f.c.MaxRunBytes {
		f.prefetch(q.File, ref, end, min(end+window, ref.Length))
	}
	return nil
}
