package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// This file is the Coalescer's stream: opening it, receiving answers, and what happens when it breaks.

// ensureStream returns the stream, opening one if there is none. Only the sender calls it.
//
// The stream's context belongs to no caller: it ends by cancel alone, which the receiver calls when it ends, and with it the
// watch.
func (c *Coalescer) ensureStream() (*callStream, error) {
	c.mu.Lock()
	stream, closed := c.stream, c.closed
	c.mu.Unlock()
	if closed {
		return nil, errClosed()
	}
	if stream != nil {
		return stream, nil
	}
	ctx, cancel := c.h.WithCancel(context.Background())
	opened, err := c.master.Stream(ctx)
	if err != nil {
		cancel()
		return nil, c.breakage(err)
	}
	stream = &callStream{Metadata_StreamClient: opened, cancel: cancel}
	c.mu.Lock()
	c.stream = stream
	closed = c.closed
	c.mu.Unlock()
	if closed { // Close did not see it
		cancel()
	}
	c.h.Go("metadata-receive", func() { c.receive(stream) })
	c.h.Go("metadata-watch", func() { c.watch(ctx, stream) })
	return stream, nil
}

// receive finishes batches as their answers come, until the stream ends.
// It is the only task that fails what is in flight, so that a batch cannot be answered and failed at the same time (INV-3).
func (c *Coalescer) receive(stream *callStream) {
	defer stream.cancel()
	for {
		answer, err := stream.Recv()
		if err == nil {
			err = c.answered(answer)
		}
		if err != nil {
			c.broke(stream, err)
			return
		}
	}
}

// answered finishes the batch that answer belongs to; answers may come in any order. An answer of the wrong length fails
// its batch alone, as Unknown: nobody can tell which result is whose. An error of its own means that the stream cannot be
// trusted any more.
func (c *Coalescer) answered(answer *pb.ResultBatch) error {
	c.mu.Lock()
	b := c.inFlight[answer.BatchId]
	delete(c.inFlight, answer.BatchId)
	c.answers++
	c.startSenderLocked()
	c.mu.Unlock()
	if b == nil {
		return dfs.Errorf(dfs.Unavailable, "call master", "", "it answered batch %d, which was not asked", answer.BatchId)
	}
	c.observe(answer)
	err := ErrorFromProto(answer.Error)
	if err == nil && len(answer.Results) != len(b.operations) {
		err = dfs.Errorf(dfs.Unknown, "call master", "", "it gave %d results for %d operations: see its log",
			len(answer.Results), len(b.operations))
	}
	c.finish(b, answer.Results, err)
	return nil
}

// observe shows an answer to whom the configuration names.
func (c *Coalescer) observe(answer *pb.ResultBatch) {
	if c.cfg.Observe != nil {
		c.cfg.Observe(answer)
	}
}

// watch breaks the stream when the server owes answers, gives none, and does not answer a probe either. A server that is
// merely slow answers the probe, which is a batch without operations beside the stream.
//
// Answers are counted, not timed: a stream on which anything came in the last interval is no silent one, however long its
// slowest batch takes.
//
// It sleeps only while the server owes something: thousands of idle clients cost nobody a timer.
func (c *Coalescer) watch(ctx context.Context, stream *callStream) {
	for {
		c.mu.Lock()
		before, owes := c.answers, len(c.inFlight) > 0
		if !owes && c.begun == nil {
			c.begun = c.h.NewEvent()
		}
		begun := c.begun
		c.mu.Unlock()
		if !owes {
			if begun.Wait(ctx) != nil {
				return
			}
			continue
		}
		if c.h.Sleep(ctx, c.cfg.ProbeInterval) != nil {
			return
		}
		c.mu.Lock()
		silent := len(c.inFlight) > 0 && c.answers == before
		c.mu.Unlock()
		if silent && !c.alive(ctx) {
			stream.cancel()
			return
		}
	}
}

// alive asks for an answer that costs the server nothing. Any answer will do, an error included: the question is whether
// somebody is there. It must be given in two probe intervals.
func (c *Coalescer) alive(ctx context.Context) bool {
	timeout := 2 * c.cfg.ProbeInterval
	inner, cancel := c.h.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := c.master.Execute(inner, &pb.OperationBatch{TimeoutNs: int64(timeout)})
	return err == nil || !dfs.IsKind(FromStatus(err), dfs.DeadlineExceeded)
}

