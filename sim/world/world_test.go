package world

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/host"
)

var background = context.Background()

// echoer answers with what it got, and counts.
type echoer struct {
	testpb.UnimplementedTestServiceServer
	h        host.Host
	calls    int
	canceled int
	delay    time.Duration
}

func (e *echoer) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	e.calls++
	if err := e.h.Sleep(ctx, e.delay); err != nil {
		e.canceled++
		return nil, status.FromContextError(err).Err()
	}
	return &testpb.SimpleResponse{Payload: in.Payload}, nil
}

func (e *echoer) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			e.canceled++
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// pair is a server that runs and a client's node.
type pair struct {
	t      *testing.T
	w      *World
	client *Node
	server *Node
	echo   *echoer
}

func newPair(t *testing.T, seed uint64) *pair {
	w := New(seed)
	t.Cleanup(w.Close)
	p := &pair{t: t, w: w, client: w.NewNode("client", NodeConfig{Rack: "a", Zone: "a"}), server: w.NewNode("server", NodeConfig{Rack: "b", Zone: "b"})}
	p.serve()
	return p
}

// serve starts the service in the server's present life.
func (p *pair) serve() {
	p.echo = &echoer{h: p.server}
	s, err := p.server.Listen("server:1")
	if err != nil {
		p.t.Fatal(err)
	}
	testpb.RegisterTestServiceServer(s, p.echo)
	s.Serve()
}

// run runs the client's task to its end.
func (p *pair) run(task func(c testpb.TestServiceClient)) {
	p.t.Helper()
	ended := false
	p.client.Go("test", func() {
		conn, err := p.client.Dial("server:1")
		if err != nil {
			p.t.Error(err)
		}
		task(testpb.NewTestServiceClient(conn))
		ended = true
		p.w.Sched.Stop()
	})
	if err := p.w.Sched.Run(time.Hour); err != nil || !ended {
		p.t.Fatalf("%v; ended: %v", err, ended)
	}
}

func (p *pair) call(c testpb.TestServiceClient, timeout time.Duration) error {
	ctx, cancel := p.client.WithTimeout(background, timeout)
	defer cancel()
	out, err := c.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(10)})
	if err == nil && len(out.Payload.Body) != 10 {
		p.t.Error("another answer")
	}
	return err
}

// TestLatency: a round trip takes what the topology says, and bytes what the network card says.
func TestLatency(t *testing.T) {
	p := newPair(t, 1)
	p.w.Net.Topology = Topology{Rack: time.Millisecond, Zone: 2 * time.Millisecond, Far: 5 * time.Millisecond}
	p.run(func(c testpb.TestServiceClient) {
		_ = p.call(c, time.Second) // connects
		before := p.w.Sched.Elapsed()
		if err := p.call(c, time.Second); err != nil {
			t.Error(err)
		}
		if took := p.w.Sched.Elapsed() - before; took < 10*time.Millisecond || took > 11*time.Millisecond {
			t.Errorf("a round trip between zones took %v, want 10 ms", took)
		}
		ctx, cancel := p.client.WithTimeout(background, time.Minute)
		defer cancel()
		before = p.w.Sched.Elapsed()
		if _, err := c.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(12_500_000)}); err != nil { // 10 ms at 10 Gbit/s, at four cards
			t.Error(err)
		}
		if took := p.w.Sched.Elapsed() - before; took < 50*time.Millisecond || took > 51*time.Millisecond {
			t.Errorf("12.5 MB there and back took %v, want 50 ms", took)
		}
	})
}

// TestCrash: calls under way end as Unavailable soon after the server's crash, later ones are refused, and those after its
// restart are served; the handlers' contexts ended with them.
func TestCrash(t *testing.T) {
	p := newPair(t, 1)
	p.echo.delay = time.Minute
	p.w.Sched.After(time.Second, p.server.Crash)
	p.w.Sched.After(3*time.Second, func() { p.server.Restart(); p.serve() })
	p.run(func(c testpb.TestServiceClient) {
		err := p.call(c, time.Minute)
		if at := p.w.Sched.Elapsed(); status.Code(err) != codes.Unavailable || at < time.Second || at > time.Second+10*time.Millisecond {
			t.Errorf("a call of a server that crashes: %v at %v", err, at)
		}
		if err := p.call(c, time.Minute); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "refused") {
			t.Errorf("a call of a dead server: %v", err)
		}
		_ = p.client.Sleep(background, 5*time.Second)
		if err := p.call(c, time.Minute); err != nil || p.echo.calls != 1 {
			t.Errorf("a call after the restart: %v, %d calls", err, p.echo.calls)
		}
	})
}

