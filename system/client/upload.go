package client

import (
	"context"
	"hash/crc32"
	"time"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// Bounds on what writers keep to send it again: one block each, and so much in one process. A writer that finds no room
// goes on without; then a worker's death fails its file.
const (
	maxKeptBytes   = 64 << 20
	maxReplayBytes = 512 << 20
)

// Bounds on how long an upload goes from one worker to the next. A search begins with the failure of a worker that served
// well, and may last Config.Timeout; that there can be several of them in a long upload is what maxSearches bounds.
const (
	maxSearches = 8

	// commitPatience is how long the commit in an under store may take, in intervals of the stall watch: two minutes with
	// the default timeout. An object store that is asked to put a large object together answers late, and is not hung.
	commitPatience = 8
)

// chunk is one piece of a file, at most a page.
// Its page is not changed any more: several uploads and attempts send it at the same time.
type chunk struct {
	offset int64
	page   *rpc.PageBuffer
	crc32c uint32
}

// newChunk computes the checksum, once for all copies and attempts. It takes over the caller's reference to page.
func newChunk(offset int64, page *rpc.PageBuffer) chunk {
	return chunk{offset: offset, page: page, crc32c: crc32.Checksum(page.Bytes(), castagnoli)}
}

// upload sends a run of chunks to one worker, and to the next one from the beginning should that one fail while
// everything sent is still kept. Its life: send for each chunk, finish, result, close; close may come at any time, and
// must come. It is for one task at a time.
//
// INV-1: kept is everything sent so far, or replayable is false and kept is empty.
// INV-2: every step ends: with the worker's answer, the stream, the context, or as a stall (stallWatch); and so does the
// search for another worker, by ctx, Config.Timeout or maxSearches.
type upload struct {
	c      *core
	ctx    context.Context
	path   dfs.Path
	header *pb.WriteHeader
	places *places
	cache  func(chunk) bool // whether the worker is to keep it; nil: yes

	worker     *Worker
	stream     pb.Data_WriteClient
	cancel     context.CancelFunc
	watch      *stallWatch // of stream
	kept       []chunk
	keptBytes  int64
	replayable bool
	finished   bool // the last message is sent
	length     int64

	search   *retrier  // for a worker, since one failed; nil before the first failure
	searches int       // begun
	steady   time.Time // when the current stream had caught up
}

// send sends a chunk, of which it takes references of its own. That it returns nil does not mean that the worker has the
// chunk: up to a flow control window may be on its way. After an error the upload is good for close only.
func (u *upload) send(piece chunk) error {
	if u.stream == nil {
		if err := u.restart(nil); err != nil {
			return err
		}
	}
	u.keep(piece)
	u.length += int64(len(piece.page.Bytes()))
	if err := u.transmit(piece); err != nil {
		return u.restart(err)
	}
	return nil
}

// finish says that the write is whole, once, after the last chunk. result waits for the worker's word.
func (u *upload) finish() error {
	u.finished = true
	if u.stream == nil {
		return u.restart(nil)
	}
	if err := u.transmitLast(); err != nil {
		return u.restart(err)
	}
	return nil
}

// result returns the worker's answer to a finished upload, sending it to other workers for as long as that can help. The
// stream is closed after it.
// After an error the stream may still be open: close ends it.
func (u *upload) result() (*pb.WriteResponse, error) {
	for {
		response, err := u.answer()
		if err == nil && response.Length != u.length {
			err = dfs.Errorf(dfs.Unknown, "write to worker", u.worker.Address, "it counted %d bytes of %d: see its log",
				response.Length, u.length)
		}
		if err == nil {
			u.close()
			return response, nil
		}
		if err := u.restart(err); err != nil {
			return nil, err
		}
	}
}

// answer waits for the worker's word on the stream.
// The time that an under store may need to commit counts from here on, not for the chunks before.
func (u *upload) answer() (response *pb.WriteResponse, err error) {
	if u.header.ToUfs {
		u.watch.patience.Store(commitPatience)
	}
	err = u.watch.during(func() (err error) {
		response, err = u.stream.CloseAndRecv()
		return err
	})
	if err != nil && u.watch.stalled.Load() {
		return nil, stalledError("write to worker", u.worker.Address, "did not acknowledge the data", u.watch)
	}
	return response, atAddress(rpc.FromStatus(err), u.worker.Address)
}

// close may be called more than once, and in any state. It drops the stream, which the worker takes as a cancel unless it
// has answered, and what is kept.
func (u *upload) close() {
	u.disconnect()
	u.drop()
}

// disconnect ends the stream by its context: the worker drops what it has not acknowledged.
func (u *upload) disconnect() {
	if u.stream != nil {
		u.cancel()
		u.stream = nil
	}
}

// keep keeps a chunk while there is room, in the process and in this upload. Without room everything kept is dropped, not the
// new chunk alone: only a whole beginning can be sent again (INV-1). It never waits: the room is held by other writers, who
// may be waiting for this one's worker.
func (u *upload) keep(piece chunk) {
	if !u.replayable {
		return
	}
	size := int64(len(piece.page.Bytes()))
	if u.keptBytes+size > maxKeptBytes || !u.c.replay.TryAcquire(size) {
		u.drop()
		return
	}
	piece.page.Ref()
	u.kept = append(u.kept, piece)
	u.keptBytes += size
}

// drop forgets what was kept. From then on a failure of the worker is the file's (INV-1). It may be called more than once.
func (u *upload) drop() {
	for _, piece := range u.kept {
		piece.page.Free()
	}
	u.c.replay.Release(u.keptBytes)
	u.kept, u.keptBytes, u.replayable = nil, 0, false
}

// restart connects to the next worker and sends it everything kept. failure is why the one before failed; nil at first.
//
// Each round of the loop that does not return has used a worker up until the next refresh, and a refresh comes only after a
// wait: a cluster in which all fail is asked at the pace of the retry budget, until the search ends.
func (u *upload) restart(failure error) error {
	if failure != nil {
		if err := u.beginSearch(failure); err != nil {
			return err
		}
	}
	for {
		if failure != nil {
			if err := u.failed(failure); err != nil {
				return err
			}
			if u.search.expired() {
				return u.searchedInVain(failure)
			}
		}
		for u.worker = u.places.take(); u.worker == nil; u.worker = u.places.take() {
			if err := u.morePlaces(failure); err != nil {
				return err
			}
		}
		last := failure
		if failure = u.replay(u.worker); failure == nil {
			u.steady = u.c.h.Now()
			return nil
		}
		if last == nil {
			if err := u.beginSearch(failure); err != nil {
				return err
			}
		}
	}
}

// beginSearch begins another search when the failed stream had served for longer than a search lasts, and lets the one
// under way go on otherwise: a worker that takes everything and then fails would renew it for ever. So would one that
// stalls, however long that took.
func (u *upload) beginSearch(failure error) error {
	stalled := u.watch != nil && u.watch.stalled.Load()
	served := !u.steady.IsZero() && u.c.h.Now().Sub(u.steady) > u.c.cfg.Timeout
	if u.search != nil && (stalled || !served) {
		return nil
	}
	if u.searches++; u.searches > maxSearches {
		return u.searchedInVain(failure)
	}
	search := u.c.newRetrier(u.ctx)
	u.search = &search
	return nil
}

// searchedInVain is the end of a search: the words and the kind of the last failure, and that there is nothing left to try.
// The upload is good for close only.
func (u *upload) searchedInVain(failure error) error {
	u.disconnect()
	return &dfs.Error{Kind: dfs.KindOf(failure), Op: "write", Path: string(u.path), Err: failure,
		Detail: "no worker took the data, write the file again when the cluster is well; the last failure: " + failure.Error()}
}

// morePlaces waits for workers to come back or join. failure is nil when none has failed yet.
func (u *upload) morePlaces(failure error) error {
	switch {
	case failure == nil:
		failure = dfs.Errorf(dfs.Unavailable, "write", string(u.path),
			"there are too few live workers for the copies asked for: start more, or lower the durable replication")
		if err := u.beginSearch(failure); err != nil {
			return err
		}
	case !worthRetry(failure):
		return failure
	}
	if ended := u.search.wait(u.ctx); ended != nil {
		if u.ctx.Err() == nil && u.c.life.Err() == nil {
			return u.searchedInVain(failure)
		}
		return gaveUp(ended, failure)
	}
	return u.places.refresh(u.ctx)
}

// failed decides what a worker's failure means: nil to go on with another one. Kinds that speak of this worker (away, full,
// broken, out of its mind) allow that; those that speak of the request, the file or the under store do not, since every
// worker would say the same. The stream is closed in any case.
func (u *upload) failed(failure error) error {
	u.disconnect()
	u.places.fail(u.worker)
	if ended := u.ctx.Err(); ended != nil {
		return dfs.Wrap(ended, "write", string(u.path))
	}
	switch dfs.KindOf(failure) {
	case dfs.Unavailable, dfs.DeadlineExceeded:
		u.c.workers.suspect(u.worker.Address)
	case dfs.ResourceExhausted, dfs.NoSpace, dfs.Corrupted, dfs.Unknown, dfs.Canceled:
	default: // the under store's or the request's fault: it would be the same everywhere
		return failure
	}
	if !u.replayable {
		return &dfs.Error{Kind: dfs.KindOf(failure), Op: "write", Path: string(u.path), Err: failure,
			Detail: "the worker failed after more than was kept for another one; write the file again: " + failure.Error()}
	}
	u.c.stats.failovers.Add(1)
	return nil
}

// replay opens a stream to w and brings it to where this upload is: header, chunks, and the last message if it was sent. When
// it fails the stream may be left open; failed closes it.
func (u *upload) replay(w *Worker) error {
	stub, err := u.c.data(w.Address)
	if err != nil {
		return err
	}
	inner, cancel := u.c.h.WithCancel(u.ctx)
	stream, err := stub.Write(inner, rpc.PageCodec())
	if err != nil {
		cancel()
		return rpc.FromStatus(err)
	}
	u.stream, u.cancel, u.watch = stream, cancel, u.c.newStallWatch(inner, cancel)
	if err := u.message(&pb.WriteRequest{Header: u.header}); err != nil {
		return err
	}
	for _, piece := range u.kept {
		if err := u.transmit(piece); err != nil {
			return err
		}
	}
	if u.finished {
		return u.transmitLast()
	}
	return nil
}

// transmit sends a chunk from the memory in which it lies; the codec holds a reference until gRPC is done with it. It may
// wait for the worker's flow control, and ends with the stream.
func (u *upload) transmit(piece chunk) error {
	request := &pb.WriteRequest{
		Offset: piece.offset, Cache: u.cache == nil || u.cache(piece), Crc32C: piece.crc32c, Data: piece.page.Bytes(),
	}
	return u.message(&rpc.WritePage{WriteRequest: request, Buffer: piece.page})
}

// transmitLast sends the message without which the worker drops everything: a stream that ends early is no commit.
func (u *upload) transmitLast() error { return u.message(&pb.WriteRequest{Last: true}) }

// message sends one message. Why sending failed is known to the receiving side only: gRPC keeps the reason for it.
//
// A worker that refuses a write answers before its end, with an error. An early answer without one is Unknown.
func (u *upload) message(m any) error {
	if u.watch.during(func() error { return u.stream.SendMsg(m) }) == nil {
		return nil
	}
	if u.watch.stalled.Load() {
		return stalledError("write to worker", u.worker.Address, "took no data", u.watch)
	}
	_, err := u.answer()
	if err == nil {
		return dfs.Errorf(dfs.Unknown, "write to worker", u.worker.Address, "it answered before the end: see its log")
	}
	return err
}
