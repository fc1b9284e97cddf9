package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// fakeMaster is a Metadata stub without a network, for tests in virtual time: it keeps every batch that it was asked, and
// answers each as its script says, whether it comes by a single call or on a stream.
type fakeMaster struct {
	h       host.Host
	address string
	script  func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error)

	mu    sync.Mutex
	asked []*pb.OperationBatch
}

// Execute implements pb.MetadataClient. Probes, which have no operation, are answered and not counted.
func (m *fakeMaster) Execute(ctx context.Context, b *pb.OperationBatch, _ ...grpc.CallOption) (*pb.ResultBatch, error) {
	if len(b.Operations) == 0 {
		return &pb.ResultBatch{}, nil
	}
	m.mu.Lock()
	m.asked = append(m.asked, b)
	m.mu.Unlock()
	return m.script(ctx, b)
}

// Stream implements pb.MetadataClient: batches are answered one after the other.
func (m *fakeMaster) Stream(ctx context.Context, _ ...grpc.CallOption) (grpc.BidiStreamingClient[pb.OperationBatch, pb.ResultBatch], error) {
	return &fakeStream{m: m, ctx: ctx, sent: host.NewQueue[*pb.OperationBatch](m.h, 16)}, nil
}

type fakeStream struct {
	grpc.ClientStream
	m    *fakeMaster
	ctx  context.Context
	sent *host.Queue[*pb.OperationBatch]
}

func (s *fakeStream) Send(b *pb.OperationBatch) error { return s.sent.Send(s.ctx, b) }

func (s *fakeStream) Recv() (*pb.ResultBatch, error) {
	b, err := s.sent.Recv(s.ctx)
	if err != nil {
		return nil, err
	}
	answer, err := s.m.Execute(s.ctx, b)
	if err == nil {
		answer.BatchId = b.BatchId
	}
	return answer, err
}

// count is how often the master was asked an operation that is.
func (m *fakeMaster) count(is func(*pb.Operation) bool) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.asked {
		if is(b.Operations[0]) {
			n++
		}
	}
	return n
}

func isOpen(op *pb.Operation) bool     { return op.GetOpenSession() != nil }
func isKeep(op *pb.Operation) bool     { return op.GetKeepSession() != nil }
func isMutation(op *pb.Operation) bool { return op.Sequence != 0 }

// answer is a batch with one result, or with one error.
func answer(r *pb.Result, err error) (*pb.ResultBatch, error) {
	if err != nil {
		r = &pb.Result{Error: rpc.ErrorToProto(err)}
	}
	return &pb.ResultBatch{Results: []*pb.Result{r}}, nil
}

// refuse answers a whole batch with an error, as a master does that evaluates nothing.
func refuse(kind dfs.Kind, leader string) (*pb.ResultBatch, error) {
	return &pb.ResultBatch{Error: rpc.ErrorToProto(&dfs.Error{Kind: kind, Op: "execute", Detail: "scripted", Leader: leader})}, nil
}

// hang answers nothing until the caller gives up, as a paused server does.
func hang(h host.Host, ctx context.Context) (*pb.ResultBatch, error) {
	_ = h.NewEvent().Wait(ctx) // ends with ctx alone
	return nil, ctx.Err()
}

// sessionsThen opens and keeps sessions, numbered from 1, and leaves everything else to next.
func sessionsThen(next func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error)) func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error) {
	opened := uint64(0)
	return func(ctx context.Context, b *pb.OperationBatch) (*pb.ResultBatch, error) {
		switch op := b.Operations[0]; {
		case isOpen(op):
			opened++
			return answer(&pb.Result{Session: opened}, nil)
		case isKeep(op):
			return answer(&pb.Result{}, nil)
		}
		return next(ctx, b)
	}
}

// inVirtualTime runs body as a task of a virtual host, with a client of that host whose masters are fakes. The client is
// closed in the end, so that its keep-alive tasks end too; a task that waits for ever fails the test.
func inVirtualTime(t *testing.T, cfg Config, scripts []func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error),
	body func(h host.Host, c *Client, masters []*fakeMaster)) {
	t.Helper()
	v := hosttest.NewVirtual(uint64(len(scripts)))
	cfg.Host, cfg.Masters = v, nil
	var masters []*fakeMaster
	for i, script := range scripts {
		m := &fakeMaster{h: v, address: string(rune('a'+i)) + ":1", script: script}
		masters = append(masters, m)
		cfg.Masters = append(cfg.Masters, m.address)
	}
	err := v.Run(func() {
		c, err := New(cfg)
		if err != nil {
			t.Error(err)
			return
		}
		for _, m := range masters {
			c.core.masters.known[m.address] = &master{address: m.address, stream: rpc.NewCoalescer(v, m, c.core.masters.cfg)}
		}
		defer func() { // also when body gives up by t.Fatal
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		body(v, c, masters)
	})
	if err != nil {
		t.Error(err)
	}
}

type scripts = []func(context.Context, *pb.OperationBatch) (*pb.ResultBatch, error)

// wantKind fails the test unless err has the kind.
func wantKind(t *testing.T, err error, kind dfs.Kind) {
	t.Helper()
	if !dfs.IsKind(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}

func aMutation() *pb.Operation {
	return &pb.Operation{Kind: &pb.Operation_Rename{Rename: &pb.Rename{Source: "/a", Target: "/b"}}}
}

func aRead() *pb.Operation {
	return &pb.Operation{Kind: &pb.Operation_ListMounts{ListMounts: &pb.ListMounts{}}}
}

// took runs f and returns how much of h's time it took.
func took(h host.Host, f func()) time.Duration {
	began := h.Now()
	f()
	return h.Now().Sub(began)
}
