package world

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/host"
)

// CPUModel is how much of a core the server takes for a request before its handler runs. What handlers do besides is
// charged by the models of what they use.
type CPUModel func(method string, bytes int) time.Duration

// server is a listening server of one life of a node.
// Interceptors are left out, since host.Real's own belong to the process (metrics, limits) and not to the
// protocol; what they refuse for the protocol's sake, a call without deadline, is refused here too.
type server struct {
	node     *Node
	addr     string
	methods  map[string]*method
	serving  bool
	draining bool // refuses what comes
	dead     bool
	open     []*call    // accepted and not answered, in the order of their arrival
	idle     host.Event // set when no call is open; nil while nobody waits
}

type method struct {
	impl   any
	unary  grpc.MethodHandler
	stream *grpc.StreamDesc
}

// Listen implements host.Host. The address is the node's name, or empty, with a port; 0 is any.
// An address is free again once its server was stopped, or with the node's next life. It answers nobody before
// Serve.
// Addresses of other nodes are refused, which on a machine the kernel does.
func (n *Node) Listen(addr string) (host.Server, error) {
	name, port, ok := strings.Cut(addr, ":")
	if !ok || name != "" && name != n.name {
		return nil, fmt.Errorf("listen on %s: the address is not of node %q", addr, n.name)
	}
	if port == "0" {
		n.ports++
		port = fmt.Sprint(firstEphemeralPort + n.ports)
	}
	addr = n.name + ":" + port
	if n.servers[addr] != nil {
		return nil, fmt.Errorf("listen on %s: address already in use; choose a free port, or 0 for any", addr)
	}
	s := &server{node: n, addr: addr, methods: map[string]*method{}}
	n.servers[addr] = s
	return s, nil
}

// RegisterService implements grpc.ServiceRegistrar.
// It is called before Serve. Nothing checks impl against the service's interface, as the generated code does that.
func (s *server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for i := range desc.Methods {
		s.methods["/"+desc.ServiceName+"/"+desc.Methods[i].MethodName] = &method{impl: impl, unary: desc.Methods[i].Handler}
	}
	for i := range desc.Streams {
		s.methods["/"+desc.ServiceName+"/"+desc.Streams[i].StreamName] = &method{impl: impl, stream: &desc.Streams[i]}
	}
}

// Addr implements host.Server.
func (s *server) Addr() string { return s.addr }

// Serve implements host.Server.
func (s *server) Serve() { s.serving = true }

// cutOffGrace is how long calls that were cut off have to end, as host.Real has it.
const cutOffGrace = time.Second

// Stop implements host.Server.
// New calls are refused from its beginning on. When ctx ends first, the contexts of the calls under way end; after
// a grace it returns although handlers that do not heed theirs go on.
func (s *server) Stop(ctx context.Context) {
	s.draining = true
	delete(s.node.servers, s.addr)
	if s.waitIdle(ctx) == nil {
		s.hangUp()
		return
	}
	for _, k := range slices.Clone(s.open) {
		k.cancelServer()
	}
	grace, cancel := s.node.WithTimeout(context.Background(), cutOffGrace)
	defer cancel()
	_ = s.waitIdle(grace) // those that do not heed their contexts are left
	s.hangUp()
}

// hangUp ends the connections to this server: clients connect anew, to whoever listens then.
func (s *server) hangUp() {
	net := s.node.w.Net
	for _, x := range slices.Clone(net.sessions) {
		if x.server == s && !x.ended {
			x.s2c.send(frameBytes, func() { x.broke("the server stopped") })
		}
	}
}

// waitIdle waits until no call is open; after the wake-up it looks again, since a call can have come in between.
func (s *server) waitIdle(ctx context.Context) error {
	for len(s.open) > 0 {
		if s.idle == nil {
			s.idle = s.node.NewEvent()
		}
		if err := s.idle.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// accept begins to serve a call that has just arrived.
func (s *server) accept(k *call, md metadata.MD, left time.Duration, bounded bool) {
	if s.dead || s.draining || !s.node.Alive() {
		k.x.s2c.send(frameBytes, func() { k.finish(status.Error(codes.Unavailable, "connection to "+s.addr+": closing"), nil) })
		return
	}
	s.open = append(s.open, k)
	k.observed(CallStep{Step: CallArrived, AtServer: true})
	s.node.Go(k.method, func() { s.serve(k, md, left, bounded) })
}

// serve is the life of a call at the server, as a task of its own. The handler's deadline counts from the arrival.
// The call leaves open before its status is sent, so that Stop does not wait for the network; an ended session
// takes no status, whose client has been told already.
func (s *server) serve(k *call, md metadata.MD, left time.Duration, bounded bool) {
	ctx := metadata.NewIncomingContext(context.Background(), md)
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: address(k.x.client.name)})
	ctx = grpc.NewContextWithServerTransportStream(ctx, transport{k})
	if bounded {
		k.server, k.stop = s.node.WithTimeout(ctx, left)
	} else {
		k.server, k.stop = s.node.WithCancel(ctx)
	}
	if k.givenUp {
		k.stop()
	}
	last, err := s.handle(k, bounded)
	k.served = true
	k.stop()
	k.observed(CallStep{Step: CallAnswered, AtServer: true, Err: err})
	if i := slices.Index(s.open, k); i >= 0 {
		s.open = slices.Delete(s.open, i, i+1)
	}
	if len(s.open) == 0 {
		set(&s.idle)
	}
	if !k.x.ended {
		k.sendStatus(err, last)
	}
}

// handle charges the request's CPU, which queues behind other requests, and then runs the handler. The message is
// decoded only by the handler's own call, after the wait, as a copy of its own.
func (s *server) handle(k *call, bounded bool) (*frame, error) {
	m := s.methods[k.method]
	if m == nil {
		return nil, unknownMethod(k.method)
	}
	if model := s.node.w.CPU; model != nil && s.node.w.Costs == nil {
		size := 0
		if m.unary != nil { // a stream's messages are charged as it takes them
			size = k.fromClient.queue[0].size
		}
		if err := s.node.Compute(k.server, model(k.method, size)); err != nil {
			return nil, err
		}
	}
	if m.unary == nil {
		k.charge(true, false, nil, 0)
		return nil, m.stream.Handler(m.impl, &serverStream{k})
	}
	if !bounded { // as host.Real refuses it
		return nil, status.Errorf(codes.InvalidArgument, "%s: the request has no deadline; set one on the caller's context", k.method)
	}
	out, err := m.unary(m.impl, k.server, func(into any) error {
		size := k.fromClient.queue[0].size
		err := k.codec.decode(k.fromClient.queue[0], into)
		k.message(CallTook, true, into, err)
		k.charge(true, false, into, size)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	f, err := k.codec.encode(out)
	k.charge(true, true, out, f.size)
	return &f, err
}
