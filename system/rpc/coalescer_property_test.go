package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// shakyMaster answers after random delays and breaks streams at random; it remembers what it has executed.
type shakyMaster struct {
	pb.UnimplementedMetadataServer
	h      host.Host
	breaks atomic.Int64

	mu        sync.Mutex
	rnd       *rand.Rand
	executed  map[string]int
	acked     map[uint64]uint64 // by session: the highest acked_below seen
	oversized int
	calm      bool // no more faults
}

func (m *shakyMaster) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calm {
		return -1
	}
	return m.rnd.IntN(n)
}

func (m *shakyMaster) Execute(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
	return &pb.ResultBatch{}, nil // probes
}

func (m *shakyMaster) Stream(stream rpc.OperationStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	return rpc.ServeStream(m.h, &cutStream{stream, ctx}, 8, func(ctx context.Context, b *pb.OperationBatch) *pb.ResultBatch {
		results := make([]*pb.Result, len(b.Operations))
		m.mu.Lock()
		if len(b.Operations) > 8 {
			m.oversized++
		}
		m.acked[b.Session] = max(m.acked[b.Session], b.AckedBelow)
		for i, op := range b.Operations {
			path := op.GetGetStatus().GetPath()
			m.executed[path]++
			results[i] = &pb.Result{Status: &pb.FileStatus{Path: path, Owner: b.Identity.GetUser()}}
		}
		m.mu.Unlock()
		_ = m.h.Sleep(ctx, time.Duration(m.roll(3))*time.Millisecond)
		if m.roll(40) == 0 {
			m.breaks.Add(1)
			cancel()
		}
		return &pb.ResultBatch{Results: results}
	})
}

// cutStream ends when its context does, as a connection that breaks.
type cutStream struct {
	rpc.OperationStream
	ctx context.Context
}

func (s *cutStream) Context() context.Context { return s.ctx }

func (s *cutStream) Recv() (*pb.OperationBatch, error) {
	type received struct {
		b   *pb.OperationBatch
		err error
	}
	got := make(chan received, 1)
	go func() {
		b, err := s.OperationStream.Recv()
		got <- received{b, err}
	}()
	select {
	case r := <-got:
		return r.b, r.err
	case <-s.ctx.Done():
		return nil, io.ErrUnexpectedEOF
	}
}

func startShaky(t *testing.T, seed uint64) (*shakyMaster, pb.MetadataClient) {
	t.Helper()
	h := host.NewReal()
	m := &shakyMaster{h: h, rnd: rand.New(rand.NewPCG(seed, 1)), executed: map[string]int{}, acked: map[uint64]uint64{}}
	server, err := h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pb.RegisterMetadataServer(server, m)
	server.Serve()
	conn, err := h.Dial(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = conn.Close()
		server.Stop(now)
	})
	return m, pb.NewMetadataClient(conn)
}

// TestCoalescerProperty (INV-1 to INV-3): with random delays, broken streams and callers that give up, every call ends
// exactly once: with its own answer, with Unavailable, or with its own deadline; an answer means that the operation was
// executed; and no place is lost, so that afterwards everything is served.
func TestCoalescerProperty(t *testing.T) {
	for seed := range uint64(3) {
		m, stub := startShaky(t, seed)
		c := rpc.NewCoalescer(m.h, stub, rpc.CoalescerConfig{BatchOperations: 8, BatchesInFlight: 3, QueueOperations: 40})
		callers := []*rpc.Caller{caller("ann"), caller("bob")}
		var answered, broken, gaveUp atomic.Int64
		var wg sync.WaitGroup
		for i := range 60 {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() {
				for k := range 25 {
					path := fmt.Sprintf("/%d/%d", i, k)
					patience := time.Minute
					if rnd.IntN(10) == 0 {
						patience = time.Duration(rnd.IntN(3000)) * time.Microsecond
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					who := callers[rnd.IntN(2)]
					r, err := c.Do(ctx, who, statOf(path))
					cancel()
					switch {
					case err == nil:
						answered.Add(1)
						m.mu.Lock()
						n := m.executed[path]
						m.mu.Unlock()
						if r.Status.Path != path || r.Status.Owner != who.Identity.User || n != 1 {
							t.Errorf("asked for %s as %s: got %v, executed %d times", path, who.Identity.User, r.Status, n)
						}
					case dfs.IsKind(err, dfs.Unavailable):
						broken.Add(1)
					case dfs.IsKind(err, dfs.DeadlineExceeded) && patience < time.Minute:
						gaveUp.Add(1)
					default:
						t.Errorf("%s: %v", path, err)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("seed %d: %d answered, %d broken by %d breaks, %d gave up", seed, answered.Load(), broken.Load(), m.breaks.Load(), gaveUp.Load())
		if m.oversized > 0 || (broken.Load() > 0 && m.breaks.Load() == 0) || answered.Load() == 0 {
			t.Errorf("%d batches over the bound, %d breaks, %d broken, %d answered", m.oversized, m.breaks.Load(), broken.Load(), answered.Load())
		}
		m.mu.Lock()
		m.calm = true
		m.mu.Unlock()
		for i := range 100 { // more than QueueOperations: a place that was lost would show
			ctx := testContext(t)
			if _, err := c.Do(ctx, callers[0], statOf(fmt.Sprint("/after/", i))); err != nil && !dfs.IsKind(err, dfs.Unavailable) {
				t.Fatalf("afterwards: %v", err)
			}
		}
		c.Close()
	}
}

// TestMalformedOperation: what cannot be encoded fails alone, as InvalidArgument; what shared its batch or its stream is
// Unavailable at worst, and served when tried again.
func TestMalformedOperation(t *testing.T) {
	h := host.NewReal()
	m := &echoMaster{h: h, inFlight: 4, delay: func(*pb.OperationBatch) time.Duration { return time.Millisecond }}
	stub, _ := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{})
	defer c.Close()
	ctx, who := testContext(t), caller("ann")
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			path := "/good"
			if i%10 == 0 {
				path = "/bad\xff"
			}
			for range 200 {
				_, err := c.Do(ctx, who, statOf(path))
				switch {
				case path != "/good":
					if !dfs.IsKind(err, dfs.InvalidArgument) {
						t.Errorf("the bad one: %v", err)
					}
					return
				case err == nil:
					return
				case !dfs.IsKind(err, dfs.Unavailable):
					t.Errorf("a good one: %v", err)
					return
				}
			}
			t.Error("a good operation never got through")
		})
	}
	wg.Wait()
	if _, err := c.Do(ctx, caller("\xff"), statOf("/good")); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a bad identity: %v", err)
	}
	if _, err := c.Call(ctx, &pb.OperationBatch{TimeoutNs: 1, Operations: []*pb.Operation{statOf("/\xff")}}); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a bad call: %v", err)
	}
}

