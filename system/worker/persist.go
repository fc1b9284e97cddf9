package worker

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
)

var pathRefusePersist = host.NewPath("a worker refuses to persist a file")

// Bounds of persisting.
const (
	maxPersistQueue = 1000
	// A file may take persistBase and a second for each persistBytesPerSecond before it is given up; the master tells it
	// again.
	persistBase           = 5 * time.Minute
	persistBytesPerSecond = 1 << 20
)

// persister writes files that only workers have to their under store. Commands for a file that is being written already
// are taken for the same one.
// INV-1: a file is in running from begin until its outcome is noted, so that two uploads of one file version never
// run here at once. mu is innermost and never held over the under store or the log.
type persister struct {
	w     *Worker
	slots *host.Semaphore

	mu      sync.Mutex
	running map[dfs.FileVersion]bool
	results []*proto.PersistResult
}

func newPersister(w *Worker) *persister {
	return &persister{w: w, slots: host.NewSemaphore(w.h, int64(w.c.PersistConcurrency)), running: map[dfs.FileVersion]bool{}}
}

// begin starts to persist a file, or refuses when too many wait.
// It does not wait, since it is called by the command loop, which all other commands queue behind. A refusal is an
// outcome like any other and goes to the master with the next heartbeat.
func (p *persister) begin(c *proto.WorkerCommand) {
	id := dfs.FileVersion{Inode: dfs.InodeID(c.Inode), Version: c.Version}
	p.mu.Lock()
	again, full := p.running[id], len(p.running) >= pathRefusePersist.Bound(p.w.h, maxPersistQueue, 0)
	if !again && !full {
		p.running[id] = true
	}
	p.mu.Unlock()
	switch {
	case again:
	case full:
		p.report(c, dfs.Errorf(dfs.ResourceExhausted, "persist", c.UfsPath, "%d files wait on this worker: tell another one, or this one later", maxPersistQueue))
	default:
		_ = p.w.tasks.Go(p.w.ctx, "persist", func() error {
			p.run(c)
			p.mu.Lock()
			delete(p.running, id)
			p.mu.Unlock()
			return nil
		})
	}
}

// run waits for its turn, writes the file, and notes the outcome, unless the worker stops: then the next start hears of
// the file again (INV-3 of the package).
func (p *persister) run(c *proto.WorkerCommand) {
	if p.slots.Acquire(p.w.ctx, 1) != nil {
		return // the worker stops
	}
	defer p.slots.Release(1)
	ctx, cancel := p.w.h.WithTimeout(p.w.ctx, persistBase+time.Duration(c.Length/persistBytesPerSecond)*time.Second)
	defer cancel()
	err := p.w.persistFile(ctx, c)
	if p.w.ctx.Err() == nil {
		p.report(c, err)
	}
}

// report notes an outcome for the next heartbeat. Over maxPendingResult the oldest are dropped: their files are still
// reported as unpersisted, and told again.
func (p *persister) report(c *proto.WorkerCommand, err error) {
	if err != nil {
		p.w.log.Warn("a file could not be persisted; the master will tell it again", "path", c.UfsPath, "inode", c.Inode, "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.results) >= maxPendingResult { // no master for long: the oldest will be told again
		p.results = p.results[1:]
	}
	p.results = append(p.results, &proto.PersistResult{Inode: c.Inode, Version: c.Version, MountId: c.MountId, UfsPath: c.UfsPath,
		Staged: c.Staged, Error: rpc.ErrorToProto(err)})
}

// takeResults gives the oldest outcomes, and forgets them: the report loop keeps them until a master has them.
// They come in the order in which they were noted. The caller must not append to the slice: it shares memory with
// what stays, and its capacity is cut for that.
func (p *persister) takeResults(most int) []*proto.PersistResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(most, len(p.results))
	taken := p.results[:n:n]
	p.results = p.results[n:]
	return taken
}

// persistFile writes the whole file to where it is staged: each block from here, or from a worker that has it. It is the
// leader that gives it its name, since the path may belong to another content by the time that the last byte is there, and
// a worker that is cut off would not know.
// The object appears at Commit, whole; an error at any block leaves the under store as it was. Blocks are copied one
// after the other, a page at a time.
func (w *Worker) persistFile(ctx context.Context, c *proto.WorkerCommand) error {
	if !ufs.IsStaged(c.Staged) {
		return dfs.Errorf(dfs.InvalidArgument, "persist", c.UfsPath, "the master names %q to write to, which is no staged object: it is of another version", c.Staged)
	}
	store, err := w.mounts.get(ctx, dfs.MountID(c.MountId))
	if err != nil {
		return err
	}
	out, err := store.Create(ctx, c.Staged, c.Mode)
	if err != nil {
		return dfs.Wrap(err, "persist", c.UfsPath)
	}
	defer out.Abort()
	ref := &proto.FileRef{Inode: c.Inode, Version: c.Version, Length: c.Length, BlockSize: c.BlockSize, MountId: c.MountId, UfsPath: c.UfsPath}
	for offset := int64(0); offset < c.Length; {
		n, err := w.copyBlock(ctx, out, ref, offset)
		if err != nil {
			return dfs.Wrap(err, "persist", c.UfsPath)
		}
		offset += n
	}
	_, err = out.Commit(ctx)
	return dfs.Wrap(err, "persist", c.UfsPath)
}

// copyBlock writes [offset, end of its block) and tells how much that was. What this worker has of it comes from here,
// the rest from elsewhere.
func (w *Worker) copyBlock(ctx context.Context, out ufs.Writer, ref *proto.FileRef, offset int64) (written int64, err error) {
	if ref.BlockSize <= 0 {
		return 0, dfs.Errorf(dfs.InvalidArgument, "persist", ref.UfsPath, "block size %d in the command", ref.BlockSize)
	}
	length := min((offset/ref.BlockSize+1)*ref.BlockSize, ref.Length) - offset
	q := fetch.Request{File: ref, Offset: offset, Length: length, CachedOnly: true}
	var refused error
	err = w.fetcher.Read(ctx, q, func(p fetch.Piece) error {
		n, err := out.Write(p.Data)
		written, refused = written+int64(n), err
		return err
	})
	if err == nil || refused != nil || ctx.Err() != nil {
		return written, err
	}
	return w.copyRemote(ctx, out, ref, offset, written, length, err)
}

// copyRemote gets the rest of a block from another worker. DataLost, without a way to others, says that this worker was
// told to persist what it does not have; the error of the local read goes with it.
func (w *Worker) copyRemote(ctx context.Context, out io.Writer, ref *proto.FileRef, offset, done, length int64, local error) (int64, error) {
	if w.c.ReadRemote == nil {
		return done, dfs.Errorf(dfs.DataLost, "persist", ref.UfsPath, "block %d: not on this worker (%s)", offset/ref.BlockSize, dfs.DetailOf(local))
	}
	body, err := w.c.ReadRemote(ctx, ref, offset+done, length-done)
	if err != nil {
		return done, err
	}
	defer func() { _ = body.Close() }()
	n, err := io.Copy(out, io.LimitReader(body, length-done))
	if err == nil && done+n < length {
		err = dfs.Errorf(dfs.Unavailable, "persist", ref.UfsPath, "block %d: another worker gave %d bytes of %d: try again", offset/ref.BlockSize, n, length-done)
	}
	return done + n, err
}
