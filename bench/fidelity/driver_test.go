package fidelity

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/sim/cluster"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
)

// inSimulator runs f with a driver on a node of a simulated cluster that is up.
func inSimulator(t *testing.T, f func(ctx context.Context, s *simulation)) {
	t.Helper()
	w := world.New(1)
	defer w.Close()
	c := cluster.New(w, cluster.Config{Masters: 1, Workers: 1, Model: known(), OneMachine: true})
	n := w.NewNode("client", c.Place(0))
	s := &simulation{cluster: c, node: n, driver: driver{h: n, counts: &counts{}}, neighbours: w.NewNode("neighbours", c.Place(0))}
	s.originals = s.put
	n.Go("driver", func() {
		defer w.Sched.Stop()
		ctx := context.Background()
		_ = n.Sleep(ctx, simWarmUp)
		var err error
		if s.c, err = c.ClientOn(n, func(cfg *client.Config) { cfg.Host = counting{host.Host(n), s.counts} }); err != nil {
			t.Error(err)
			return
		}
		f(ctx, s)
		s.done = true
	})
	if err := w.Sched.Run(time.Hour); err != nil || !s.done {
		t.Fatalf("%v, done %v", err, s.done)
	}
}

// TestDriverNoticesWrongAnswers: an operation that is answered with something else is an error, and no fast one.
func TestDriverNoticesWrongAnswers(t *testing.T) {
	inSimulator(t, func(ctx context.Context, s *simulation) {
		dir, err := s.dir(ctx)
		if err != nil {
			t.Error(err)
		}
		if err := s.change(ctx, Workload{Op: opWrite, Type: dfs.WriteMustCache}, dir, 0, make([]byte, 100)); err != nil {
			t.Error(err)
		}
		if err := s.list(ctx, dir, 1); err != nil {
			t.Error(err)
		}
		if err := s.list(ctx, dir, 2); err == nil || !strings.Contains(err.Error(), "want 2") {
			t.Errorf("a listing that lacks an entry: %v", err)
		}
		if err := s.read(ctx, name(dir, 0), 100); err != nil {
			t.Error(err)
		}
		for _, size := range []int{99, 101} {
			if err := s.read(ctx, name(dir, 0), size); err == nil {
				t.Errorf("100 bytes were taken for %d", size)
			}
		}
		if err := s.change(ctx, Workload{Op: opMkdir}, dir, 0, nil); !dfs.IsKind(err, dfs.AlreadyExists) {
			t.Errorf("a directory where a file is: %v", err)
		}
		if _, err := s.prepare(ctx, Workload{Op: "sleep", Ops: 1, Callers: 1}); err == nil {
			t.Error("an operation that there is not")
		}
	})
}

// TestDriverStopsAtAnError: the first error ends the job for all callers, and is told.
func TestDriverStopsAtAnError(t *testing.T) {
	inSimulator(t, func(ctx context.Context, s *simulation) {
		boom, done := errors.New("boom"), 0
		_, err := s.run(ctx, 4, job{1000, func(ctx context.Context, i int) error {
			done++
			if i == 10 {
				return boom
			}
			return s.node.Sleep(ctx, time.Millisecond)
		}})
		if !errors.Is(err, boom) || done > 20 {
			t.Errorf("%v after %d operations", err, done)
		}
		began := s.node.Now()
		_, err = s.run(ctx, 2, job{4, func(ctx context.Context, _ int) error { return s.node.Sleep(ctx, time.Hour) }})
		if err == nil || s.node.Now().Sub(began) > 2*maxSlice {
			t.Errorf("a slice that hangs ended after %v: %v", s.node.Now().Sub(began), err)
		}
	})
}

// TestDriverIsAClosedLoop: each operation is done once, by callers that never have more than one.
func TestDriverIsAClosedLoop(t *testing.T) {
	inSimulator(t, func(ctx context.Context, s *simulation) {
		var times [100]int
		now, most := 0, 0
		out, err := s.run(ctx, 7, job{len(times), func(ctx context.Context, i int) error {
			times[i]++
			now++
			most = max(most, now)
			err := s.node.Sleep(ctx, time.Duration(1+i%3)*time.Millisecond)
			now--
			return err
		}})
		if err != nil || most != 7 {
			t.Errorf("%v; %d at a time", err, most)
		}
		for i, n := range times {
			if n != 1 || out.Latencies[i] != time.Duration(1+i%3)*time.Millisecond {
				t.Errorf("operation %d was done %d times, in %v", i, n, out.Latencies[i])
			}
		}
		if least := 200 * time.Millisecond / 7; out.Wall < least || out.Wall > least+10*time.Millisecond {
			t.Errorf("200 ms by 7 callers took %v", out.Wall)
		}
	})
}

// TestNeighbours: other processes have their share of the machine, also when it is busy, and slow the driver by as much.
func TestNeighbours(t *testing.T) {
	for _, share := range []float64{0, 0.3, 0.6} {
		inSimulator(t, func(ctx context.Context, s *simulation) {
			s.others = share
			s.disturb()
			began, before := s.node.Now(), s.neighbours.Used()
			work := job{4000, func(context.Context, int) error { return s.node.Compute(ctx, time.Millisecond) }}
			if _, err := s.run(ctx, 4, work); err != nil {
				t.Error(err)
			}
			wall := s.node.Now().Sub(began)
			if got := float64(s.neighbours.Used()-before) / float64(wall) / 2; got < share-0.02 || got > share+0.02 {
				t.Errorf("neighbours had %.3f of the machine, want %v", got, share)
			}
			want := time.Duration(2 * float64(time.Second) / (1 - share)) // 4 s of work on 2 cores
			if wall < want*95/100 || wall > want*105/100 {
				t.Errorf("beside neighbours with %v the work took %v, want %v", share, wall, want)
			}
		})
	}
}

// TestCounting: messages count where they belong, once each, as seen by the client.
func TestCounting(t *testing.T) {
	h := counting{host.Host(host.NewReal()), &counts{}}
	server, err := h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proto.RegisterMetadataServer(server, metadataEcho{})
	proto.RegisterDataServer(server, dataEcho{})
	server.Serve()
	defer server.Stop(context.Background())
	conn, err := h.Dial(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	master := proto.NewMetadataClient(conn)
	if _, err := master.Execute(ctx, &proto.OperationBatch{}); err != nil {
		t.Fatal(err)
	}
	if m, d := h.counts.metadata.Load(), h.counts.data.Load(); m != 2 || d != 0 {
		t.Errorf("a call counts %d and %d", m, d)
	}
	s, err := master.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Send(&proto.OperationBatch{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := proto.NewDataClient(conn).Check(ctx, &proto.CheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if m, d := h.counts.metadata.Load(), h.counts.data.Load(); m != 8 || d != 2 {
		t.Errorf("counted %d and %d, want 8 and 2", m, d)
	}
}

type metadataEcho struct {
	proto.UnimplementedMetadataServer
}

func (metadataEcho) Execute(context.Context, *proto.OperationBatch) (*proto.ResultBatch, error) {
	return &proto.ResultBatch{}, nil
}

func (metadataEcho) Stream(s grpc.BidiStreamingServer[proto.OperationBatch, proto.ResultBatch]) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil
		}
		if err := s.Send(&proto.ResultBatch{}); err != nil {
			return err
		}
	}
}

type dataEcho struct{ proto.UnimplementedDataServer }

func (dataEcho) Check(context.Context, *proto.CheckRequest) (*proto.CheckResponse, error) {
	return &proto.CheckResponse{}, nil
}
