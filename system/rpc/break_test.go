package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	pb "github.com/forebay/forebay/system/proto"
)

// brittle is a Metadata stub without a network, whose streams do what a test says.
type brittle struct {
	h       host.Host
	open    func() error                                                       // why a stream cannot be opened
	send    func(*pb.OperationBatch) error                                     // why a batch cannot be sent
	answer  func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) // nil, nil: none ever
	execute func(context.Context) error                                        // of probes and single calls

	opened int
	sizes  []int // of the batches sent
}

func (m *brittle) Execute(ctx context.Context, _ *pb.OperationBatch, _ ...grpc.CallOption) (*pb.ResultBatch, error) {
	if m.execute != nil {
		if err := m.execute(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.ResultBatch{}, nil
}

func (m *brittle) Stream(ctx context.Context, _ ...grpc.CallOption) (grpc.BidiStreamingClient[pb.OperationBatch, pb.ResultBatch], error) {
	m.opened++
	if m.open != nil {
		if err := m.open(); err != nil {
			return nil, err
		}
	}
	return &brittleStream{m: m, ctx: ctx, sent: host.NewQueue[*pb.OperationBatch](m.h, 100)}, nil
}

type brittleStream struct {
	grpc.ClientStream
	m    *brittle
	ctx  context.Context
	sent *host.Queue[*pb.OperationBatch]
}

func (s *brittleStream) Send(b *pb.OperationBatch) error {
	s.m.sizes = append(s.m.sizes, len(b.Operations))
	if s.m.send != nil {
		if err := s.m.send(b); err != nil {
			return err
		}
	}
	return s.sent.Send(s.ctx, b)
}

func (s *brittleStream) Recv() (*pb.ResultBatch, error) {
	for {
		b, err := s.sent.Recv(s.ctx)
		if err != nil {
			return nil, err
		}
		if answer, err := s.m.answer(s.ctx, b); answer != nil || err != nil {
			return answer, err
		}
	}
}

// echo answers each operation with the path that it asks for.
func echo(_ context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
	r := &pb.ResultBatch{BatchId: b.BatchId}
	for _, op := range b.Operations {
		r.Results = append(r.Results, &pb.Result{Status: &pb.FileStatus{Path: op.GetGetStatus().GetPath()}})
	}
	return r, nil
}

func stat(path string) *pb.Operation {
	return &pb.Operation{Kind: &pb.Operation_GetStatus{GetStatus: &pb.GetStatus{Path: path}}}
}

// virtually runs body with a coalescer in virtual time, closes it, and holds it to what must be so in the end: nothing in
// flight, nothing queued, every place given back (INV-1, INV-3).
func virtually(t *testing.T, m *brittle, cfg CoalescerConfig, body func(h host.Host, c *Coalescer)) {
	t.Helper()
	v := hosttest.NewVirtual(1)
	m.h = v
	if m.answer == nil {
		m.answer = echo
	}
	err := v.Run(func() {
		c := NewCoalescer(v, m, cfg)
		defer func() {
			c.Close()
			c.Close()
			_ = v.Sleep(context.Background(), time.Hour)
			if held := c.room.Held(); held != 0 || len(c.inFlight) != 0 || len(c.queue) != 0 || len(c.forming) != 0 || c.sending {
				t.Errorf("in the end: %d places, %d in flight, %d queued, %d forming, sending %v", held, len(c.inFlight), len(c.queue), len(c.forming), c.sending)
			}
		}()
		body(v, c)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCoalescerBreakage: whatever goes wrong with a stream, its callers get the kind that says what to do, and the next call
// finds a new stream.
func TestCoalescerBreakage(t *testing.T) {
	once := func(f func() error) func() error {
		done := false
		return func() error {
			if done {
				return nil
			}
			done = true
			return f()
		}
	}
	first := func(bad func(b *pb.OperationBatch) (*pb.ResultBatch, error)) func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
		done := false
		return func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
			if done {
				return echo(ctx, b)
			}
			done = true
			return bad(b)
		}
	}
	for name, tt := range map[string]struct {
		m    *brittle
		kind dfs.Kind
	}{
		"cannot be opened":  {&brittle{open: once(func() error { return status.Error(codes.Unavailable, "refused") })}, dfs.Unavailable},
		"opening is denied": {&brittle{open: once(func() error { return status.Error(codes.PermissionDenied, "no") })}, dfs.PermissionDenied},
		"opening times out": {&brittle{open: once(func() error { return context.DeadlineExceeded })}, dfs.Unavailable},
		"cannot be sent on": {&brittle{send: func() func(*pb.OperationBatch) error {
			f := once(func() error { return io.EOF })
			return func(*pb.OperationBatch) error { return f() }
		}()}, dfs.Unavailable},
		"ends": {&brittle{answer: first(func(*pb.OperationBatch) (*pb.ResultBatch, error) { return nil, io.EOF })}, dfs.Unavailable},
		"breaks": {&brittle{answer: first(func(*pb.OperationBatch) (*pb.ResultBatch, error) {
			return nil, status.Error(codes.Unknown, "goaway")
		})}, dfs.Unavailable},
		"has a reason": {&brittle{answer: first(func(*pb.OperationBatch) (*pb.ResultBatch, error) {
			return nil, ToStatus(dfs.Errorf(dfs.UnsupportedFeature, "stream", "", "use a newer build"))
		})}, dfs.UnsupportedFeature},
		"answers what was not asked": {&brittle{answer: first(func(b *pb.OperationBatch) (*pb.ResultBatch, error) {
			return &pb.ResultBatch{BatchId: b.BatchId + 77}, nil
		})}, dfs.Unavailable},
		"answers too much": {&brittle{answer: first(func(b *pb.OperationBatch) (*pb.ResultBatch, error) {
			return &pb.ResultBatch{BatchId: b.BatchId, Results: []*pb.Result{{}, {}}}, nil
		})}, dfs.Unknown},
		"answers nothing": {&brittle{answer: first(func(b *pb.OperationBatch) (*pb.ResultBatch, error) {
			return &pb.ResultBatch{BatchId: b.BatchId}, nil
		})}, dfs.Unknown},
		"refuses the batch": {&brittle{answer: first(func(b *pb.OperationBatch) (*pb.ResultBatch, error) {
			return &pb.ResultBatch{BatchId: b.BatchId, Error: ErrorToProto(dfs.Errorf(dfs.NotLeader, "execute", "", "x"))}, nil
		})}, dfs.NotLeader},
	} {
		virtually(t, tt.m, CoalescerConfig{}, func(h host.Host, c *Coalescer) {
			ctx, cancel := h.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			who := &Caller{Identity: &pb.Identity{User: "ann"}}
			if _, err := c.Do(ctx, who, stat("/a")); !dfs.IsKind(err, tt.kind) {
				t.Errorf("%s: got %v, want %v", name, err, tt.kind)
			}
			r, err := c.Do(ctx, who, stat("/b"))
			if err != nil || r.Status.Path != "/b" {
				t.Errorf("%s: the next call: %v", name, err)
			}
		})
	}
}

// TestCoalescerAnswersTwice: a second answer to one batch ends the stream; the first answer stands, and others are not mixed up.
func TestCoalescerAnswersTwice(t *testing.T) {
	var last *pb.ResultBatch
	m := &brittle{answer: func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		if last == nil {
			last, _ = echo(ctx, b)
			return last, nil
		}
		if again := last; again.BatchId != 0 {
			last = &pb.ResultBatch{}
			return again, nil
		}
		return echo(ctx, b)
	}}
	virtually(t, m, CoalescerConfig{}, func(h host.Host, c *Coalescer) {
		ctx, cancel := h.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		who := &Caller{}
		if r, err := c.Do(ctx, who, stat("/a")); err != nil || r.Status.Path != "/a" {
			t.Errorf("the first: %v", err)
		}
		if _, err := c.Do(ctx, who, stat("/b")); !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("the second: got %v", err)
		}
		if r, err := c.Do(ctx, who, stat("/c")); err != nil || r.Status.Path != "/c" || m.opened != 2 {
			t.Errorf("the third: %v, %d streams", err, m.opened)
		}
	})
}

// TestCoalescerBounds (INV-1, INV-2): callers over the bound wait and are not sent; batches have at most their size, and no
// more than allowed are unanswered at any time.
func TestCoalescerBounds(t *testing.T) {
	const operations, inFlight, queue = 3, 2, 10
	unanswered, most := 0, 0
	m := &brittle{}
	m.send = func(*pb.OperationBatch) error {
		unanswered++
		most = max(most, unanswered)
		return nil
	}
	m.answer = func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		_ = m.h.Sleep(ctx, 10*time.Millisecond)
		unanswered--
		return echo(ctx, b)
	}
	virtually(t, m, CoalescerConfig{BatchOperations: operations, BatchesInFlight: inFlight, QueueOperations: queue}, func(h host.Host, c *Coalescer) {
		g := host.NewGroup(h, 0)
		whos := []*Caller{{}, {}, {}}
		for i := range 200 {
			_ = g.Go(context.Background(), "caller", func() error {
				path := fmt.Sprint("/", i)
				r, err := c.Do(context.Background(), whos[i%3], stat(path))
				if err == nil && r.Status.Path != path {
					err = fmt.Errorf("asked for %s, got %s", path, r.Status.Path)
				}
				if held := c.room.Held(); held > queue {
					t.Errorf("%d operations, the bound is %d (INV-1)", held, queue)
				}
				return err
			})
		}
		if err := g.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		if most > inFlight {
			t.Errorf("%d batches unanswered, the bound is %d (INV-2)", most, inFlight)
		}
		for _, n := range m.sizes {
			if n > operations || n == 0 {
				t.Errorf("a batch of %d operations, the bound is %d (INV-2)", n, operations)
			}
		}
	})
}

