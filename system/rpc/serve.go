package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
)

// OperationStream is the server's end of Metadata.Stream.
type OperationStream = grpc.BidiStreamingServer[pb.OperationBatch, pb.ResultBatch]

// ServeStream answers the batches of one client's stream until the client closes it or it breaks. handle runs as a task
// of its own for each batch, at most maxInFlight at a time; its context ends with the batch's timeout or the stream. It
// fills in results or error; ServeStream fills in the batch id. At the bound no more batches are received, which gRPC's
// flow control passes on to the client. It returns after every handle has returned.
//
// Its error is a status, nil when the client closed its side and all answers were sent. handle must heed
// its context, since the stream waits for it.
func ServeStream(h host.Host, stream OperationStream, maxInFlight int,
	handle func(context.Context, *pb.OperationBatch) *pb.ResultBatch) error {
	ctx := stream.Context()
	s := &served{h: h, stream: stream, handle: handle, sending: host.NewMutex(h)}
	group := host.NewGroup(h, max(maxInFlight, 1))
	err := s.receive(ctx, group)
	// The stream must outlive its handlers, whose contexts have ended if it broke.
	if failed := group.Wait(context.WithoutCancel(ctx)); err == nil {
		err = failed
	}
	return ToStatus(err)
}

// served is one stream being served.
type served struct {
	h       host.Host
	stream  OperationStream
	handle  func(context.Context, *pb.OperationBatch) *pb.ResultBatch
	sending *host.Mutex // gRPC allows one sender at a time; sending may wait for flow control
}

// receive hands each batch to a task, waiting for a place among them. It returns nil when the client has closed its side.
func (s *served) receive(ctx context.Context, group *host.Group) error {
	for {
		batch, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := group.Go(ctx, "metadata-batch", func() error { return s.answer(ctx, batch) }); err != nil {
			return err
		}
	}
}

// answer runs one batch and sends its answer. Answers leave in the order in which they are ready, not in that of the batches.
func (s *served) answer(ctx context.Context, batch *pb.OperationBatch) error {
	answer := s.run(ctx, batch)
	answer.BatchId = batch.BatchId
	if err := s.sending.Lock(ctx); err != nil {
		return err
	}
	defer s.sending.Unlock()
	return s.stream.Send(answer)
}

// run bounds the batch by its own timeout. A batch without one is refused: a client that is gone would leave it running.
func (s *served) run(ctx context.Context, batch *pb.OperationBatch) *pb.ResultBatch {
	if batch.TimeoutNs <= 0 {
		return &pb.ResultBatch{Error: ErrorToProto(dfs.Errorf(dfs.InvalidArgument, "execute batch", "",
			"the batch has no timeout; set what is left of the caller's deadline"))}
	}
	inner, cancel := s.h.WithTimeout(ctx, time.Duration(batch.TimeoutNs))
	defer cancel()
	return s.handle(inner, batch)
}
