package client

import (
	"context"
	"hash/crc32"

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

// chunk is one piece of a file, at most a page.
type chunk struct {
	offset int64
	page   *rpc.PageBuffer
	crc32c uint32
}

// newChunk takes over the caller's reference to page.
func newChunk(offset int64, page *rpc.PageBuffer) chunk {
	return chunk{offset: offset, page: page, crc32c: crc32.Checksum(page.Bytes(), castagnoli)}
}

// upload sends a run of chunks to one worker, and to the next one from the beginning should that one fail while
// everything sent is still kept.
//
// INV-1: kept is everything sent so far, or replayable is false and kept is empty.
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
	kept       []chunk
	keptBytes  int64
	replayable bool
	finished   bool // the last message is sent
	length     int64
}

// send sends a chunk, of which it takes references of its own.
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

// finish says that the write is whole. result waits for the worker's word.
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

// result returns the worker's answer to a finished upload.
func (u *upload) result() (*pb.WriteResponse, error) {
	for {
		response, err := u.stream.CloseAndRecv()
		if err == nil && response.Length != u.length {
			err = dfs.Errorf(dfs.Unknown, "write to worker", u.worker.Address, "it counted %d bytes of %d: see its log",
				response.Length, u.length)
		}
		if err == nil {
			u.close()
			return response, nil
		}
		if err := u.restart(rpc.FromStatus(err)); err != nil {
			return nil, err
		}
	}
}

// close drops the stream, which the worker takes as a cancel unless it has answered, and what is kept.
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

// keep keeps a chunk while there is room.
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

// drop forgets what was kept. From then on a failure of the worker is the file's (INV-1).
func (u *upload) drop() {
	for _, piece := range u.kept {
		piece.page.Free()
	}
	u.c.replay.Release(u.keptBytes)
	u.kept, u.keptBytes, u.replayable = nil, 0, false
}

// restart connects to the next worker and sends it everything kept. failure is why the one before failed; nil at first.
func (u *upload) restart(failure error) error {
	retry := u.c.newRetrier(u.ctx)
	var last error
	for {
		if failure != nil {
			if err := u.failed(failure); err != nil {
				return err
			}
			last = failure
		}
		for u.worker = u.places.take(); u.worker == nil; u.worker = u.places.take() {
			if err := u.morePlaces(&retry, last); err != nil {
				return err
			}
		}
		if failure = u.replay(u.worker); failure == nil {
			return nil
		}
	}
}

// morePlaces waits for workers to come back or join.
func (u *upload) morePlaces(retry *retrier, failure error) error {
	switch {
	case failure == nil:
		failure = dfs.Errorf(dfs.Unavailable, "write", string(u.path),
			"there are too few live workers for the copies asked for: start more, or lower the durable replication")
	case !worthRetry(failure):
		return failure
	}
	if ended := retry.wait(u.ctx); ended != nil {
		return gaveUp(ended, failure)
	}
	return u.places.refresh(u.ctx)
}

// failed decides what a worker's failure means: nil to go on with another one.
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

// replay opens a stream to w and brings it to where this upload is.
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
	u.stream, u.cancel = stream, cancel
	if err := stream.Send(&pb.WriteRequest{Header: u.header}); err != nil {
		return u.streamError()
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
	if err := u.stream.SendMsg(&rpc.WritePage{WriteRequest: request, Buffer: piece.page}); err != nil {
		return u.streamError()
	}
	return nil
}

func (u *upload) transmitLast() error {
	if err := u.stream.Send(&pb.WriteRequest{Last: true}); err != nil {
		return u.streamError()
	}
	return nil
}

// streamError is why sending failed: gRPC keeps the reason for the receiving side.
func (u *upload) streamError() error {
	_, err := u.stream.CloseAndRecv()
	if err == nil {
		return dfs.Errorf(dfs.Unknown, "write to worker", u.worker.Address, "it answered before the end: see its log")
	}
	return atAddress(rpc.FromStatus(err), u.worker.Address)
}
