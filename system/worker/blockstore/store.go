// Package blockstore keeps pages of file versions on a worker's tiers. It owns the backing files, their checksums, the
// room on each tier and what is evicted; it never talks to an under store or a master, and does not know who reads.
// Packages fetch, dataserver and worker call it.
//
// # On disk
//
// A file version has at most one pair of files on each tier: NAME.data, sparse, with every page at its offset in the
// file, and NAME.meta, with a record of checksums for each page. A block lies on one tier. Eviction punches holes, and
// removes the pair with its last block.
//
// # Rules
//
//	INV-1  A page is served only if its bytes match the record's checksums, which are bound to version, place and length.
//	       A crash may leave data without record (the page is absent) or a record without its data (the checksum fails, the
//	       page is dropped and counted). It never makes a torn page look whole.
//	INV-2  Pages written by a client become visible together, at Commit. Before it nothing of them is recorded.
//	INV-3  Commit of data that only workers have is synced: data, then records and header, then directory. What the under
//	       store has too, and cache fills, are not synced: a crash costs a fetch.
//	INV-4  A block that is pinned, unpersisted, being read or being written is not evicted.
//	INV-5  A block index of a file with an entry in busy is changed only by the entry's owner.
//	INV-6  A page is checked, moved and reported by the length with which it was stored. What a reader's reference says of
//	       the file's length never makes a good page look bad: it makes it a miss.
//
// # States of a block index
//
//	           NewWriter.claim                 Commit
//	absent ----------------------> writing ------------> held
//	  |  ^                            |                  |  ^
//	  |  +------- Abort, no room -----+                  |  |
//	  +-- Fill ------------------------------------------+  |
//	  ^                                                  |  |
//	  |         evict, Free, claim, failed tier          v  |
//	  +-- cleanUp (last unpin) ---- dropped <------ held    |
//	                                  ^                     |
//	                  dead meanwhile  |    demote, Promote  |
//	                                moving <---- held ------+
//
// Writing, dropped and moving have an entry in busy. Readers take "writing" for absent and wait for the other two, which
// end by themselves: neither waits for a client.
//
// # Bounds
//
// A tier's bytes: fills wait FillWait for the evictor and are then not kept; writes wait, then go on on a lower tier, and
// are refused (ResourceExhausted) after WriteWait. Open pairs: the clock closes those not used lately; pairs in use may
// exceed the bound. Changes for the next report: past MaxChanges all is reported anew. Memory of what is held: about 64
// bytes a page and 300 a block. Lengths, offsets and block sizes of references: see geometry.valid.
//
// # Locks
//
// Store.mu guards all memory and is never held during I/O or a wait. file.lock (which may be held while waiting) guards
// the making and removing of a file's backing pairs and their headers. The order is: busy entry, file.lock, Store.mu,
// tier's mu; no task waits for a busy entry while it holds file.lock. Reads and page writes hold neither: they pin
// their block, and exclusive work (evict, move, drop) happens only to blocks that nobody pins, under a busy entry.
package blockstore

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/worker/eviction"
	"github.com/forebay/forebay/system/worker/tier"
)

// Config is what a store is made of. Zero fields take the defaults.
type Config struct {
	Tiers        []tier.Config // the fastest first
	Policy       string        // see eviction.New
	MaxOpenFiles int           // backing pairs kept open; 1024 (two descriptors each)
	// WriteWait is how long a write waits for the evictor when nothing is free, FillWait a cache fill; 5 s and 100 ms. A
	// fill that finds no room is not kept, a write is refused.
	WriteWait, FillWait time.Duration
	// DemoteBytesPerSecond bounds moves to a lower tier; what would exceed it is dropped instead. 256 MiB.
	DemoteBytesPerSecond int64
	// ScrubBytesPerSecond is the pace of the background check of everything held. 8 MiB; negative: none.
	ScrubBytesPerSecond int64
	// MaxChanges bounds the changes kept for the next report; past it everything is reported anew. 100,000 blocks.
	MaxChanges int
	Logger     *slog.Logger
}