// TestClientCrash: a server's handlers hear that their client is gone.
func TestClientCrash(t *testing.T) {
	p := newPair(t, 1)
	p.echo.delay = time.Hour
	p.client.Go("caller", func() {
		conn, _ := p.client.Dial("server:1")
		_ = p.call(testpb.NewTestServiceClient(conn), 50*time.Minute)
		t.Error("the caller survived its crash")
	})
	p.w.Sched.After(time.Second, p.client.Crash)
	if err := p.w.Sched.Run(2 * time.Second); err != nil || p.echo.canceled != 1 {
		t.Errorf("%v; %d handlers ended", err, p.echo.canceled)
	}
}

// TestPartition: a short cut delays and loses nothing; a long one breaks the connection at both ends, also when nobody sends;
// a cut one way stops only that way.
func TestPartition(t *testing.T) {
	p := newPair(t, 1)
	p.run(func(c testpb.TestServiceClient) {
		if err := p.call(c, time.Second); err != nil {
			t.Fatal(err)
		}
		p.w.Net.Partition([]string{"client"}, []string{"server"})
		p.w.Sched.After(2*time.Second, p.w.Net.HealAll)
		before := p.w.Sched.Elapsed()
		if err := p.call(c, time.Minute); err != nil || p.w.Sched.Elapsed()-before < 2*time.Second {
			t.Errorf("over a short partition: %v after %v", err, p.w.Sched.Elapsed()-before)
		}
		stream, err := c.FullDuplexCall(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(1)}); err != nil {
			t.Error(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Error(err)
		}
		before = p.w.Sched.Elapsed()
		p.w.Net.Cut("server", "client") // one way: the request gets through, the answer does not
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || p.w.Sched.Elapsed()-before != brokenAfter {
			t.Errorf("a silent stream: %v after %v", err, p.w.Sched.Elapsed()-before)
		}
		_ = p.client.Sleep(background, time.Second)
		if p.echo.canceled != 1 {
			t.Errorf("%d handlers heard of it", p.echo.canceled)
		}
		calls := p.echo.calls
		if err := p.call(c, 3*time.Second); status.Code(err) != codes.Unavailable || p.echo.calls != calls {
			t.Errorf("dialing over a cut way: %v", err)
		}
		p.w.Net.Heal("server", "client")
		if err := p.call(c, 3*time.Second); err != nil {
			t.Errorf("after the partition: %v", err)
		}
	})
}

// TestOrder: what one connection carries keeps its order, whatever the latencies, losses and cuts.
func TestOrder(t *testing.T) {
	for seed := range uint64(20) {
		p := newPair(t, seed)
		p.w.Net.Topology.Jitter, p.w.Net.Loss = 10, 0.2
		p.w.Sched.After(20*time.Millisecond, func() { p.w.Net.Cut("client", "server") })
		p.w.Sched.After(900*time.Millisecond, p.w.Net.HealAll)
		p.run(func(c testpb.TestServiceClient) {
			stream, err := c.FullDuplexCall(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			const messages = 200
			p.client.Go("sender", func() {
				for i := range messages {
					_ = stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: []byte{byte(i)}}})
					_ = p.client.Sleep(background, time.Duration(p.client.Rand().IntN(300))*time.Microsecond)
				}
			})
			for i := range messages {
				out, err := stream.Recv()
				if err != nil || out.Payload.Body[0] != byte(i) {
					t.Fatalf("seed %d: message %d: %v, %v", seed, i, out, err)
				}
			}
		})
	}
}

// TestFlowControl: a receiver that takes nothing stops its sender at the window, and the rest follows when it reads.
func TestFlowControl(t *testing.T) {
	p := newPair(t, 1)
	p.run(func(c testpb.TestServiceClient) {
		stream, err := c.FullDuplexCall(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		const size, messages = 1 << 20, 64
		sent := 0
		p.client.Go("sender", func() {
			for range messages {
				if stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(size)}) == nil {
					sent++
				}
			}
		})
		_ = p.client.Sleep(background, time.Minute)
		if most := 2*windowBytes/size + 4; sent < 8 || sent > most {
			t.Errorf("%d MiB were sent to readers that take nothing, want 8 to %d", sent, most)
		}
		for range messages {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		if sent != messages {
			t.Errorf("%d of %d were sent", sent, messages)
		}
	})
}

