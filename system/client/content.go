package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

var stateDataLost = host.NewState("a reader is told that data is lost")

// Stats counts what a client has seen of its workers since it was made.
type Stats struct {
	BytesRead      int64
	BytesFromCache int64 // of those, what workers had cached
	BytesWritten   int64
	Failovers      int64 // reads and writes that went on at another worker
	CorruptChunks  int64 // chunks whose checksum did not match; each was asked for again
}

// counters are the same as they are counted: one for all views of a client, without a lock.
type counters struct {
	bytesRead, bytesFromCache, bytesWritten, failovers, corruptChunks atomic.Int64
}

// Stats returns the counts so far, of all views of this client. Each is read by itself: together they are no snapshot.
func (c *Client) Stats() Stats {
	s := &c.core.stats
	return Stats{
		BytesRead: s.bytesRead.Load(), BytesFromCache: s.bytesFromCache.Load(), BytesWritten: s.bytesWritten.Load(),
		Failovers: s.failovers.Load(), CorruptChunks: s.corruptChunks.Load(),
	}
}

// Bounds of one search for a block's data.
const (
	maxCandidates  = 4   // workers asked in one round for a block that any of them can fill
	locateAtOnce   = 256 // blocks whose holders are asked for together
	maxKnownBlocks = 4096
)

// content is one version of a file, and where its blocks were found to be. It is shared by all reads of an open file, and
// safe for them: what it knows only grows, gets forgotten, or is replaced as a whole.
//
// mu guards memory and is not held while a master is asked, so that two readers may learn the same twice. What was learned
// later wins; either is a guess, which a worker that does not have the block corrects.
type content struct {
	c      *Client
	status *dfs.FileStatus

	mu      sync.Mutex
	ref     *pb.FileRef               // replaced as a whole when the file gets persisted, never changed
	holders map[uint32][]dfs.WorkerID // of blocks that only workers have; bounded by maxKnownBlocks
}

// newContent is what is known of a version from its status alone.
func newContent(c *Client, status *dfs.FileStatus) *content {
	return &content{c: c, status: status, ref: refOf(status), holders: make(map[uint32][]dfs.WorkerID)}
}

// refOf is what a worker must know of a file to serve it: a worker asks the master nothing.
//
// It is taken as true by the worker, which checks no permission: that was the master's part, when it gave the status.
func refOf(s *dfs.FileStatus) *pb.FileRef {
	return &pb.FileRef{
		Inode: uint64(s.ID), Version: s.Version, Length: s.Length, BlockSize: s.BlockSize, MountId: uint64(s.MountID),
		UfsPath: s.UfsPath, Fingerprint: s.Fingerprint, Persisted: s.Persist == dfs.Persisted, Pinned: s.Pinned,
	}
}

// fileRef is the reference as it is now; it is read again for each request, since a file may get persisted while open.
func (t *content) fileRef() *pb.FileRef {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ref
}

// block is the id of one block of this version.
func (t *content) block(index uint32) dfs.BlockID {
	return dfs.BlockID{File: t.status.File(), Index: index}
}

// blockAt is the index of the block with the byte at offset, and where the block ends in the file.
// offset must lie within the file: the index has 32 bits, and the end is not past the file's.
func (t *content) blockAt(offset int64) (index uint32, end int64) {
	size := t.status.BlockSize
	if size <= 0 {
		size = dfs.DefaultBlockSizeBytes
	}
	index = uint32(offset / size)
	return index, min(int64(index+1)*size, t.status.Length)
}

// candidates lists the workers to ask for a block, best first. It is never empty without an error. Unavailable asks to try
// again, in a moment; Stale to open the file again; DataLost says that the block is gone.
//
// Of a persisted file any worker can serve, and the first maxCandidates in rank are given. Of another one all live holders
// are, however many: nobody else has the bytes.
func (t *content) candidates(ctx context.Context, index uint32) ([]*Worker, error) {
	live, err := t.c.core.workers.get(ctx)
	if err != nil {
		return nil, err
	}
	if t.fileRef().Persisted {
		return t.fillers(live, index)
	}
	holders, err := t.holdersOf(ctx, index)
	if err != nil {
		return nil, err
	}
	found := t.c.core.workers.preferred(live.rankOnly(t.block(index), holders))
	switch {
	case len(found) > 0:
		return found, nil
	case len(holders) > 0:
		return nil, t.holderAway(index, holders)
	}
	return t.withoutHolder(ctx, index, live)
}