func (c *Config) setDefaults() {
	setDefault(&c.MaxOpenFiles, 1024)
	setDefault(&c.WriteWait, 5*time.Second)
	setDefault(&c.FillWait, 100*time.Millisecond)
	setDefault(&c.DemoteBytesPerSecond, 256<<20)
	setDefault(&c.ScrubBytesPerSecond, 8<<20)
	setDefault(&c.MaxChanges, 100_000)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// setDefault sets what is zero, so zero cannot be configured: where none is meant, a negative number says it.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Ref names a file version and says what its owner knows of it.
type Ref struct {
	File      dfs.FileVersion
	Length    int64 // bytes; ignored by Writer
	BlockSize int64
	Persisted bool // the under store has it
	Pinned    bool
	Name      string // for messages: where it lies in the namespace or under store
}

func (r *Ref) geometry() geometry { return geometry{r.BlockSize, r.Length} }

// Check tells whether the reference can be used at all: it comes from the network.
func (r *Ref) Check(op string) error {
	if r.File.Inode == 0 || !r.geometry().valid() {
		return dfs.Errorf(dfs.InvalidArgument, op, r.describe(), "block size %d, length %d: the reference is broken; stat the file again", r.BlockSize, r.Length)
	}
	return nil
}

// describe is how messages name the file: by its path if the reference has it.
func (r *Ref) describe() string {
	if r.Name != "" {
		return r.Name
	}
	return r.File.String()
}

// Counters count what a store did since it was opened.
type Counters struct {
	Hits, Misses    atomic.Int64 // pages asked for
	Filled          atomic.Int64 // pages
	FillsRefused    atomic.Int64 // pages that found no room
	EvictedBlocks   atomic.Int64
	EvictedBytes    atomic.Int64
	DemotedBlocks   atomic.Int64
	PromotedBlocks  atomic.Int64
	BadPages        atomic.Int64 // whose checksum failed
	LostPages       atomic.Int64 // of BadPages, those that only this worker had
	ScrubbedPages   atomic.Int64
	RecoveredBlocks atomic.Int64
}

// Store is the pages of one worker. It is safe for concurrent use.
type Store struct {
	h      host.Host
	config Config
	log    *slog.Logger
	tiers  []*tier.Tier
	ctx    context.Context // of its background tasks
	cancel context.CancelFunc
	tasks  *host.Group
	kick   *host.Queue[struct{}] // wakes the evictor

	// Counters may be read at any time.
	Counters Counters

	mu       sync.Mutex
	files    *btree.BTreeG[*file] // by inode and version: ordered, so that reports and scrubs are
	policies []eviction.Policy[dfs.BlockID]
	demand   []int64     // bytes that writers wait for, by tier
	room     host.Event  // set, and replaced, when something was evicted
	open     []*backing  // open pairs, for closing the least useful
	hand     int         // of the clock over open
	dirs     []dirSet    // subdirectories that exist, by tier
	changes  changes     // since the last report
	demoted  demoteMeter // what demotion has spent
	closed   bool
}

// file is one file version. The store's mu guards it, except lock.
// INV-7: it is in the tree exactly while something needs it: refs, a block, a busy entry, or a pair that counts a
// block. There is one file in memory for an id at a time, and so one lock.
type file struct {
	id        dfs.FileVersion
	geometry  geometry
	persisted bool
	pinned    bool
	refs      int // operations that hold it: it stays in the store's tree
	blocks    map[uint32]*block
	busy      map[uint32]*busy // INV-5
	backings  []*backing       // by tier
	lock      *host.Mutex
}

// busy marks a block index under exclusive work.
type busy struct {
	done    host.Event
	writing bool // a client's write: readers do not wait for it
}

// block is the pages of one block that are held. The store's mu guards it.
type block struct {
	index uint32
	tier  int
	valid []uint64 // bitmap of pages
	sums  []uint32 // chunk sums, chunksPerPage for each page, the last page's only as many as it has
	pages int      // set bits
	end   int64    // in the file: behind the last page held. Only that page may be short (INV-6)
	reach int64    // in the file: behind what was ever written, which is what erasing has to cover
	used  int64    // bytes reserved on the tier
	pins  int
	dead  bool // dropped; the last unpin cleans up
}

// backing is a pair of files on one tier. The store's mu guards it; file.lock its making and removal.
type backing struct {
	file       *file
	tier       int
	data, meta diskFile // nil when not open
	users      int      // of the open files
	blocks     int      // that lie on it or are written to it
	sequence   uint64   // of its newest header
	recent     bool     // used since the clock's hand passed
	dropped    bool     // its names are gone
}

// lessFile orders the tree by inode, then version: the versions of an inode lie together (Free of all of them is one
// range).
func lessFile(a, b *file) bool {
	if a.id.Inode != b.id.Inode {
		return a.id.Inode < b.id.Inode
	}
	return a.id.Version < b.id.Version
}

// Open recovers what the tiers hold and starts the background work. A tier whose disk does not work is marked as failed;
// it is an error only when none works.
func Open(ctx context.Context, h host.Host, c Config) (*Store, error) {
	c.setDefaults()
	if len(c.Tiers) == 0 {
		return nil, dfs.Errorf(dfs.InvalidArgument, "open block store", "", "no tiers: configure at least one directory")
	}
	s := &Store{h: h, config: c, log: c.Logger, tasks: host.NewGroup(h, 0), kick: host.NewQueue[struct{}](h, 1),
		room: h.NewEvent(), files: btree.NewBTreeGOptions(lessFile, btree.Options{NoLocks: true})}
	s.ctx, s.cancel = h.WithCancel(context.Background())
	s.changes.reset()
	var failure error
	for _, tc := range c.Tiers {
		t, err := tier.Open(h, tc)
		if err != nil {
			s.cancel()
			return nil, err
		}
		policy := eviction.New[dfs.BlockID](c.Policy)
		if policy == nil {
			s.cancel()
			return nil, dfs.Errorf(dfs.InvalidArgument, "open block store", c.Policy, "no such eviction policy: use s3-fifo or lru")
		}
		s.tiers, s.policies = append(s.tiers, t), append(s.policies, policy)
		s.demand, s.dirs = append(s.demand, 0), append(s.dirs, dirSet{})
		if err := s.recover(ctx, len(s.tiers)-1); err != nil {
			if ctx.Err() != nil {
				s.cancel()
				return nil, dfs.Wrap(ctx.Err(), "open block store", t.Dir())
			}
			failure = err
			s.failTier(len(s.tiers)-1, err)
		}
	}
	if !s.anyTierWorks() {
		s.cancel()
		return nil, failure
	}
	s.changes.reset() // the first report says everything
	_ = s.tasks.Go(s.ctx, "evictor", func() error { s.evictLoop(); return nil })
	if c.ScrubBytesPerSecond > 0 {
		_ = s.tasks.Go(s.ctx, "scrub", func() error { s.scrubLoop(); return nil })
	}
	return s, nil
}

// anyTierWorks tells whether there is a disk to serve from. A store without one would refuse everything, one by one.
func (s *Store) anyTierWorks() bool {
	for _, t := range s.tiers {
		if t.Failed() == nil {
			return true
		}
	}
	return false
}

// Close ends the background work and closes the files. Operations that run meanwhile may fail.
func (s *Store) Close() {
	s.cancel()
	s.kick.Close()
	_ = s.tasks.Wait(context.WithoutCancel(s.ctx))
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.open = nil
	var idle []diskFile
	for _, b := range open {
		idle = append(idle, b.takeIdle()...)
	}
	s.mu.Unlock()
	closeAll(idle)
}

// Tiers describes the tiers, the fastest first.
func (s *Store) Tiers() []*proto.TierInfo {
	var infos []*proto.TierInfo
	for _, t := range s.tiers {
		infos = append(infos, t.Info())
	}
	return infos
}

// hold finds or makes the file of ref and keeps it. The caller holds mu, and calls release later. It is nil when the
// reference disagrees with what is held (another block size, or with create another length): such a file is not cached
// twice. Readers do not change the length: theirs may be old, or a lie.
func (s *Store) hold(ref *Ref, create bool) *file {
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok {
		if !create {
			return nil
		}
		f = &file{id: ref.File, geometry: geometry{blockSize: ref.BlockSize}, persisted: ref.Persisted, pinned: ref.Pinned,
			blocks: map[uint32]*block{}, backings: make([]*backing, len(s.tiers)), lock: host.NewMutex(s.h)}
		s.files.Set(f)
	}
	if f.geometry.blockSize != ref.BlockSize {
		return nil
	}
	if create && !s.extend(f, ref.Length) {
		s.forgetIfEmpty(f)
		return nil
	}
	f.pinned = f.pinned || ref.Pinned
	if ref.Persisted && !f.persisted {
		f.persisted = true
		s.noteAll(f)
	}
	f.refs++
	return f
}

// extend takes length for f's, unless what is held says otherwise: then it is false. A file's length may be known only
// from below (a writer that got some of its blocks), and grows until a short page shows that it has ended. Blocks whose
// end it was have pages missing by the new length, and are reported as removed. The caller holds mu.
func (s *Store) extend(f *file, length int64) bool {
	old := f.geometry.length
	if length == old || length == 0 {
		return true
	}
	if len(f.blocks) == 0 && len(f.busy) == 0 {
		f.geometry.length = length
		return true
	}
	if length < old || old == 0 {
		f.geometry.length = max(old, length)
		return length > old
	}
	index, page := f.geometry.locate(old - 1)
	b := f.blocks[index]
	_, full := geometry{f.geometry.blockSize, math.MaxInt64}.span(index, page)
	if b != nil && b.end == old && old < full {
		return false
	}
	was := b != nil && s.complete(f, b)
	f.geometry.length = length
	if was && !s.complete(f, b) {
		s.note(f, index, false)
	}
	return true
}

// release undoes hold. The caller holds mu. A file of which nothing is left leaves the tree.
func (s *Store) release(f *file) {
	f.refs--
	s.forgetIfEmpty(f)
}

// forgetIfEmpty takes a file that nothing needs any more out of the tree (INV-7). The caller holds mu.
func (s *Store) forgetIfEmpty(f *file) {
	if f.refs > 0 || len(f.blocks) > 0 || len(f.busy) > 0 {
		return
	}
	for _, b := range f.backings {
		if b != nil && b.blocks > 0 {
			return
		}
	}
	if now, _ := s.files.Get(f); now != f {
		panic("blockstore: a file left the tree while it was in use")
	}
	s.files.Delete(f)
}

// PageSpan is the range [start, end) of the page that holds offset. Pages do not cross blocks, and end with the file.
func (r *Ref) PageSpan(offset int64) (start, end int64) {
	g := r.geometry()
	return g.span(g.locate(offset))
}