// TestStop: a server that stops refuses new calls, lets running ones end, and cuts off what takes too long.
func TestStop(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, time.Hour} {
		p := newPair(t, 1)
		p.echo.delay = delay
		s := p.server.servers["server:1"]
		stopped := time.Duration(0)
		p.w.Sched.After(500*time.Millisecond, func() {
			p.server.Go("stop", func() {
				ctx, cancel := p.server.WithTimeout(background, 10*time.Second)
				defer cancel()
				s.Stop(ctx)
				stopped = p.w.Sched.Elapsed()
			})
		})
		p.run(func(c testpb.TestServiceClient) {
			err := p.call(c, 2*time.Hour)
			if (err == nil) != (delay == time.Second) {
				t.Errorf("a call of %v: %v", delay, err)
			}
			if err := p.call(c, time.Minute); status.Code(err) != codes.Unavailable {
				t.Errorf("a call of a stopped server: %v", err)
			}
			_ = p.client.Sleep(background, time.Minute)
		})
		if want := min(delay, 10500*time.Millisecond); stopped < want || stopped > want+2*time.Second {
			t.Errorf("stopped at %v, want about %v", stopped, want)
		}
	}
}

// TestCores: requests queue at a node's cores.
func TestCores(t *testing.T) {
	p := newPair(t, 1)
	p.server.on = NewMachine(2)
	p.w.CPU = func(string, int) time.Duration { return 10 * time.Millisecond }
	p.run(func(c testpb.TestServiceClient) {
		g := host.NewGroup(p.client, 0)
		for range 20 {
			_ = g.Go(background, "caller", func() error { return p.call(c, time.Minute) })
		}
		if err := g.Wait(background); err != nil {
			t.Error(err)
		}
		if at := p.w.Sched.Elapsed(); at < 100*time.Millisecond || at > 105*time.Millisecond {
			t.Errorf("20 requests of 10 ms on 2 cores took %v", at)
		}
	})
}

// TestDiskCrash: what was synced survives a crash byte for byte; what was not is there up to some point or is gone.
func TestDiskCrash(t *testing.T) {
	kept := 0
	for seed := range uint64(40) {
		w := New(seed)
		n := w.NewNode("n", NodeConfig{})
		write := func(f vfs.File, text string) {
			if _, err := f.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		n.Go("writer", func() {
			fs := n.FS()
			f, err := fs.Create("file", vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Error(err)
				return
			}
			write(f, "synced")
			_ = f.Sync()
			dir, _ := fs.OpenDir("")
			_ = dir.Sync()
			write(f, " and not synced")
			_ = n.Sleep(background, time.Hour)
		})
		w.Sched.After(time.Second, n.Crash)
		if err := w.Sched.Run(time.Minute); err != nil {
			t.Fatal(err)
		}
		n.Restart()
		var got []byte
		n.Go("reader", func() {
			f, err := n.FS().Open("file")
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
				return
			}
			got, _ = io.ReadAll(f)
		})
		if err := w.Sched.Run(2 * time.Minute); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got, []byte("synced")) || len(got) > len("synced and not synced") {
			t.Errorf("seed %d: after the crash: %q", seed, got)
		}
		if len(got) > len("synced") {
			kept++
		}
		w.Close()
	}
	if kept == 0 || kept == 40 {
		t.Errorf("what was not synced was kept %d times of 40: the seed decides nothing", kept)
	}
}

// TestDiskTime: reads and syncs take the disk's time, one after the other.
func TestDiskTime(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{Disk: DiskConfig{Rate: 1e9, Op: time.Millisecond, Sync: 10 * time.Millisecond}})
	for range 2 {
		n.Go("writer", func() {
			f, err := n.FS().Create("x", vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = f.Write(make([]byte, 20_000_000)) // 20 ms
			_ = f.Sync()
			_ = n.Sleep(background, 0)
		})
	}
	if err := w.Sched.Run(time.Minute); err != nil || w.Sched.Elapsed() != 60*time.Millisecond {
		t.Errorf("%v; two syncs of 20 MB took %v, want 60 ms", err, w.Sched.Elapsed())
	}
}

// TestSkewAndNames: a node's clock is its own; addresses and names that cannot be are refused.
func TestSkewAndNames(t *testing.T) {
	w := New(1)
	defer w.Close()
	a, b := w.NewNode("a", NodeConfig{}), w.NewNode("b", NodeConfig{})
	b.SetSkew(time.Hour)
	if d := b.Now().Sub(a.Now()); d != time.Hour {
		t.Errorf("the clocks differ by %v", d)
	}
	if _, err := a.Listen("b:1"); err == nil {
		t.Error("a listens on b")
	}
	if _, err := a.Listen("a:1"); err != nil {
		t.Error(err)
	}
	if _, err := a.Listen("a:1"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server: %v", err)
	}
	one, err1 := a.Listen("a:0")
	two, err2 := a.Listen(":0")
	if err1 != nil || err2 != nil || one.Addr() == two.Addr() {
		t.Errorf("any port: %v, %v", err1, err2)
	}
	defer func() {
		if recover() == nil {
			t.Error("two nodes have one name")
		}
	}()
	w.NewNode("a", NodeConfig{})
}