// TestCallWatchesTheMaster: a call to a slow master lasts as long as its caller wants; one to a paused master ends as
// Unavailable long before.
func TestCallWatchesTheMaster(t *testing.T) {
	h := host.NewReal()
	hung := make(chan struct{})
	defer close(hung)
	m := &echoMaster{h: h, inFlight: 4, delay: func(*pb.OperationBatch) time.Duration { <-hung; return 0 }}
	stub, _ := start(t, m)
	c := rpc.NewCoalescer(h, stub, rpc.CoalescerConfig{ProbeInterval: 150 * time.Millisecond}) // twice that to answer a probe
	defer c.Close()
	call := &pb.OperationBatch{TimeoutNs: int64(time.Minute), Operations: []*pb.Operation{statOf("/a")}}
	slow, cancel := context.WithTimeout(context.Background(), 900*time.Millisecond)
	defer cancel()
	if _, err := c.Call(slow, call); !dfs.IsKind(err, dfs.DeadlineExceeded) {
		t.Errorf("a slow master: %v, want the caller's own deadline", err)
	}
	m.paused.Store(true)
	if _, err := c.Call(testContext(t), call); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("a paused master: %v, want unavailable", err)
	}
	ended, cancel2 := context.WithCancel(context.Background())
	cancel2()
	if _, err := c.Call(ended, call); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("an ended context: %v, want canceled", err)
	}
	if _, err := c.Do(ended, caller("ann"), statOf("/a")); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("an ended context: %v, want canceled", err)
	}
}

// TestErrorsAreEncodable: an error that quotes any bytes can be sent, by status and inside a batch.
func TestErrorsAreEncodable(t *testing.T) {
	for _, err := range []error{
		dfs.Errorf(dfs.UnderStore, "li\xffst", "/a\xfe", "open %s: no", "x\xff"), errors.New("plain \xff"),
		&dfs.Error{Kind: dfs.NotLeader, Leader: "\xff:1"},
	} {
		batch := &pb.ResultBatch{Error: rpc.ErrorToProto(err)}
		if _, failed := proto.Marshal(batch); failed != nil {
			t.Errorf("%q: %v", err, failed)
		}
		got := rpc.FromStatus(rpc.ToStatus(err))
		if dfs.KindOf(got) != dfs.KindOf(err) || !utf8.ValidString(got.Error()) {
			t.Errorf("%q: came back as %q", err, got)
		}
		s, _ := status.FromError(rpc.ToStatus(err))
		if _, failed := proto.Marshal(s.Proto()); failed != nil {
			t.Errorf("%q: %v", err, failed)
		}
	}
}

// TestServeStreamWantsTimeouts: a batch without a timeout is refused, and the stream serves on.
func TestServeStreamWantsTimeouts(t *testing.T) {
	h := host.NewReal()
	stub, _ := start(t, &echoMaster{h: h, inFlight: 2})
	stream, err := stub.Stream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, timeout := range []int64{0, -1, int64(time.Minute)} {
		if err := stream.Send(&pb.OperationBatch{BatchId: uint64(i), TimeoutNs: timeout, Operations: []*pb.Operation{statOf("/a")}}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || answer.BatchId != uint64(i) {
			t.Fatalf("batch %d: %v, %v", i, answer, err)
		}
		if refused := dfs.IsKind(rpc.ErrorFromProto(answer.Error), dfs.InvalidArgument); refused != (timeout <= 0) {
			t.Errorf("a timeout of %d: %v", timeout, answer.Error)
		}
	}
}
