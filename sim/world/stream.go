package world

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// clientStream is the client's end of a stream.
// As in gRPC, one task may send while another receives; two that do the same at once have no defined order.
type clientStream struct {
	k    *call
	desc *grpc.StreamDesc
}

// Header implements grpc.ClientStream: it waits for the header or the end.
func (s *clientStream) Header() (metadata.MD, error) {
	k := s.k
	for !k.gotHeader && !k.finished {
		if k.headerReady == nil {
			k.headerReady = k.x.client.NewEvent()
		}
		_ = k.headerReady.Wait(context.Background()) // an end of the call sets it too
	}
	return k.clientHeader, nil
}

// Trailer implements grpc.ClientStream.
func (s *clientStream) Trailer() metadata.MD { return s.k.clientTrailer }

// Context implements grpc.ClientStream.
func (s *clientStream) Context() context.Context { return s.k.ctx }

// CloseSend implements grpc.ClientStream.
// It takes its place behind what was sent and waits for nothing. It never fails: the stream's own end is told by
// RecvMsg.
func (s *clientStream) CloseSend() error {
	k := s.k
	k.x.c2s.send(frameBytes, func() {
		k.fromClient.closed = true
		set(&k.fromClient.ready)
	})
	return nil
}

// SendMsg implements grpc.ClientStream: io.EOF when the stream has ended, whose status RecvMsg has.
func (s *clientStream) SendMsg(m any) error {
	k := s.k
	f, err := k.codec.encode(m)
	if err != nil {
		s.end(err)
		return err
	}
	k.charge(false, true, m, f.size)
	err = k.push(k.ctx, k.x.client, &k.fromClient, k.x.c2s, f, func() bool { return k.finished })
	k.message(CallSent, false, m, err)
	return err
}

// RecvMsg implements grpc.ClientStream.
// Any error, io.EOF included, is the call's end: options are filled in and the context is given back, once or
// more. For a stream with one answer it waits for the status, too, so that a message without success is not taken
// for an answer.
func (s *clientStream) RecvMsg(m any) error {
	k := s.k
	err := k.receive(k.ctx, false, &k.fromServer, k.x.c2s, m)
	k.message(CallTook, false, m, err)
	if err == nil && s.desc.ServerStreams {
		return nil
	}
	if err == nil { // one message, then the status
		err = s.status()
	} else if errors.Is(err, io.EOF) && !s.desc.ServerStreams {
		err = status.Error(codes.Internal, "cardinality violation: received no response message from non-server-streaming RPC")
	}
	k.tell()
	k.leave()
	return err
}

// status waits for the end of a call that has one message.
func (s *clientStream) status() error {
	k := s.k
	for !k.fromServer.closed {
		if k.fromServer.ready == nil {
			k.fromServer.ready = k.x.client.NewEvent()
		}
		_ = k.fromServer.ready.Wait(context.Background()) // an end of the call sets it too
	}
	return k.fromServer.err
}

// end gives up the call at the client.
// The server hears of it a message later.
func (s *clientStream) end(err error) {
	k := s.k
	if k.finished {
		return
	}
	k.finish(err, nil)
	k.x.c2s.send(frameBytes, k.cancelServer)
	k.leave()
}

// serverStream is the handler's end of a stream.
type serverStream struct{ k *call }

// SetHeader implements grpc.ServerStream.
func (s *serverStream) SetHeader(md metadata.MD) error { return transport{s.k}.SetHeader(md) }

// SendHeader implements grpc.ServerStream.
func (s *serverStream) SendHeader(md metadata.MD) error { return transport{s.k}.SendHeader(md) }

// SetTrailer implements grpc.ServerStream.
func (s *serverStream) SetTrailer(md metadata.MD) { _ = transport{s.k}.SetTrailer(md) }

// Context implements grpc.ServerStream.
func (s *serverStream) Context() context.Context { return s.k.server }

// SendMsg implements grpc.ServerStream.
// It waits for the client's window, and fails once the call's context has ended: the handler should return then.
func (s *serverStream) SendMsg(m any) error {
	k := s.k
	if !k.headerSent {
		_ = transport{k}.SendHeader(nil)
	}
	f, err := k.codec.encode(m)
	if err != nil {
		return err
	}
	k.charge(true, true, m, f.size)
	err = k.push(k.server, k.x.server.node, &k.fromServer, k.x.s2c, f, func() bool { return k.server.Err() != nil })
	if errors.Is(err, io.EOF) {
		return status.FromContextError(k.server.Err()).Err()
	}
	k.message(CallSent, true, m, err)
	return err
}

// RecvMsg implements grpc.ServerStream.
// io.EOF says that the client closed its side; another error that the call is over.
func (s *serverStream) RecvMsg(m any) error {
	k := s.k
	if err := k.receive(k.server, true, &k.fromClient, k.x.s2c, m); err != nil {
		return err
	}
	k.message(CallTook, true, m, nil)
	return asStatus(k.chargeMessage())
}

// transport makes grpc.SetHeader, SendHeader and SetTrailer work in handlers.
type transport struct{ k *call }

// Method implements grpc.ServerTransportStream.
func (t transport) Method() string { return t.k.method }

// SetHeader implements grpc.ServerTransportStream.
// It fails once the header has left.
func (t transport) SetHeader(md metadata.MD) error {
	if t.k.headerSent {
		return status.Error(codes.Internal, "transport: SendHeader called multiple times")
	}
	t.k.header = metadata.Join(t.k.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
// The copy that leaves is not changed by what the handler does to its map afterwards.
func (t transport) SendHeader(md metadata.MD) error {
	if err := t.SetHeader(md); err != nil {
		return err
	}
	k := t.k
	k.headerSent = true
	header := k.header.Copy()
	k.x.s2c.send(headerBytes, func() { k.arriveHeader(header) })
	return nil
}

// SetTrailer implements grpc.ServerTransportStream.
func (t transport) SetTrailer(md metadata.MD) error {
	t.k.trailer = metadata.Join(t.k.trailer, md)
	return nil
}
