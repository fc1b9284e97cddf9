package world

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/host"
)

// connectTimeout is how long a connection is tried when nobody answers, as host.Real has it.
// A cut is not told from a machine that is away, as on a network: both show by silence.
const connectTimeout = time.Second

// conn is a client's connection. Like gRPC's it connects at the first call, and again after it broke.
// Like gRPC's channel it has no state that callers see: each call finds the session that is there or waits for
// one. The back-off that gRPC keeps between failed connects is left out, since callers retry with their own, and a
// channel's memory of failures would hide how they do. It is used by tasks of one life of its node; in a later
// life every call on it is Canceled.
type conn struct {
	node   *Node
	life   int
	target string
	now    *session
	dial   host.Event // set when a connect under way has ended; nil when there is none
	closed bool
}

// Dial implements host.Host.
// It never fails and sends nothing: a bad target shows at the first call.
func (n *Node) Dial(target string) (host.Conn, error) {
	return &conn{node: n, life: n.life, target: target}, nil
}

// Close implements host.Conn: calls under way end.
// The server hears of it a message later, and ends the handlers' contexts then. A second Close does nothing.
func (c *conn) Close() error {
	c.closed = true
	if x := c.now; x != nil && !x.ended {
		c.now = nil
		x.fail("the client closed it")
		x.s2c.closed = true
		x.ended = true
		x.c2s.send(frameBytes, func() { x.close(c.node.w.Net); x.cancel() })
	}
	return nil
}

// session returns the connection, which it makes when there is none. Callers that come meanwhile wait for the same try.
// Errors are statuses: Unavailable when this try did not connect, which a caller may retry; Canceled when the conn
// was closed. One whose wait for another's try ends looks again, and may begin a try of its own.
func (c *conn) session(ctx context.Context) (*session, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		if c.closed {
			return nil, status.Error(codes.Canceled, "the connection is closed")
		}
		if c.now != nil && !c.now.ended {
			return c.now, nil
		}
		if c.dial == nil {
			return c.connect(ctx)
		}
		if err := c.dial.Wait(ctx); err != nil {
			return nil, status.FromContextError(err).Err()
		}
	}
}

// connect takes a round trip; a machine without the server refuses after one, and one that is not reached lets wait.
func (c *conn) connect(ctx context.Context) (*session, error) {
	c.dial = c.node.NewEvent()
	defer func() { c.dial.Set(); c.dial = nil }()
	net := c.node.w.Net
	to := net.w.nodes[hostOf(c.target)]
	refused := func(why string) error {
		return status.Error(codes.Unavailable, fmt.Sprintf("dial %s: %s", c.target, why))
	}
	if to == nil {
		return nil, refused("no such host")
	}
	roundTrip := net.latency(c.node.nic, to.nic) + net.latency(to.nic, c.node.nic)
	// A cut is looked for when the connect begins. One that comes during the round trip is met by the first
	// message instead, which waits in its pipe as on a broken wire.
	if net.isCut(c.node.nic, to.nic) || net.isCut(to.nic, c.node.nic) {
		if err := c.node.Sleep(ctx, connectTimeout); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		return nil, refused("connection timed out")
	}
	if err := c.node.Sleep(ctx, roundTrip); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	if c.closed { // meanwhile
		return nil, status.Error(codes.Canceled, "the connection is closed")
	}
	// Looked up only now: who listens when the request arrives decides, and that may be a later life than when the
	// connect began.
	s := to.servers[c.target]
	if s == nil || !s.serving || s.draining || !to.Alive() {
		return nil, refused("connection refused")
	}
	c.now = net.connect(c.node, s)
	return c.now, nil
}

// Invoke implements grpc.ClientConnInterface.
// The reply is decoded after the call has ended, on the caller's own stack. An end of ctx ends the call at once;
// its effect at the server is open then, as on a real network.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	k, err := c.begin(ctx, method, opts)
	if err != nil {
		return err
	}
	defer k.leave()
	err = k.invoke(args, reply)
	ended := CallStep{Step: CallEnded, Err: err}
	if err == nil {
		ended.Message = reply
	}
	k.observed(ended)
	return err
}

// invoke is the unary call once there is a connection for it.
func (k *call) invoke(args, reply any) error {
	f, err := k.codec.encode(args)
	if err != nil {
		return err
	}
	k.charge(false, true, args, f.size)
	k.message(CallSent, false, args, nil)
	k.open(&f)
	if !k.fromServer.closed {
		k.fromServer.ready = k.x.client.NewEvent()
		_ = k.fromServer.ready.Wait(context.Background()) // an end of ctx sets it too
	}
	k.tell()
	if k.fromServer.err != nil {
		return k.fromServer.err
	}
	size := k.fromServer.queue[0].size
	err = k.codec.decode(k.fromServer.queue[0], reply)
	k.charge(false, false, reply, size)
	return err
}

// NewStream implements grpc.ClientConnInterface.
// It returns as soon as the header has left: that nobody serves the method is told by the first receive. Whoever
// opens a stream reads it to its end or ends ctx, else the call stays open at both ends until the session does.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	k, err := c.begin(ctx, method, opts)
	if err != nil {
		return nil, err
	}
	k.stream = true
	k.charge(false, true, nil, 0)
	k.open(nil)
	return &clientStream{k: k, desc: desc}, nil
}

func (c *conn) begin(ctx context.Context, method string, opts []grpc.CallOption) (*call, error) {
	if c.life != c.node.life {
		return nil, status.Error(codes.Canceled, "the connection is of an earlier life")
	}
	since := c.node.w.Sched.Elapsed()
	x, err := c.session(ctx)
	if err != nil {
		c.unreached(method, since, err)
		return nil, err
	}
	k, err := newCall(ctx, x, method, opts)
	if err == nil {
		k.observed(CallStep{Step: CallBegan, Since: since})
	}
	return k, err
}
