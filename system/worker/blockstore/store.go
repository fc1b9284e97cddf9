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
	"sync"

	"github.com/tidwall/btree"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/worker/eviction"
	"github.com/forebay/forebay/system/worker/tier"
)

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
