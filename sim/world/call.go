package world

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/sim/sched"
	"github.com/forebay/forebay/system/host"
)

// Sizes on the wire besides the messages, and the flow control that host.Real asks for.
// They decide only how long messages take on the wire and when a sender waits for room. HTTP/2's framing of large
// messages into several frames, header compression and pings are left out: their bytes are few beside a block's.
const (
	frameBytes  = 13
	headerBytes = 60
	statusBytes = 40
	windowBytes = 8 << 20
)

// codec encodes messages as gRPC would: with the codec that the call asks for, into bytes. Nothing is shared between the
// two ends, so that a change of a message after it was sent is seen here as little as on a wire.
type codec struct{ encoding.CodecV2 }

// codecFor is Internal for a codec that is not registered, as gRPC has it: the call fails before it costs a
// message.
func codecFor(opts []grpc.CallOption) (codec, error) {
	name := "proto"
	for _, o := range opts {
		if subtype, ok := o.(grpc.ContentSubtypeCallOption); ok {
			name = subtype.ContentSubtype
		}
	}
	c := encoding.GetCodecV2(name)
	if c == nil {
		return codec{}, status.Errorf(codes.Internal, "no codec %q is registered", name)
	}
	return codec{c}, nil
}

// frame is one message under way.
// Whoever takes it off a queue owns its buffers: decode gives them back, and push does when the other end is gone.
type frame struct {
	data mem.BufferSlice
	size int
}

func (c codec) encode(m any) (frame, error) {
	data, err := c.Marshal(m)
	if err != nil {
		return frame{}, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	return frame{data, data.Len() + frameBytes}, nil
}

// decode gives the frame's buffers back, also when the bytes are no message of the kind that is asked for.
func (c codec) decode(f frame, into any) error {
	defer f.data.Free()
	if err := c.Unmarshal(f.data, into); err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	return nil
}

// half is one direction of a call, as its receiver sees it. queue holds no more than the window and one message, since the
// sender counts what was not given back: a message larger than the room is sent when there is any.
// Flow control is per stream: the window of the whole connection, which gRPC has besides, is left out, so that one
// slow stream never holds up the others. A model without windows would let a sender run ahead without bound, and
// the back pressure that block streams rely on would never show.
type half struct {
	queue    []frame
	closed   bool // no more messages come: half-closed, or the status is here
	err      error
	ready    host.Event // of a receiver that waits
	last     int        // bytes of the message that was taken last
	consumed int        // bytes taken and not yet given back to the sender
	window   int        // bytes that the sender may still send
	room     host.Event // of a sender that waits
}

// set releases whoever waits for an event, if anybody does.
func set(e *host.Event) {
	if *e != nil {
		(*e).Set()
		*e = nil
	}
}

// call is one RPC: unary or a stream. Its fields are of both ends; what one end may know of the other came through a pipe.
// finished is the client's end of it and served the server's, in any order.
type call struct {
	x      *session
	id     uint64
	method string
	opts   []grpc.CallOption
	codec  codec

	ctx        context.Context // the client's
	cancel     context.CancelFunc
	detach     func() bool
	server     context.Context // the handler's
	stop       context.CancelFunc
	stream     bool
	givenUp    bool // the client is gone; told before the handler began, too
	served     bool // the handler has returned
	finished   bool // the client has the status
	fromClient half
	fromServer half

	header, trailer metadata.MD // set by the handler
	headerSent      bool
	gotHeader       bool // at the client
	clientHeader    metadata.MD
	clientTrailer   metadata.MD
	headerReady     host.Event
}

// newCall makes a call of the client's that has sent nothing yet. Its end is heard of through detach's callback,
// on the stack of whoever ends ctx, and not by a task that waits. The caller sees to leave, in every case.
func newCall(ctx context.Context, x *session, method string, opts []grpc.CallOption) (*call, error) {
	c, err := codecFor(opts)
	if err != nil {
		return nil, err
	}
	x.client.w.calls++
	k := &call{x: x, id: x.client.w.calls, method: method, opts: opts, codec: c}
	k.fromClient.window, k.fromServer.window = windowBytes, windowBytes
	k.ctx, k.cancel = x.client.WithCancel(ctx)
	k.detach = sched.OnDone(k.ctx, k.abort)
	x.add(k)
	return k, nil
}

// abort ends the call at the client, whose context ended, and tells the server.
// The client does not wait for the server, which may work on for as long as the message takes, or for ever when
// the connection is lost first (then session.cancel ends it).
func (k *call) abort() {
	if k.finished {
		return
	}
	k.finish(status.FromContextError(k.ctx.Err()).Err(), nil)
	k.x.c2s.send(frameBytes, k.cancelServer)
}

// cancelServer ends the handler's context.
// It can come before the handler's task has begun, which then finds givenUp.
func (k *call) cancelServer() {
	k.givenUp = true
	if k.stop != nil && !k.served {
		k.stop()
	}
}

// leave ends the client's part.
func (k *call) leave() {
	k.detach()
	k.cancel()
}

// open carries the header and, of a unary call, the message to the server, where a task begins to serve it.
func (k *call) open(first *frame) {
	md, _ := metadata.FromOutgoingContext(k.ctx)
	md = md.Copy()
	left, bounded := k.left()
	size := headerBytes
	if first != nil {
		size += first.size
	}
	k.x.c2s.send(size, func() {
		if first != nil {
			k.fromClient.queue = append(k.fromClient.queue, *first)
			k.fromClient.closed = true
		}
		k.x.server.accept(k, md, left, bounded)
	})
}

// left is how much time the call still has when it leaves.
// It goes over the wire as a span and not as a moment, as grpc-timeout does: skewed clocks must not shorten it.
// The way to the server is not taken off, so that the handler's deadline is later than the client's by the
// latency.
func (k *call) left() (time.Duration, bool) {
	at, bounded := k.ctx.Deadline()
	return at.Sub(k.x.client.Now()), bounded
}

// sendStatus ends the call at the server: the status, after what was sent before it.
// Header and trailer are copied when they leave. One message carries both what a unary handler answered and the
// status: the client sees both or neither.
func (k *call) sendStatus(err error, last *frame) {
	err = asStatus(err)
	size := statusBytes
	if last != nil {
		size += last.size
	}
	header, trailer := k.header.Copy(), k.trailer.Copy()
	k.x.s2c.send(size, func() {
		k.arriveHeader(header)
		if !k.finished {
			k.clientTrailer = trailer
		}
		k.finish(err, last)
	})
}

// arriveHeader keeps the first header that arrives: a status carries it again, for handlers that never sent one.
func (k *call) arriveHeader(md metadata.MD) {
	if !k.gotHeader {
		k.gotHeader, k.clientHeader = true, md
		set(&k.headerReady)
	}
}

// finish gives the client its status, once.
// A message that comes with an error is dropped: gRPC gives no reply besides an error. It wakes everybody who
// waits at the client, and takes the call off its session, so that nothing later can end it a second time.
func (k *call) finish(err error, last *frame) {
	if k.finished {
		return
	}
	k.finished = true
	if last != nil && err == nil {
		k.fromServer.queue = append(k.fromServer.queue, *last)
	}
	k.fromServer.closed, k.fromServer.err = true, err
	set(&k.fromServer.ready)
	set(&k.fromClient.room)
	set(&k.headerReady)
	k.detach()
	k.x.remove(k)
	if k.stream {
		k.observed(CallStep{Step: CallEnded, Err: err})
	}
}

// tell fills in what the caller's options ask for.
func (k *call) tell() {
	for _, o := range k.opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = k.clientHeader
		case grpc.TrailerCallOption:
			*o.TrailerAddr = k.clientTrailer
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{Addr: address(k.x.server.addr)}
		case grpc.OnFinishCallOption:
			o.OnFinish(k.fromServer.err)
		}
	}
}

