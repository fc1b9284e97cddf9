package client

import (
	"context"
	"errors"
	"hash/crc32"
	"io"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

var stateFailover = host.NewState("a read goes on at another worker in the middle")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rangeStream receives one range of a file from one worker, in order. How far the worker is ahead of the reader is
// bounded by the stream's flow control window.
//
// It is for one task at a time, except cancel. Its page is one buffer that each receive replaces, so that a stream holds one
// chunk, whatever the range.
type rangeStream struct {
	c      *core
	worker *Worker
	stream pb.Data_ReadClient
	cancel context.CancelFunc
	page   *rpc.ReadPage
	rest   []byte // of page, not yet consumed
	next   int64  // file offset behind rest
	end    int64
	served bool // a chunk came
	watch  *stallWatch
}

// openRange asks one worker for one range. It does not wait for an answer: that the worker is away shows at the first
// receive. Everything that it starts ends with close.
func (c *core) openRange(ctx context.Context, w *Worker, request *pb.ReadRequest) (*rangeStream, error) {
	stub, err := c.data(w.Address)
	if err != nil {
		return nil, err
	}
	inner, cancel := c.h.WithCancel(ctx)
	stream, err := stub.Read(inner, request, rpc.PageCodec())
	if err != nil {
		cancel()
		return nil, rpc.FromStatus(err)
	}
	s := &rangeStream{
		c: c, worker: w, stream: stream, cancel: cancel, page: rpc.NewReadPage(),
		next: request.Offset, end: request.Offset + request.Length, watch: c.newStallWatch(inner, cancel),
	}
	return s, nil
}

// peek returns the next bytes, at least one, and io.EOF at the range's end. They are valid until the next call or close.
func (s *rangeStream) peek() ([]byte, error) {
	for len(s.rest) == 0 {
		if s.next >= s.end {
			return nil, io.EOF
		}
		if err := s.receive(); err != nil {
			return nil, err
		}
	}
	return s.rest, nil
}

// skip consumes n bytes of what peek returned.
func (s *rangeStream) skip(n int) { s.rest = s.rest[n:] }

// receive takes the next chunk and trusts nothing about it: it must continue the range, stay inside, and have the checksum
// that it came with.
//
// Errors: Unavailable when the worker stalled or ended early, Unknown when it sent what was not asked for, Corrupted for a
// checksum, otherwise the worker's own. After any of them the stream is good for close only.
//
// Only a chunk that passed clears the suspicion of the worker: an answer shows that it lives, not that its disks do. The
// counts are of bytes received: what is asked for again after a failure counts again.
func (s *rangeStream) receive() error {
	err := s.watch.during(func() error { return s.stream.RecvMsg(s.page) }) // frees the page before
	switch {
	case err != nil && s.watch.stalled.Load():
		return stalledError("read from worker", s.worker.Address, "sent nothing", s.watch)
	case errors.Is(err, io.EOF):
		return dfs.Errorf(dfs.Unavailable, "read from worker", s.worker.Address, "it ended the stream %d bytes early", s.end-s.next)
	case err != nil:
		return atAddress(rpc.FromStatus(err), s.worker.Address)
	}
	data := s.page.Data
	if s.page.Offset != s.next || int64(len(data)) > s.end-s.next {
		return dfs.Errorf(dfs.Unknown, "read from worker", s.worker.Address,
			"it sent bytes [%d,+%d) for [%d,%d): see its log", s.page.Offset, len(data), s.next, s.end)
	}
	if got := crc32.Checksum(data, castagnoli); got != s.page.Crc32C {
		s.c.stats.corruptChunks.Add(1)
		return dfs.Errorf(dfs.Corrupted, "read from worker", s.worker.Address,
			"the checksum of bytes [%d,+%d) is %08x, not %08x: look at its disks and memory", s.next, len(data), got, s.page.Crc32C)
	}
	if !s.served {
		s.served = true
		s.c.workers.cleared(s.worker.Address)
	}
	s.c.stats.bytesRead.Add(int64(len(data)))
	if s.page.Cached {
		s.c.stats.bytesFromCache.Add(int64(len(data)))
	}
	s.rest = data
	s.next += int64(len(data))
	return nil
}

// close ends the stream, which it need not have read to its end, and gives the page back: what peek returned is invalid from
// then on. The watch ends with it.
func (s *rangeStream) close() {
	s.cancel()
	s.page.Free()
	s.rest = nil
}

// rangeReader delivers one range, which lies in one block, from whichever worker can: when one fails, the next in rank
// goes on where it stopped. A round asks each candidate once; between rounds it waits.
//
// INV-1: next is the first byte not yet delivered, and every stream begins there: no byte comes twice and none is left out,
// whichever workers it takes.
// INV-2: a search without progress ends: with the context, with Config.Timeout when that has no deadline, or with what no
// retry can help.
//
// It is for one task at a time; the one of a File that reads ahead belongs to whoever holds File.turn.
type rangeReader struct {
	ctx      context.Context
	content  *content
	readType dfs.ReadType
	prefetch int64
	index    uint32 // of the block
	next     int64  // file offset of the next byte to deliver
	end      int64

	stream     *rangeStream
	candidates []*Worker // not yet asked in this round
	retry      retrier
	last       error // why the last worker failed
	progress   bool  // bytes were delivered since the last failure
}

// newRangeReader reads [offset, end), cut off at the end of the block that offset lies in. prefetch is how many bytes behind
// it the worker may expect to be asked for next. It opens nothing before the first peek. The caller closes it.
func (t *content) newRangeReader(ctx context.Context, offset, end int64, readType dfs.ReadType, prefetch int64) *rangeReader {
	index, blockEnd := t.blockAt(offset)
	return &rangeReader{
		ctx: ctx, content: t, readType: readType, prefetch: prefetch, index: index, next: offset, end: min(end, blockEnd),
		retry: t.c.core.newRetrier(ctx),
	}
}

// peek returns the next bytes, at least one; io.EOF at the range's end. They are valid until the next call or close.
func (r *rangeReader) peek() ([]byte, error) {
	for {
		if r.next >= r.end {
			return nil, io.EOF
		}
		if r.stream == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		data, err := r.stream.peek()
		if err == nil {
			return data, nil
		}
		if err := r.failed(r.stream.worker, err); err != nil {
			return nil, err
		}
	}
}

// skip consumes n bytes of what peek returned. It is what counts as progress: bytes that were received and not delivered are
// asked for again after a failure.
func (r *rangeReader) skip(n int) {
	r.stream.skip(n)
	r.next += int64(n)
	r.progress = r.progress || n > 0
}

// readFull fills p, whose length is at most what is left of the range.
// The n bytes before an error are good: each was verified before it was copied.
func (r *rangeReader) readFull(p []byte) (n int, err error) {
	for n < len(p) {
		data, err := r.peek()
		if err != nil {
			return n, err
		}
		copied := copy(p[n:], data)
		r.skip(copied)
		n += copied
	}
	return n, nil
}

// close ends the stream, if one is open. The reader may go on after it, with another stream.
func (r *rangeReader) close() {
	if r.stream != nil {
		r.stream.close()
		r.stream = nil
	}
}

// open opens a stream at the next candidate, beginning another round when all have been asked. Its errors end the read.
func (r *rangeReader) open() error {
	for r.stream == nil {
		if len(r.candidates) == 0 {
			if err := r.nextRound(); err != nil {
				return err
			}
			continue
		}
		w := r.candidates[0]
		r.candidates = r.candidates[1:]
		stream, err := r.content.c.core.openRange(r.ctx, w, &pb.ReadRequest{
			File: r.content.fileRef(), Offset: r.next, Length: r.end - r.next, ReadType: uint32(r.readType), Prefetch: r.prefetch,
		})
		if err == nil {
			r.stream = stream
		} else if err := r.failed(w, err); err != nil {
			return err
		}
	}
	return nil
}

// nextRound finds the candidates anew. It waits first unless the search has just begun, so that rounds over a cluster that
// is down are paced by the retry budget; what no retry can help ends the search after each candidate was asked once.
func (r *rangeReader) nextRound() error {
	if r.last != nil {
		if !worthRetry(r.last) {
			return r.last
		}
		if ended := r.retry.wait(r.ctx); ended != nil {
			return gaveUp(ended, r.last)
		}
	}
	candidates, err := r.content.candidates(r.ctx, r.index)
	switch {
	case err == nil:
		r.candidates = candidates
	case worthRetry(err) && r.ctx.Err() == nil:
		r.last = err
	default:
		return err
	}
	return nil
}

// failed drops the stream and decides what a worker's failure means: nil to ask another one.
//
// What every worker would say ends the read: Stale, PermissionDenied, InvalidArgument. NotFound depends on who has the data:
// of a persisted file the under store has lost it, which makes the version Stale; of another one this worker has, and
// others may still hold the block. A worker that is away or too late is suspected, by all reads and writes of the client.
// All else, such as Corrupted, is not held against the worker: the next one is asked.
func (r *rangeReader) failed(w *Worker, err error) error {
	r.close()
	if ended := r.ctx.Err(); ended != nil {
		return dfs.Wrap(ended, "read", string(r.content.status.Path))
	}
	core := r.content.c.core
	switch dfs.KindOf(err) {
	case dfs.Stale, dfs.PermissionDenied, dfs.InvalidArgument:
		return err
	case dfs.NotFound:
		if r.content.fileRef().Persisted {
			return dfs.Errorf(dfs.Stale, "read", string(r.content.status.Path),
				"the under store does not have it any more: %s", dfs.DetailOf(err))
		}
		r.content.forget(r.index)
		err = dfs.Errorf(dfs.Unavailable, "read from worker", w.Address, "it does not hold block %d any more", r.index)
	case dfs.Unavailable, dfs.DeadlineExceeded:
		core.workers.suspect(w.Address)
		r.content.forget(r.index) // the next round asks the master who else has it
	}
	core.stats.failovers.Add(1)
	if r.progress {
		stateFailover.Reached(core.h)
	}
	if !r.progress {
		r.last = err
		return nil
	}
	// What failed before is over: this failure begins a search of its own, at once, and whatever its kind. The same worker
	// may be asked again in it, last if it is suspected.
	r.progress, r.candidates, r.last, r.retry = false, nil, nil, core.newRetrier(r.ctx)
	return nil
}