// broke fails everything in flight, all of which was sent on stream: another is opened only after this.
func (c *Coalescer) broke(stream *callStream, cause error) {
	err := c.breakage(cause)
	c.mu.Lock()
	if c.stream != stream {
		c.mu.Unlock()
		panic("rpc: a second stream was opened before the first one ended (INV-4)")
	}
	c.stream = nil
	failed := c.inFlight
	c.inFlight = make(map[uint64]*callBatch)
	c.startSenderLocked()
	c.mu.Unlock()
	for _, b := range failed {
		c.finishBroken(b, err)
	}
}

// finishBroken fails a batch whose stream broke. gRPC ends a stream on which a message cannot be encoded: the operations
// to blame are told so, or they would break every stream on which they are tried again.
func (c *Coalescer) finishBroken(b *callBatch, cause error) {
	if malformed(&pb.OperationBatch{Identity: b.caller.Identity, Operations: b.operations}) == nil {
		c.finish(b, nil, cause)
		return
	}
	results := make([]*pb.Result, len(b.operations))
	for i, operation := range b.operations {
		err := malformed(&pb.OperationBatch{Identity: b.caller.Identity, Operations: []*pb.Operation{operation}})
		if err == nil {
			err = cause
		}
		results[i] = &pb.Result{Error: ErrorToProto(err)}
	}
	c.finish(b, results, nil)
}

// malformed tells why a batch cannot be sent by any means; nil when it can. It costs an encoding, and so is asked only after
// a failure.
func malformed(batch *pb.OperationBatch) error {
	if _, err := proto.Marshal(batch); err != nil {
		return dfs.Errorf(dfs.InvalidArgument, "call master", "", "the request cannot be encoded: %v; names and values must be UTF-8", err)
	}
	return nil
}

// Call executes a batch in a call of its own, beside the stream, for operations that may take long. As the stream does,
// it gives up with Unavailable when the server answers no probe either, in about four probe intervals: ctx alone would
// let a paused master hold up a failover until the connection's keep-alive notices.
//
// It takes no place of QueueOperations and is not ended by Close: ctx is its bound. Errors are those of Do, InvalidArgument
// for what cannot be encoded among them; the results' own errors are in the answer.
func (c *Coalescer) Call(ctx context.Context, batch *pb.OperationBatch) (*pb.ResultBatch, error) {
	inner, cancel := c.h.WithCancel(ctx)
	defer cancel()
	silent := c.h.NewEvent()
	c.h.Go("metadata-watch-call", func() {
		for c.h.Sleep(inner, c.cfg.ProbeInterval) == nil {
			if !c.alive(inner) {
				silent.Set()
				cancel()
				return
			}
		}
	})
	answer, err := c.master.Execute(inner, batch)
	switch {
	case err == nil:
		c.observe(answer)
		return answer, nil
	case silent.IsSet() && ctx.Err() == nil:
		return nil, dfs.Errorf(dfs.Unavailable, "call master", "", "it answers neither the call nor a probe: it is paused or cut off")
	}
	if bad := malformed(batch); bad != nil {
		return nil, bad
	}
	return nil, FromStatus(err)
}

// failQueue ends the sender's turn and fails what it could not send.
func (c *Coalescer) failQueue(err error) {
	c.mu.Lock()
	failed := c.queue
	c.queue = nil
	clear(c.forming)
	c.sending = false
	c.mu.Unlock()
	for _, b := range failed {
		c.finish(b, nil, err)
	}
}

// finish hands a batch to its callers and gives its places back, those of callers that gave up included (INV-1, INV-3).
// The results are written before the event is set, and only read after it: callers need no lock for them.
func (c *Coalescer) finish(b *callBatch, results []*pb.Result, err error) {
	b.results, b.err = results, err
	b.done.Set()
	c.room.Release(int64(len(b.operations)))
}

// breakage is what a stream's end means for its callers: Unavailable, unless the server gave a reason of its own or no
// retry can help.
// Kinds that speak of one call's end are made Unavailable, since the callers' own time need not have run out: a
// DeadlineExceeded would tell them that it had. Others, such as PermissionDenied or UnsupportedFeature, are passed on, so that a client at the
// wrong address hears so at once.
func (c *Coalescer) breakage(cause error) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return errClosed()
	}
	if errors.Is(cause, io.EOF) {
		return dfs.Errorf(dfs.Unavailable, "call master", "", "the server closed the stream; it is probably stopping")
	}
	err := FromStatus(cause)
	switch dfs.KindOf(err) {
	case dfs.Unknown, dfs.Canceled, dfs.DeadlineExceeded:
		return &dfs.Error{Kind: dfs.Unavailable, Op: "call master", Err: err,
			Detail: "the stream broke: " + dfs.DetailOf(err)}
	}
	return dfs.Wrap(err, "call master", "")
}