// asStatus makes of a handler's error what the wire carries: nothing is shared with the client.
func asStatus(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return status.ErrorProto(s.Proto())
	}
	return status.FromContextError(err).Err()
}

// receive takes the next message of h. back is the way by which its bytes return to the sender as room.
// What has arrived is handed out before the status, an error included. Room goes back in portions of a quarter of
// the window: one message for each frame taken would double the messages of a stream.
func (k *call) receive(ctx context.Context, atServer bool, h *half, back *pipe, into any) error {
	n := k.end(atServer)
	for len(h.queue) == 0 {
		if h.closed {
			if h.err != nil {
				return h.err
			}
			return io.EOF
		}
		if h.ready == nil {
			h.ready = n.NewEvent()
		}
		if err := h.ready.Wait(ctx); err != nil && !h.closed {
			return status.FromContextError(err).Err()
		}
	}
	f := h.queue[0]
	h.queue[0], h.last = frame{}, f.size
	if h.queue = h.queue[1:]; len(h.queue) == 0 {
		h.queue = nil
	}
	if h.consumed += f.size; h.consumed >= windowBytes/4 && !h.closed {
		room := h.consumed
		h.consumed = 0
		back.send(frameBytes, func() {
			if h.window += room; h.window > 0 {
				set(&h.room)
			}
		})
	}
	err := k.codec.decode(f, into)
	k.charge(atServer, false, into, f.size)
	return err
}

// push sends a message, waiting for room in the receiver's window.
// It is io.EOF when the stream has ended at this end, as gRPC has it for SendMsg; the status is told by a receive.
// It returns when the message has left, and not when it has arrived.
func (k *call) push(ctx context.Context, n *Node, h *half, way *pipe, f frame, over func() bool) error {
	for h.window <= 0 && !over() {
		if h.room == nil {
			h.room = n.NewEvent()
		}
		if err := h.room.Wait(ctx); err != nil {
			return status.FromContextError(err).Err()
		}
	}
	if over() {
		f.data.Free()
		return io.EOF
	}
	h.window -= f.size
	way.send(f.size, func() {
		if h.closed {
			f.data.Free()
			return
		}
		h.queue = append(h.queue, f)
		set(&h.ready)
	})
	return nil
}

// address is a node's name as net.Addr.
type address string

// Network implements net.Addr.
func (address) Network() string { return "sim" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

// hostOf is the node in "node:port".
func hostOf(addr string) string {
	name, _, _ := strings.Cut(addr, ":")
	return name
}

func unknownMethod(method string) error {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return status.Error(codes.Unimplemented, fmt.Sprintf("unknown method %s for service %s", name, service))
}