// TestCoalescerTellsTheTime: a batch tells the server the longest time that its callers have, the default when one of them
// has no deadline, and 1 ns for those that are late, never nothing.
func TestCoalescerTellsTheTime(t *testing.T) {
	for name, tt := range map[string]struct {
		callers []time.Duration // 0: no deadline
		want    time.Duration
	}{
		"one": {[]time.Duration{time.Second}, time.Second}, "the longest": {[]time.Duration{time.Second, 5 * time.Second, 2 * time.Second}, 5 * time.Second},
		"one without": {[]time.Duration{time.Second, 0}, 9 * time.Second}, "none": {[]time.Duration{0}, 9 * time.Second},
	} {
		var told time.Duration
		m := &brittle{send: func(b *pb.OperationBatch) error {
			if len(b.Operations) == len(tt.callers) {
				told = time.Duration(b.TimeoutNs)
			}
			return nil
		}}
		block := true
		m.open = func() error { // callers gather in one batch while the stream is being opened
			if block {
				block = false
				return m.h.Sleep(context.Background(), time.Millisecond)
			}
			return nil
		}
		virtually(t, m, CoalescerConfig{CallTimeout: 9 * time.Second}, func(h host.Host, c *Coalescer) {
			g, who := host.NewGroup(h, 0), &Caller{}
			for _, d := range tt.callers {
				ctx := context.Background()
				if d > 0 {
					bounded, cancel := h.WithTimeout(ctx, d+time.Millisecond) // the opening takes one
					defer cancel()
					ctx = bounded
				}
				_ = g.Go(context.Background(), "caller", func() error { _, err := c.Do(ctx, who, stat("/a")); return err })
			}
			if err := g.Wait(context.Background()); err != nil {
				t.Error(err)
			}
			if told != tt.want {
				t.Errorf("%s: told %v, want %v", name, told, tt.want)
			}
		})
	}
}