// holderAway is for a block that the master knows to be held, by workers that are not in the list of live ones. The list
// may be older than the block map: a new leader names a worker only once it has registered. So neither is trusted any
// longer, and the data is not called lost. A worker that stays away is lost to the master too, after a while, and then the
// block has no holder.
func (t *content) holderAway(index uint32, holders []dfs.WorkerID) error {
	t.forget(index)
	t.c.core.workers.doubt()
	return dfs.Errorf(dfs.Unavailable, "read", string(t.status.Path), "block %d is held by %v, not live just now: try again in a moment", index, holders)
}

// fillers are the workers that may fetch a block from the under store: enough are ranked that the suspected among them can
// stand back.
func (t *content) fillers(live *ring, index uint32) ([]*Worker, error) {
	workers := t.c.core.workers
	ranked := workers.preferred(live.rank(t.block(index), maxCandidates+workers.suspectedCount()))
	if len(ranked) == 0 {
		return nil, dfs.Errorf(dfs.Unavailable, "read", string(t.status.Path),
			"the cluster has no live worker: start one, or look at `forebay admin report`")
	}
	return ranked[:min(len(ranked), maxCandidates)], nil
}

// withoutHolder decides what it means that no live worker is known to hold a block that was not persisted when the file
// was opened: it has been persisted meanwhile, the version is gone, its holders are still registering, or it is lost.
//
// The order of these questions keeps a read from calling data lost that is not: DataLost comes only when the version is
// still the current one, is in no under store, and every live worker has registered what it holds.
func (t *content) withoutHolder(ctx context.Context, index uint32, live *ring) ([]*Worker, error) {
	t.forget(index)
	path := t.status.Path
	now, err := t.c.Stat(ctx, path)
	switch {
	case dfs.IsKind(err, dfs.NotFound) || (err == nil && now.File() != t.status.File()):
		return nil, dfs.Errorf(dfs.Stale, "read", string(path), "this version was replaced or removed: open the file again")
	case err != nil:
		return nil, err
	case now.Persist == dfs.Persisted:
		t.mu.Lock()
		t.ref = refOf(now)
		t.mu.Unlock()
		return t.fillers(live, index)
	}
	all, err := t.c.core.workers.all(ctx)
	if err != nil {
		return nil, err
	}
	var lost []string
	for i := range all {
		if all[i].Live && !all[i].Registered {
			return nil, dfs.Errorf(dfs.Unavailable, "read", string(path),
				"worker %s is still registering what it holds: try again in a moment", all[i].Address)
		}
		if !all[i].Live {
			lost = append(lost, all[i].Address)
		}
	}
	remedy := "it was written without the under store, and no worker has it any more: write the file again"
	if len(lost) > 0 {
		remedy = fmt.Sprintf("only lost workers may have it: start %s again, or write the file again", strings.Join(lost, ", "))
	}
	stateDataLost.Reached(t.c.core.h)
	return nil, dfs.Errorf(dfs.DataLost, "read", string(path), "block %d: %s", index, remedy)
}

// holdersOf tells which workers hold a block, asking the master for it and its successors when it is not known. Blocks that
// nobody holds are not remembered: that can change at any moment. Two readers may ask for the same at the same time.
// At the bound everything is forgotten at once: a sequential reader asks for the next blocks anyway, and a random one over
// so many blocks gains little from what it knew.
func (t *content) holdersOf(ctx context.Context, index uint32) ([]dfs.WorkerID, error) {
	t.mu.Lock()
	holders, known := t.holders[index]
	t.mu.Unlock()
	if known {
		return holders, nil
	}
	count := min(max(t.status.Blocks(), index+1)-index, locateAtOnce)
	// By id, not by path: the master then speaks of this version, and answers Unavailable, which is retried, while
	// workers are still registering.
	blocks, err := t.c.locate(ctx, &pb.LocateBlocks{
		Inode: uint64(t.status.ID), Version: t.status.Version, First: index, Count: count,
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.holders) > maxKnownBlocks {
		clear(t.holders)
	}
	for _, b := range blocks {
		if len(b.Workers) > 0 {
			t.holders[b.Index] = b.Workers
		}
	}
	return t.holders[index], nil
}

// forget drops what is known of a block's holders, so that the next search asks the master.
// It is called when a holder failed, since others may have got the block meanwhile.
func (t *content) forget(index uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.holders, index)
}
