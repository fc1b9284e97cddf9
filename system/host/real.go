package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Windows and buffers of every connection: with 8 MiB windows and 1 MiB socket buffers one stream of 1 MiB chunks is
// bound by memory copies, not by round trips (DESIGN section 14).
const (
	streamWindowBytes  = 8 << 20
	socketBufferBytes  = 1 << 20
	maxMessageBytes    = 16 << 20
	maxStreamsPerConn  = 1 << 20
	keepaliveInterval  = 10 * time.Second
	keepaliveTimeout   = 5 * time.Second
	dialBackoffCeiling = 500 * time.Millisecond
	cutOffGrace        = time.Second
)

// Real is the machine itself.
// It has no state of its own, so that several of them in a process are one machine.
type Real struct {
	fs vfs.FS
}

// NewReal returns the machine's own clock, goroutines, network and disk.
func NewReal() *Real { return &Real{fs: newDiskFS(vfs.Default)} }

// Now implements Host.
func (*Real) Now() time.Time { return time.Now() }

// Sleep implements Host.
// An ended context counts before d does, also when there is nothing to wait for: a loop that sleeps always ends with it.
func (*Real) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Go implements Host.
func (*Real) Go(_ string, task func()) { go task() }

// NewEvent implements Host.
func (*Real) NewEvent() Event { return &realEvent{done: make(chan struct{})} }

// WithCancel implements Host.
func (*Real) WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// WithTimeout implements Host.
func (*Real) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// globalSource is the runtime's random stream, which is safe for concurrent use and seeded anew for each process.
type globalSource struct{}

func (globalSource) Uint64() uint64 { return rand.Uint64() }

// Rand implements Host.
func (*Real) Rand() *rand.Rand { return rand.New(globalSource{}) }

// FS implements Host.
func (r *Real) FS() vfs.FS { return r.fs }

// Dial implements Host. A server that is away is tried again at growing intervals, the largest half a second, so that a
// restart is noticed in time for a failover.
//
// Messages over 16 MiB fail in either direction. A connection whose server answers no ping is given up 15 seconds after its
// last sign of life, as long as there are calls on it. There is no encryption: nodes trust their network.
func (*Real) Dial(target string) (Conn, error) {
	params := grpc.ConnectParams{MinConnectTimeout: time.Second}
	params.Backoff.BaseDelay = 20 * time.Millisecond
	params.Backoff.Multiplier = 1.6
	params.Backoff.Jitter = 0.2
	params.Backoff.MaxDelay = dialBackoffCeiling
	conn, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(params),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(2*streamWindowBytes),
		grpc.WithReadBufferSize(socketBufferBytes),
		grpc.WithWriteBufferSize(socketBufferBytes),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// Listen implements Host.
// The port is taken from here on, while connections are answered only after Serve. Clients that ping more
// than twice as often as Dial has them do are cut off.
func (*Real) Listen(addr string) (Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose a free port, or 0 for any", addr, err)
	}
	s := &realServer{listener: l}
	s.Server = grpc.NewServer(
		grpc.InitialWindowSize(streamWindowBytes),
		grpc.InitialConnWindowSize(2*streamWindowBytes),
		grpc.ReadBufferSize(socketBufferBytes),
		grpc.WriteBufferSize(socketBufferBytes),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxStreamsPerConn),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveInterval / 2, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(refuseUnbounded),
		grpc.ChainStreamInterceptor(recoverStream),
	)
	return s, nil
}

// realServer holds its listener from Listen on, so that the address is known before anything is served.
type realServer struct {
	*grpc.Server
	listener net.Listener
	serving  atomic.Bool
}

func (s *realServer) Addr() string { return s.listener.Addr().String() }

// Serve lets gRPC accept in a task of its own, which Stop ends.
func (s *realServer) Serve() {
	s.serving.Store(true)
	go func() { _ = s.Server.Serve(s.listener) }() // returns only when stopped
}

// Stop ends a server that never served as well: then only its port is given back.
func (s *realServer) Stop(ctx context.Context) {
	if !s.serving.Load() {
		_ = s.listener.Close()
		return
	}
	done := make(chan struct{})
	go func() { s.GracefulStop(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
		s.Server.Stop() // ends the contexts of all calls
	}
	// Calls that heed their contexts end now, and should before their state is closed. One that does not (a disk that
	// hangs) must not hang the stop as well.
	t := time.NewTimer(cutOffGrace)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// realEvent is a channel that is closed once.
type realEvent struct {
	once sync.Once
	done chan struct{}
}

func (e *realEvent) Set() { e.once.Do(func() { close(e.done) }) }

func (e *realEvent) IsSet() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Wait looks at the event before it looks at ctx: what has happened counts.
func (e *realEvent) Wait(ctx context.Context) error {
	if e.IsSet() {
		return nil
	}
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