// TestProbes: a server that is silent while it owes answers is probed at its interval and given up in about four intervals
// when it does not answer the probe; any answer, an error included, is a sign of life; an idle stream is not probed.
func TestProbes(t *testing.T) {
	for name, tt := range map[string]struct {
		probe func(h host.Host, ctx context.Context) error
		dies  bool
	}{
		"silent":    {func(h host.Host, ctx context.Context) error { return h.NewEvent().Wait(ctx) }, true},
		"alive":     {func(host.Host, context.Context) error { return nil }, false},
		"complains": {func(host.Host, context.Context) error { return status.Error(codes.Internal, "x") }, false},
	} {
		for way, call := range map[string]func(ctx context.Context, c *Coalescer) error{
			"stream": func(ctx context.Context, c *Coalescer) error { _, err := c.Do(ctx, &Caller{}, stat("/a")); return err },
			"call": func(ctx context.Context, c *Coalescer) error {
				_, err := c.Call(ctx, &pb.OperationBatch{TimeoutNs: 1, Operations: []*pb.Operation{stat("/a")}})
				return err
			},
		} {
			probes, calls := 0, 0
			m := &brittle{answer: func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) { return nil, nil }}
			m.execute = func(ctx context.Context) error {
				if calls++; way == "call" && calls == 1 { // the call itself is never answered
					return m.h.NewEvent().Wait(ctx)
				}
				probes++
				return tt.probe(m.h, ctx)
			}
			virtually(t, m, CoalescerConfig{ProbeInterval: time.Second}, func(h host.Host, c *Coalescer) {
				_ = h.Sleep(context.Background(), time.Minute)
				if probes != 0 {
					t.Errorf("%s, %s: an idle server was probed", name, way)
				}
				ctx, cancel := h.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				began := h.Now()
				err := call(ctx, c)
				spent := h.Now().Sub(began)
				if tt.dies && (!dfs.IsKind(err, dfs.Unavailable) || spent > 4*time.Second) {
					t.Errorf("%s, %s: %v after %v", name, way, err, spent)
				}
				if !tt.dies && (!dfs.IsKind(err, dfs.DeadlineExceeded) || spent != 20*time.Second || probes < 10) {
					t.Errorf("%s, %s: %v after %v and %d probes", name, way, err, spent, probes)
				}
			})
		}
	}
}

