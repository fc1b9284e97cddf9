package rpc_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// echoMaster answers every status with the path that was asked for: the smallest true Metadata service.
type echoMaster struct {
	pb.UnimplementedMetadataServer
	h        host.Host
	inFlight int
	batches  atomic.Int64
	largest  atomic.Int64
	delay    func(*pb.OperationBatch) time.Duration
	paused   atomic.Bool // nothing is answered any more, probes included
}

func (m *echoMaster) Stream(stream rpc.OperationStream) error {
	return rpc.ServeStream(m.h, stream, m.inFlight, m.answer)
}

func (m *echoMaster) Execute(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
	if m.paused.Load() {
		<-ctx.Done()
	}
	if len(b.Operations) == 0 {
		return &pb.ResultBatch{}, nil
	}
	return m.answer(ctx, b), nil
}

func (m *echoMaster) answer(ctx context.Context, b *pb.OperationBatch) *pb.ResultBatch {
	m.batches.Add(1)
	for n := int64(len(b.Operations)); n > m.largest.Load(); {
		m.largest.Store(n)
	}
	if m.delay != nil {
		if err := m.h.Sleep(ctx, m.delay(b)); err != nil {
			return &pb.ResultBatch{Error: rpc.ErrorToProto(err)}
		}
	}
	results := make([]*pb.Result, len(b.Operations))
	for i, op := range b.Operations {
		results[i] = m.result(b, op)
	}
	return &pb.ResultBatch{Results: results}
}

func (m *echoMaster) result(b *pb.OperationBatch, op *pb.Operation) *pb.Result {
	path := op.GetGetStatus().GetPath()
	if path == "/missing" {
		return &pb.Result{Error: rpc.ErrorToProto(dfs.Errorf(dfs.NotFound, "stat", path, "there is none"))}
	}
	return &pb.Result{Status: &pb.FileStatus{
		Id: 7, Path: path, Owner: b.Identity.GetUser(), Group: "staff", Length: 100 << 10, BlockSize: 64 << 20,
		Mode: 0o644, ModTime: 1_700_000_000_000_000_000, Completed: true, Version: 1,
	}}
}

// start serves m on loopback and returns a stub connected to it, and the server.
func start(tb testing.TB, m *echoMaster) (pb.MetadataClient, host.Server) {
	tb.Helper()
	h := m.h
	server, err := h.Listen("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	pb.RegisterMetadataServer(server, m)
	server.Serve()
	pool := rpc.NewPool(h, 0)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = pool.Close()
		server.Stop(ctx)
	})
	conn, err := pool.Get(server.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	return pb.NewMetadataClient(conn), server
}

func statOf(path string) *pb.Operation {
	return &pb.Operation{Kind: &pb.Operation_GetStatus{GetStatus: &pb.GetStatus{Path: path}}}
}

func caller(user string) *rpc.Caller { return &rpc.Caller{Identity: &pb.Identity{User: user}} }

func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