// TestPageBufferShared (INV-1): holders that take and free references at once give the memory back exactly when the last one
// is gone, and no two buffers share memory while both are held.
func TestPageBufferShared(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 200 {
				b := NewPageBuffer(1 + rnd.IntN(pageBufferBytes))
				mark := byte(rnd.Uint32())
				b.Bytes()[0], b.Bytes()[len(b.Bytes())-1] = mark, mark
				holders := rnd.IntN(4)
				var held sync.WaitGroup
				for range holders {
					b.Ref()
					held.Go(func() {
						if b.Bytes()[0] != mark || b.Bytes()[len(b.Bytes())-1] != mark {
							t.Error("another buffer has this memory (INV-1)")
						}
						b.Free()
					})
				}
				if b.Bytes()[0] != mark {
					t.Error("another buffer has this memory (INV-1)")
				}
				held.Wait()
				b.Free()
			}
		})
	}
	wg.Wait()
	b := NewPageBuffer(2 << 20)
	b.Free()
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "INV-1") {
			t.Errorf("a reference to a freed buffer: %v", r)
		}
	}()
	b.Ref()
}

// countingConn counts its closes.
type countingConn struct {
	host.Conn
	closed *int
	fails  bool
}

func (c *countingConn) Close() error {
	*c.closed++
	if c.fails {
		return errors.New("close failed")
	}
	return nil
}

// dialer is a host that only dials.
type dialer struct {
	host.Host
	dial func(string) (host.Conn, error)
}

func (d dialer) Dial(target string) (host.Conn, error) { return d.dial(target) }

// TestPoolOwnership (INV-1): one connection for an address however many ask at once; the bound holds, Drop makes room, each
// connection is closed once, and a closed pool gives none.
func TestPoolOwnership(t *testing.T) {
	closed, dials := 0, 0
	d := dialer{dial: func(target string) (host.Conn, error) {
		dials++
		if target == "bad" {
			return nil, errors.New("no port")
		}
		return &countingConn{closed: &closed, fails: target == "c:1"}, nil
	}}
	p := NewPool(d, 2)
	var wg sync.WaitGroup
	got := make([]host.Conn, 16)
	for i := range got {
		wg.Go(func() { got[i], _ = p.Get("a:1") })
	}
	wg.Wait()
	for _, c := range got {
		if c != got[0] || c == nil {
			t.Fatal("callers got different connections")
		}
	}
	if _, err := p.Get("bad"); !dfs.IsKind(err, dfs.InvalidArgument) || !strings.Contains(err.Error(), "host:port") {
		t.Errorf("a bad address: %v", err)
	}
	if _, err := p.Get("b:1"); err != nil || dials != 3 {
		t.Errorf("a second address: %v, %d dials (a bad one takes no place)", err, dials)
	}
	if _, err := p.Get("c:1"); !dfs.IsKind(err, dfs.ResourceExhausted) {
		t.Errorf("over the bound: %v", err)
	}
	p.Drop("a:1")
	p.Drop("a:1")
	p.Drop("never")
	if _, err := p.Get("c:1"); err != nil || closed != 1 {
		t.Errorf("after a drop: %v, %d closed", err, closed)
	}
	if err := p.Close(); err == nil || closed != 3 {
		t.Errorf("close: %v, %d closed of 3; a failure to close is told", err, closed)
	}
	if err := p.Close(); err != nil || closed != 3 {
		t.Errorf("a second close: %v, %d closed", err, closed)
	}
	if _, err := p.Get("a:1"); !dfs.IsKind(err, dfs.Canceled) {
		t.Errorf("a closed pool: %v", err)
	}
}