// TestCoalescerPairsAnswers: whatever the order of answers, every caller gets its own.
func TestCoalescerPairsAnswers(t *testing.T) {
	h := host.NewReal()
	m := &echoMaster{h: h, inFlight: 8, delay: func(b *pb.OperationBatch) time.Duration {
		return time.Duration(b.BatchId*7919%5) * time.Millisecond
	}}
	stub, _ := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{BatchOperations: 16})
	defer c.Close()
	ctx := testContext(t)
	callers := []*rpc.Caller{caller("ann"), caller("bob"), caller("eve")}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			who := callers[i%len(callers)]
			for j := range 50 {
				path := fmt.Sprintf("/%d/%d", i, j)
				r, err := c.Do(ctx, who, statOf(path))
				if err != nil || r.Status.Path != path || r.Status.Owner != who.Identity.User {
					t.Errorf("asked for %s as %s: got %v, %v", path, who.Identity.User, r, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := m.largest.Load(); got > 16 {
		t.Errorf("a batch of %d operations left, the bound is 16", got)
	}
	if got := m.batches.Load(); got >= 64*50 {
		t.Errorf("%d batches for %d operations: nothing was coalesced", got, 64*50)
	}
}

// TestCoalescerResultErrors: an operation's error is its caller's alone.
func TestCoalescerResultErrors(t *testing.T) {
	h := host.NewReal()
	stub, _ := start(t, &echoMaster{h: h, inFlight: 2})
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{})
	defer c.Close()
	_, err := c.Do(testContext(t), caller("ann"), statOf("/missing"))
	if !dfs.IsKind(err, dfs.NotFound) {
		t.Fatalf("got %v, want not found", err)
	}
}

// TestCoalescerBrokenStream: a server's death fails what is in flight as Unavailable, and a later call may find it back.
func TestCoalescerBrokenStream(t *testing.T) {
	h := host.NewReal()
	m := &echoMaster{h: h, inFlight: 4, delay: func(*pb.OperationBatch) time.Duration { return time.Hour }}
	stub, server := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{})
	defer c.Close()
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Do(ctx, caller("ann"), statOf("/a")); !dfs.IsKind(err, dfs.Unavailable) {
				t.Errorf("got %v, want unavailable", err)
			}
		})
	}
	for m.batches.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	stopNow, cancel := context.WithCancel(context.Background())
	cancel()
	server.Stop(stopNow)
	wg.Wait()

	second, err := h.Listen(server.Addr())
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	m2 := &echoMaster{h: h, inFlight: 4}
	pb.RegisterMetadataServer(second, m2)
	second.Serve()
	defer second.Stop(stopNow)
	for {
		_, err := c.Do(ctx, caller("ann"), statOf("/a"))
		if err == nil {
			return
		}
		if !dfs.IsKind(err, dfs.Unavailable) {
			t.Fatalf("got %v, want unavailable until the server is back", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestCoalescerCallerGivesUp: a caller's deadline is its own, and its place is given back.
func TestCoalescerCallerGivesUp(t *testing.T) {
	h := host.NewReal()
	release := make(chan struct{})
	m := &echoMaster{h: h, inFlight: 4, delay: func(*pb.OperationBatch) time.Duration { <-release; return 0 }}
	stub, _ := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{QueueOperations: 2})
	defer c.Close()
	who := caller("ann")
	for range 2 {
		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := c.Do(short, who, statOf("/a")); !dfs.IsKind(err, dfs.DeadlineExceeded) {
			t.Errorf("got %v, want deadline exceeded", err)
		}
		cancel()
	}
	full, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(full, who, statOf("/b")); !dfs.IsKind(err, dfs.DeadlineExceeded) {
		t.Errorf("got %v at the bound, want to wait until the deadline", err)
	}
	close(release)
	if _, err := c.Do(testContext(t), who, statOf("/c")); err != nil {
		t.Errorf("after the queue drained: %v", err)
	}
}

// TestCoalescerClose: callers get Canceled, before and after.
func TestCoalescerClose(t *testing.T) {
	h := host.NewReal()
	m := &echoMaster{h: h, inFlight: 4, delay: func(*pb.OperationBatch) time.Duration { return time.Hour }}
	stub, _ := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Do(testContext(t), caller("ann"), statOf("/a")); !dfs.IsKind(err, dfs.Canceled) {
			t.Errorf("got %v in flight, want canceled", err)
		}
	})
	for m.batches.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Close()
	wg.Wait()
	if _, err := c.Do(testContext(t), caller("ann"), statOf("/a")); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("got %v after Close, want canceled", err)
	}
}

// TestCoalescerPausedServer: a slow server is waited for; one that does not answer probes either breaks the stream.
func TestCoalescerPausedServer(t *testing.T) {
	h := host.NewReal()
	m := &echoMaster{h: h, inFlight: 4, delay: func(*pb.OperationBatch) time.Duration { return time.Hour }}
	stub, _ := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{ProbeInterval: 20 * time.Millisecond})
	defer c.Close()
	slow, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Do(slow, caller("ann"), statOf("/a")); !dfs.IsKind(err, dfs.DeadlineExceeded) {
		t.Errorf("a slow server: got %v, want the caller's own deadline", err)
	}
	m.paused.Store(true)
	if _, err := c.Do(testContext(t), caller("ann"), statOf("/a")); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("a paused server: got %v, want unavailable", err)
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchmarkStatus runs call from 64 tasks and reports operations a second and a CPU-second, client and server together.
func benchmarkStatus(b *testing.B, tasks int, call func(pb.MetadataClient, host.Host) (func(string) error, func())) {
	h := host.NewReal()
	stub, _ := start(b, &echoMaster{h: h, inFlight: 16})
	do, stop := call(stub, h)
	defer stop()
	if err := do("/warm"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range tasks {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := do("/datasets/imagenet/train/n01440764/n01440764_10026.JPEG"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.N)/(cpuTime()-cpu).Seconds(), "ops/cpu-s")
}

func BenchmarkStatusCoalesced(b *testing.B) {
	for _, tasks := range []int{1, 64, 256, 1024} {
		b.Run(fmt.Sprintf("callers=%d", tasks), func(b *testing.B) {
			benchmarkStatus(b, tasks, func(stub pb.MetadataClient, h host.Host) (func(string) error, func()) {
				c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{})
				who := caller("ann")
				ctx := testContext(b)
				return func(path string) error {
					_, err := c.Do(ctx, who, statOf(path))
					return err
				}, c.Close
			})
		})
	}
}

func BenchmarkStatusUnary(b *testing.B) {
	for _, tasks := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", tasks), func(b *testing.B) {
			benchmarkStatus(b, tasks, func(stub pb.MetadataClient, _ host.Host) (func(string) error, func()) {
				ctx := testContext(b)
				return func(path string) error {
					_, err := stub.Execute(ctx, &pb.OperationBatch{
						TimeoutNs: int64(time.Minute), Identity: &pb.Identity{User: "ann"},
						Operations: []*pb.Operation{statOf(path)},
					})
					return err
				}, func() {}
			})
		})
	}
}

func contentSubtype(name string) grpc.CallOption { return grpc.CallContentSubtype(name) }
