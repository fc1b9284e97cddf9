package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

type (
	duplex = grpc.BidiStreamingClient[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]
	client = testpb.TestServiceClient
)

// open opens an echo stream and sees one message through it, so that the handler is known to run.
func (p *pair) open(ctx context.Context, c client) duplex {
	p.t.Helper()
	stream, err := c.FullDuplexCall(ctx)
	if err == nil {
		err = stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(1)})
	}
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return stream
}

// handle has a stream's method do something else.
func (p *pair) handle(name string, handler grpc.StreamHandler) {
	p.server.servers["server:1"].methods["/grpc.testing.TestService/"+name] = &method{stream: &grpc.StreamDesc{Handler: handler}}
}

// steady takes chance out of the network: a message between the pair takes one millisecond.
func (p *pair) steady() {
	p.w.Net.Topology = Topology{Rack: time.Millisecond, Zone: time.Millisecond, Far: time.Millisecond}
}

// quiet checks that nothing of the pair's calls is left: no handler, no call and no connection.
func (p *pair) quiet() {
	p.t.Helper()
	for addr, s := range p.server.servers {
		if len(s.open) > 0 {
			p.t.Errorf("%d handlers of %s are left", len(s.open), addr)
		}
	}
	if n := len(p.w.Net.sessions); n > 0 {
		p.t.Errorf("%d connections are left", n)
	}
}

// TestDialing: how and when a first call fails, by what is there at the other end.
func TestDialing(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(p *pair)
		target string
		code   codes.Code
		text   string
		took   time.Duration // at least; and less than 10 ms more
	}{
		{"served", func(*pair) {}, "server:1", codes.OK, "", 2 * time.Millisecond},
		{"no such host", func(*pair) {}, "nobody:1", codes.Unavailable, "no such host", 0},
		{"no such port", func(*pair) {}, "server:2", codes.Unavailable, "refused", 2 * time.Millisecond},
		{"dead", func(p *pair) { p.server.Crash() }, "server:1", codes.Unavailable, "refused", 2 * time.Millisecond},
		{"a new life without a server", func(p *pair) { p.server.Crash(); p.server.Restart() }, "server:1", codes.Unavailable, "refused", 2 * time.Millisecond},
		{"not serving yet", func(p *pair) { _, _ = p.server.Listen("server:3") }, "server:3", codes.Unavailable, "refused", 2 * time.Millisecond},
		{"cut there", func(p *pair) { p.w.Net.Cut("client", "server") }, "server:1", codes.Unavailable, "timed out", connectTimeout},
		{"cut back", func(p *pair) { p.w.Net.Cut("server", "client") }, "server:1", codes.Unavailable, "timed out", connectTimeout},
		{"dies meanwhile", func(p *pair) { p.w.Sched.After(time.Millisecond, p.server.Crash) }, "server:1", codes.Unavailable, "refused", 2 * time.Millisecond},
		{"restarts meanwhile", func(p *pair) {
			p.w.Sched.After(time.Millisecond, func() { p.server.Crash(); p.server.Restart(); p.serve() })
		}, "server:1", codes.OK, "", 2 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 1)
			p.steady()
			c.before(p)
			p.run(func(client) {
				conn, err := p.client.Dial(c.target)
				if err != nil {
					t.Fatal(err)
				}
				err = p.call(testpb.NewTestServiceClient(conn), time.Minute)
				took := p.w.Sched.Elapsed()
				if status.Code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.text) || took < c.took || took > c.took+10*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// TestDialingIsShared: calls that come while a connection is made wait for the same try, each no longer than its context;
// when the one that tries gives up, another goes on.
func TestDialingIsShared(t *testing.T) {
	p := newPair(t, 1)
	p.w.Net.Topology = Topology{Far: 100 * time.Millisecond}
	p.run(func(c client) {
		results := map[int]error{}
		for i, timeout := range []time.Duration{50 * time.Millisecond, 80 * time.Millisecond, time.Minute, time.Minute} {
			p.client.Go("caller", func() { results[i] = p.call(c, timeout) })
		}
		_ = p.client.Sleep(background, 90*time.Millisecond)
		for i := range 2 {
			if status.Code(results[i]) != codes.DeadlineExceeded {
				t.Errorf("call %d: %v", i, results[i])
			}
		}
		_ = p.client.Sleep(background, time.Minute)
		if len(results) != 4 || results[2] != nil || results[3] != nil {
			t.Errorf("%v", results)
		}
		if n := len(p.w.Net.sessions); n != 1 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// TestCloseMeanwhile: a connection that is closed while it is made, or while others wait for it, makes no calls; and one
// that was closed before makes none either.
func TestCloseMeanwhile(t *testing.T) {
	p := newPair(t, 1)
	p.w.Net.Topology = Topology{Far: 100 * time.Millisecond}
	p.run(func(client) {
		conn, _ := p.client.Dial("server:1")
		c := testpb.NewTestServiceClient(conn)
		var errs []error
		for range 2 {
			p.client.Go("caller", func() { errs = append(errs, p.call(c, time.Minute)) })
		}
		_ = p.client.Sleep(background, 50*time.Millisecond)
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		_ = p.client.Sleep(background, time.Second)
		errs = append(errs, p.call(c, time.Minute))
		for i, err := range errs {
			if status.Code(err) != codes.Canceled {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if len(errs) != 3 || p.echo.calls != 0 {
			t.Errorf("%d calls ended, %d were served", len(errs), p.echo.calls)
		}
		p.quiet()
	})
}

// TestCloseWithCalls: a close ends unary calls and streams at the client at once, their handlers a message later, and the
// network forgets the connection; a second close does nothing.
func TestCloseWithCalls(t *testing.T) {
	p := newPair(t, 1)
	p.steady()
	p.echo.delay = time.Hour
	p.run(func(client) {
		conn, _ := p.client.Dial("server:1")
		c := testpb.NewTestServiceClient(conn)
		var unary, streaming error
		p.client.Go("unary", func() { unary = p.call(c, time.Minute) })
		stream := p.open(background, c)
		p.client.Go("stream", func() { _, streaming = stream.Recv() })
		_ = p.client.Sleep(background, time.Second)
		_ = conn.Close()
		_ = conn.Close()
		_ = p.client.Sleep(background, 500*time.Microsecond)
		if status.Code(unary) != codes.Unavailable || status.Code(streaming) != codes.Unavailable {
			t.Errorf("%v, %v", unary, streaming)
		}
		_ = p.client.Sleep(background, time.Millisecond)
		if p.echo.canceled != 2 {
			t.Errorf("%d handlers of 2 heard of it", p.echo.canceled)
		}
		p.quiet()
	})
}

// TestLostWordOfTheEnd: the word that a call was given up, or a connection closed, may be lost with the connection. The
// handlers end all the same, when the server finds that the client is not reached, or dead.
func TestLostWordOfTheEnd(t *testing.T) {
	for name, end := range map[string]struct {
		giveUp func(p *pair, close func() error, cancel func())
		lost   func(p *pair)
		within time.Duration
	}{
		"given up, then cut off": {func(_ *pair, _ func() error, cancel func()) { cancel() }, func(*pair) {}, brokenAfter},
		"closed, then cut off":   {func(_ *pair, closed func() error, _ func()) { _ = closed() }, func(*pair) {}, brokenAfter},
		"given up, then dead": {func(_ *pair, _ func() error, cancel func()) { cancel() },
			func(p *pair) { p.w.Net.HealAll(); p.client.Crash() }, time.Second},
		"closed, then dead": {func(_ *pair, closed func() error, _ func()) { _ = closed() },
			func(p *pair) { p.w.Net.HealAll(); p.client.Crash() }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1)
			p.client.Go("client", func() {
				conn, _ := p.client.Dial("server:1")
				ctx, cancel := p.client.WithCancel(background)
				_ = p.open(ctx, testpb.NewTestServiceClient(conn))
				p.w.Net.Cut("client", "server")
				end.giveUp(p, conn.Close, cancel)
				p.w.Sched.After(time.Millisecond, func() { end.lost(p) })
				_ = p.client.Sleep(background, time.Hour)
			})
			if err := p.w.Sched.Run(end.within + 10*time.Second/10 + 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if p.echo.canceled != 1 {
				t.Errorf("%d handlers ended", p.echo.canceled)
			}
			p.quiet()
		})
	}
}

// TestClientDiesWithStreams: every open stream's handler hears of its client's death, those of other clients do not.
func TestClientDiesWithStreams(t *testing.T) {
	p := newPair(t, 1)
	p.steady()
	other := p.w.NewNode("other", NodeConfig{})
	p.client.Go("client", func() {
		conn, _ := p.client.Dial("server:1")
		c := testpb.NewTestServiceClient(conn)
		for range 5 {
			p.open(background, c)
		}
		_ = p.client.Sleep(background, time.Hour)
	})
	answers := 0
	other.Go("other", func() {
		conn, _ := other.Dial("server:1")
		stream := p.open(background, testpb.NewTestServiceClient(conn))
		_ = other.Sleep(background, time.Minute)
		if stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(1)}) == nil {
			if _, err := stream.Recv(); err == nil {
				answers++
			}
		}
	})
	p.w.Sched.After(time.Second, p.client.Crash)
	if err := p.w.Sched.Run(time.Second + 900*time.Microsecond); err != nil || p.echo.canceled != 0 {
		t.Errorf("%v; %d handlers heard of it before a message can", err, p.echo.canceled)
	}
	if err := p.w.Sched.Run(2 * time.Minute); err != nil || p.echo.canceled != 5 || answers != 1 {
		t.Errorf("%v; %d handlers of 5 ended, the other client had %d answers", err, p.echo.canceled, answers)
	}
}

// TestDeathBehindACut: who cannot hear of a peer's death finds out by its keep-alive; the node's next life is reached.
func TestDeathBehindACut(t *testing.T) {
	p := newPair(t, 1)
	p.steady()
	p.run(func(c client) {
		stream := p.open(background, c)
		p.w.Net.Partition([]string{"client"}, []string{"server"})
		p.w.Sched.After(time.Second, p.server.Crash)
		p.w.Sched.After(2*time.Second, func() { p.server.Restart(); p.serve() })
		began := p.w.Sched.Elapsed()
		_, err := stream.Recv()
		if took := p.w.Sched.Elapsed() - began; status.Code(err) != codes.Unavailable || took < 10*time.Second || took > brokenAfter+2*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		p.w.Net.HealAll()
		if err := p.call(c, time.Second); err != nil {
			t.Errorf("the next life: %v", err)
		}
	})
}

// TestOldLives: a connection and a server of a node's earlier life serve nobody, though the address is the same.
func TestOldLives(t *testing.T) {
	p := newPair(t, 1)
	var old client
	p.client.Go("first life", func() {
		conn, _ := p.client.Dial("server:1")
		old = testpb.NewTestServiceClient(conn)
		_ = p.call(old, time.Second)
	})
	p.w.Sched.After(time.Minute, func() { p.client.Crash(); p.client.Restart() })
	if err := p.w.Sched.Run(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	p.run(func(c client) {
		if err := p.call(old, time.Second); status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), "earlier life") {
			t.Errorf("%v", err)
		}
		if err := p.call(c, time.Second); err != nil {
			t.Error(err)
		}
	})
}

// TestStopWithStreams: a server that stops waits for streams as long as its context allows, cuts them off then, and its
// clients connect to who listens next.
func TestStopWithStreams(t *testing.T) {
	p := newPair(t, 1)
	p.steady()
	s := p.server.servers["server:1"]
	p.run(func(c client) {
		polite, rude := p.open(background, c), p.open(background, c)
		var stopped time.Duration
		p.server.Go("stop", func() {
			ctx, cancel := p.server.WithTimeout(background, 10*time.Second)
			defer cancel()
			s.Stop(ctx)
			stopped = p.w.Sched.Elapsed()
			p.serve()
		})
		_ = p.client.Sleep(background, time.Second)
		_ = polite.Send(&testpb.StreamingOutputCallRequest{Payload: payload(1)}) // streams that are open go on
		if _, err := polite.Recv(); err != nil {
			t.Errorf("a stream under a server that stops: %v", err)
		}
		if err := p.call(c, time.Second); status.Code(err) != codes.Unavailable {
			t.Errorf("a new call: %v", err)
		}
		_ = polite.CloseSend()
		if _, err := polite.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("a stream that ends in time: %v", err)
		}
		if _, err := rude.Recv(); err == nil || errors.Is(err, io.EOF) || p.w.Sched.Elapsed() < 10*time.Second {
			t.Errorf("a stream that does not: %v at %v", err, p.w.Sched.Elapsed())
		}
		_ = p.client.Sleep(background, 2*time.Second)
		if stopped < 10*time.Second || stopped > 11*time.Second+10*time.Millisecond {
			t.Errorf("stopped at %v", stopped)
		}
		if err := p.call(c, time.Second); err != nil || p.echo.calls != 1 {
			t.Errorf("the next server: %v, %d calls", err, p.echo.calls)
		}
	})
}

// TestHandlerThatDoesNotHeed: Stop gives up on handlers that ignore their contexts, and their answers reach nobody.
func TestHandlerThatDoesNotHeed(t *testing.T) {
	p := newPair(t, 1)
	p.steady()
	p.server.servers["server:1"].methods["/grpc.testing.TestService/UnaryCall"] = &method{unary: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
		_ = p.server.Sleep(background, 30*time.Minute)
		return &testpb.SimpleResponse{}, nil
	}}
	s := p.server.servers["server:1"]
	p.run(func(c client) {
		p.server.Go("stop", func() {
			_ = p.server.Sleep(background, time.Second)
			ctx, cancel := p.server.WithTimeout(background, time.Second)
			defer cancel()
			s.Stop(ctx)
			if at := p.w.Sched.Elapsed(); at != 2*time.Second+cutOffGrace {
				t.Errorf("stopped at %v", at)
			}
		})
		if err := p.call(c, 2*time.Hour); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "server stopped") {
			t.Errorf("%v", err)
		}
		_ = p.client.Sleep(background, 40*time.Minute)
		p.quiet()
	})
}

// TestPipesUnderCuts: whatever cuts come and go, what a pipe carries arrives once, in order, never while the way is cut, and
// soon after it is healed for good; a closed pipe carries nothing more.
func TestPipesUnderCuts(t *testing.T) {
	for seed := range uint64(200) {
		w := New(seed)
		rng := rand.New(rand.NewPCG(seed, 8))
		a, b := w.NewNode("a", NodeConfig{}), w.NewNode("b", NodeConfig{})
		w.Net.Loss, w.Net.Topology.Jitter = []float64{0, 0.3, 1}[rng.IntN(3)], 5
		pipe := &pipe{net: w.Net, from: a.nic, to: b.nic}
		var got []int
		const messages = 100
		left := 0
		for i := range messages {
			w.Sched.After(time.Duration(i)*200*time.Millisecond, func() {
				left++
				pipe.send(rng.IntN(100_000), func() {
					got = append(got, i)
					if w.Net.isCut(a.nic, b.nic) {
						t.Fatalf("seed %d: message %d arrived over a cut way", seed, i)
					}
				})
			})
		}
		for range 20 {
			w.Sched.After(time.Duration(rng.Int64N(int64(20*time.Second))), func() {
				switch rng.IntN(4) {
				case 0:
					w.Net.Cut("a", "b")
				case 1:
					w.Net.Cut("b", "a") // the other way: does not matter here
				case 2:
					w.Net.Heal("a", "b")
				default:
					w.Net.HealAll()
				}
			})
		}
		w.Sched.After(20*time.Second, w.Net.HealAll)
		if err := w.Sched.Run(20*time.Second + maxRetransmit + 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if len(got) != messages || !slices.IsSorted(got) || left != messages {
			t.Fatalf("seed %d: arrived %v", seed, got)
		}
		pipe.send(1, func() { t.Error("a closed pipe delivered") })
		pipe.closed = true
		pipe.send(1, func() { t.Error("a closed pipe delivered") })
		if err := w.Sched.Run(time.Hour); err != nil {
			t.Error(err)
		}
		w.Close()
	}
}

// TestCutsAreCounted: a cut that was healed and came again breaks connections only when the second has lasted, a cut that is
// there already is the same one, and only connections on that way break.
func TestCutsAreCounted(t *testing.T) {
	p := newPair(t, 1)
	p.steady()
	third := p.w.NewNode("third", NodeConfig{})
	p.run(func(c client) {
		conn, _ := third.Dial("server:1")
		bystander := p.open(background, testpb.NewTestServiceClient(conn))
		stream := p.open(background, c)
		began := p.w.Sched.Elapsed()
		at := func(d time.Duration, f func()) { p.w.Sched.After(d, f) }
		p.w.Net.Cut("client", "server")
		at(10*time.Second, func() { p.w.Net.Cut("client", "server") })
		at(12*time.Second, func() { p.w.Net.Heal("client", "server") })
		at(13*time.Second, func() { p.w.Net.Cut("client", "server") })
		_, err := stream.Recv()
		if took := p.w.Sched.Elapsed() - began; status.Code(err) != codes.Unavailable || took != 13*time.Second+brokenAfter {
			t.Errorf("%v after %v", err, took)
		}
		if bystander.Send(&testpb.StreamingOutputCallRequest{Payload: payload(1)}) != nil {
			t.Error("another client's connection broke")
		}
		if _, err := bystander.Recv(); err != nil {
			t.Error(err)
		}
	})
}

// TestFlowControlBothWays: a handler that sends to a client which reads nothing stops at the window; when the client gives
// up, the handler's send ends. The window is the call's own: others of the connection go on.
func TestFlowControlBothWays(t *testing.T) {
	p := newPair(t, 1)
	sent, ended := 0, error(nil)
	p.handle("StreamingOutputCall", func(_ any, stream grpc.ServerStream) error {
		for {
			if ended = stream.SendMsg(&testpb.StreamingOutputCallResponse{Payload: payload(1 << 20)}); ended != nil {
				return ended
			}
			sent++
		}
	})
	p.run(func(c client) {
		ctx, cancel := p.client.WithCancel(background)
		stream, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_ = p.client.Sleep(background, time.Minute)
		full := sent
		if full < windowBytes>>20 || full > windowBytes>>20+1 {
			t.Errorf("%d MiB were sent to a reader that takes nothing", full)
		}
		if err := p.call(c, time.Second); err != nil {
			t.Errorf("another call of the connection: %v", err)
		}
		for range 4 {
			if _, err := stream.Recv(); err != nil {
				t.Error(err)
			}
		}
		_ = p.client.Sleep(background, time.Minute)
		if sent < full+2 || sent > full+4 {
			t.Errorf("%d MiB more were sent for 4 that were read", sent-full)
		}
		cancel()
		_ = p.client.Sleep(background, time.Minute)
		if status.Code(ended) != codes.Canceled {
			t.Errorf("the handler's send ended with %v", ended)
		}
	})
}

// TestSendIsCanceled: a client that waits for room hears of its own context's end and of the call's.
func TestSendIsCanceled(t *testing.T) {
	p := newPair(t, 1)
	p.handle("FullDuplexCall", func(_ any, stream grpc.ServerStream) error {
		_ = p.server.Sleep(stream.Context(), 10*time.Second) // and reads nothing
		return status.Error(codes.Aborted, "enough")
	})
	p.run(func(c client) {
		for _, x := range []struct {
			timeout time.Duration
			want    codes.Code
		}{{5 * time.Second, codes.DeadlineExceeded}, {time.Minute, codes.Aborted}} {
			ctx, cancel := p.client.WithTimeout(background, x.timeout)
			stream, err := c.FullDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			began := p.w.Sched.Elapsed()
			for err == nil {
				err = stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(1 << 20)})
			}
			took := p.w.Sched.Elapsed() - began
			if took < min(x.timeout, 10*time.Second)-time.Second || took > min(x.timeout, 10*time.Second)+time.Second {
				t.Errorf("the send ended after %v: %v", took, err)
			}
			if _, err := stream.Recv(); status.Code(err) != x.want {
				t.Errorf("the stream ended with %v, want %v", err, x.want)
			}
			cancel()
		}
	})
}

// TestTopology: what a message takes by where the two nodes stand, with what jitter and multipliers do to it.
func TestTopology(t *testing.T) {
	w := New(1)
	defer w.Close()
	top := Topology{Rack: 100 * time.Microsecond, Zone: 300 * time.Microsecond, Far: time.Millisecond}
	w.Net.Topology = top
	at := func(name, rack, zone string) *nic { return w.NewNode(name, NodeConfig{Rack: rack, Zone: zone}).nic }
	here, near, zone, far, twin := at("here", "r1", "z1"), at("near", "r1", "z1"), at("zone", "r2", "z1"), at("far", "r3", "z2"), at("twin", "r1", "z2")
	for _, c := range []struct {
		to   *nic
		want time.Duration
	}{{here, top.Rack / 4}, {near, top.Rack}, {zone, top.Zone}, {far, top.Far}, {twin, top.Far}} { // racks of one name in two zones are two
		if got := w.Net.latency(here, c.to); got != c.want {
			t.Errorf("to %s: %v, want %v", c.to.node, got, c.want)
		}
	}
	w.Net.Slow = func(from, to string) float64 {
		switch {
		case from == "here" && to == "far":
			return 10
		case to == "zone":
			return -1
		}
		return 1
	}
	if out, back := w.Net.latency(here, far), w.Net.latency(far, here); out != 10*top.Far || back != top.Far {
		t.Errorf("a slow way: %v there, %v back", out, back)
	}
	if d := w.Net.latency(here, zone); d != 0 {
		t.Errorf("a multiplier below zero: %v", d)
	}
	w.Net.Slow, w.Net.Topology.Jitter = nil, 0.5
	sum := time.Duration(0)
	for range 10_000 {
		d := w.Net.latency(here, far)
		if d < top.Far {
			t.Fatalf("jitter made a message faster: %v", d)
		}
		sum += d
	}
	if mean := sum / 10_000; mean < 1450*time.Microsecond || mean > 1550*time.Microsecond {
		t.Errorf("mean latency %v with half of jitter, want 1.5 ms", mean)
	}
}

// TestSharingOfCards: what leaves a node, and what arrives at one, queues at its card's rate; the two ways do not disturb
// each other, a node's messages to itself pass no card, and a card without a limit takes no time.
func TestSharingOfCards(t *testing.T) {
	const mb = 1_000_000
	for _, c := range []struct {
		name  string
		flows [][2]int // from, to
		rate  float64
		want  time.Duration // until the last of 10 messages of 1 MB each a flow has arrived
	}{
		{"one flow", [][2]int{{0, 1}}, 1e9, 11 * time.Millisecond}, // store and forward: the last queues once more
		{"two senders to one", [][2]int{{0, 2}, {1, 2}}, 1e9, 21 * time.Millisecond},
		{"one to two", [][2]int{{0, 1}, {0, 2}}, 1e9, 21 * time.Millisecond},
		{"there and back", [][2]int{{0, 1}, {1, 0}}, 1e9, 11 * time.Millisecond},
		{"apart", [][2]int{{0, 1}, {2, 3}}, 1e9, 11 * time.Millisecond},
		{"to oneself", [][2]int{{0, 0}}, 1e9, 0},
		{"without a limit", [][2]int{{0, 1}, {2, 1}}, -1, 0},
	} {
		w := New(1)
		w.Net.Topology = Topology{}
		var nodes []*Node
		for i := range 4 {
			nodes = append(nodes, w.NewNode(fmt.Sprint("n", i), NodeConfig{NIC: c.rate}))
		}
		last, arrived := time.Duration(0), 0
		for _, f := range c.flows {
			pipe := &pipe{net: w.Net, from: nodes[f[0]].nic, to: nodes[f[1]].nic}
			for range 10 {
				pipe.send(mb, func() { last = w.Sched.Elapsed(); arrived++ })
			}
		}
		if err := w.Sched.Run(time.Minute); err != nil {
			t.Fatal(err)
		}
		if arrived != 10*len(c.flows) || last != c.want {
			t.Errorf("%s: %d arrived, the last at %v, want %v", c.name, arrived, last, c.want)
		}
		if w.Net.Messages != uint64(arrived) || w.Net.Bytes != uint64(arrived*mb) {
			t.Errorf("%s: counted %d messages, %d bytes", c.name, w.Net.Messages, w.Net.Bytes)
		}
		w.Close()
	}
}

// TestSlowWayHoldsNobodyElse: what crawls to a node from one side does not delay what comes from another.
func TestSlowWayHoldsNobodyElse(t *testing.T) {
	w := New(1)
	defer w.Close()
	a, b, c := w.NewNode("a", NodeConfig{}), w.NewNode("b", NodeConfig{}), w.NewNode("c", NodeConfig{})
	w.Net.Slow = func(from, _ string) float64 {
		if from == "b" {
			return 1e6
		}
		return 1
	}
	var slow, quick time.Duration
	w.Net.Post(b, a, "slow", 1000, func() { slow = w.Sched.Elapsed() })
	w.Net.Post(c, a, "quick", 1000, func() { quick = w.Sched.Elapsed() })
	if err := w.Sched.Run(time.Hour); err != nil || slow < 10*time.Second || quick > time.Millisecond || quick == 0 {
		t.Errorf("%v; the slow message took %v, the other %v", err, slow, quick)
	}
}

// TestPost: a posted message arrives once as a task of the receiver, or never: lost, cut on arrival, sent by the dead, or to
// a life that has ended.
func TestPost(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(w *World, a, b *Node)
		want  int
	}{
		{"well", func(*World, *Node, *Node) {}, 1},
		{"lost", func(w *World, _, _ *Node) { w.Net.Loss = 1 }, 0},
		{"cut", func(w *World, _, _ *Node) { w.Net.Cut("a", "b") }, 0},
		{"cut the other way", func(w *World, _, _ *Node) { w.Net.Cut("b", "a") }, 1},
		{"cut when it left, healed when it arrives", func(w *World, _, _ *Node) {
			w.Net.Cut("a", "b")
			w.Sched.After(time.Microsecond, w.Net.HealAll)
		}, 1},
		{"cut when it arrives", func(w *World, _, _ *Node) { w.Sched.After(time.Microsecond, func() { w.Net.Cut("a", "b") }) }, 0},
		{"the sender is dead", func(_ *World, a, _ *Node) { a.Crash() }, 0},
		{"the sender dies after it left", func(w *World, a, _ *Node) { w.Sched.After(time.Microsecond, a.Crash) }, 1},
		{"the receiver is dead", func(_ *World, _, b *Node) { b.Crash() }, 0},
		{"the receiver restarts meanwhile", func(w *World, _, b *Node) {
			w.Sched.After(time.Microsecond, func() { b.Crash(); b.Restart() })
		}, 0},
	} {
		w := New(1)
		a, b := w.NewNode("a", NodeConfig{}), w.NewNode("b", NodeConfig{})
		arrived := 0
		c.setup(w, a, b)
		w.Net.Post(a, b, "letter", 100, func() {
			arrived++
			if err := b.Sleep(background, time.Second); err != nil { // a task can wait
				t.Error(err)
			}
		})
		if err := w.Sched.Run(time.Minute); err != nil {
			t.Fatal(err)
		}
		if arrived != c.want {
			t.Errorf("%s: arrived %d times, want %d", c.name, arrived, c.want)
		}
		w.Close()
	}
}

// TestPostsOvertake: posted messages may overtake each other, take the cards' time, and half are lost at half a loss.
func TestPostsOvertake(t *testing.T) {
	w := New(1)
	defer w.Close()
	a, b := w.NewNode("a", NodeConfig{NIC: 1e9}), w.NewNode("b", NodeConfig{NIC: 1e9})
	w.Net.Topology = Topology{Rack: time.Millisecond, Jitter: 1}
	var got []int
	for i := range 1000 {
		w.Net.Post(a, b, "letter", 10, func() { got = append(got, i) })
	}
	if err := w.Sched.Run(time.Minute); err != nil || len(got) != 1000 || slices.IsSorted(got) {
		t.Errorf("%v; %d arrived, in order %v", err, len(got), slices.IsSorted(got))
	}
	w.Net.Loss, got = 0.5, nil
	for i := range 1000 {
		w.Net.Post(a, b, "letter", 10, func() { got = append(got, i) })
	}
	if err := w.Sched.Run(2 * time.Minute); err != nil || len(got) < 400 || len(got) > 600 {
		t.Errorf("%v; %d of 1000 arrived at half a loss", err, len(got))
	}
	w.Net.Loss, w.Net.Topology = 0, Topology{}
	var took time.Duration
	began := w.Sched.Elapsed()
	w.Net.Post(a, b, "parcel", 50_000_000, func() { took = w.Sched.Elapsed() - began })
	if err := w.Sched.Run(time.Hour); err != nil || took != 100*time.Millisecond {
		t.Errorf("%v; 50 MB at two cards took %v, want 100 ms", err, took)
	}
}

// TestComputeEnds: a wait for a core ends with its context, of no work it takes no time, and the core that was promised
// stays taken.
func TestComputeEnds(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{Cores: 1})
	n.Go("task", func() {
		if err := n.Compute(background, 0); err != nil || w.Sched.Elapsed() != 0 {
			t.Errorf("no work: %v at %v", err, w.Sched.Elapsed())
		}
		ctx, cancel := n.WithTimeout(background, time.Second)
		defer cancel()
		if err := n.Compute(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || w.Sched.Elapsed() != time.Second {
			t.Errorf("%v at %v", err, w.Sched.Elapsed())
		}
		if err := n.Compute(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no work under an ended context: %v", err)
		}
		if err := n.Compute(background, time.Second); err != nil || w.Sched.Elapsed() != 61*time.Second {
			t.Errorf("%v at %v", err, w.Sched.Elapsed())
		}
	})
	if err := w.Sched.Run(time.Hour); err != nil {
		t.Error(err)
	}
	if d := DefaultCPU("/forebay.v1.Files/Stat", 10_240) - DefaultCPU("/forebay.v1.Files/Stat", 0); d != 10*perKiloByte {
		t.Errorf("10 KiB cost %v", d)
	}
	if DefaultCPU(blockStreams+"Heartbeat", 0) != heartbeatCost {
		t.Error("a heartbeat's cost")
	}
}

// TestSkew: a clock that is wrong tells wrong stamps, and deadlines all the same take the time that they say; across the
// network what is left of a deadline is told, not the moment.
func TestSkew(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		p := newPair(t, 1)
		p.steady()
		p.server.SetSkew(skew)
		p.echo.delay = time.Minute
		p.run(func(c client) {
			if err := p.call(c, 10*time.Second); status.Code(err) != codes.DeadlineExceeded || p.w.Sched.Elapsed() != 10*time.Second {
				t.Errorf("skew %v: %v at %v", skew, err, p.w.Sched.Elapsed())
			}
			_ = p.client.Sleep(background, time.Second)
			if p.echo.canceled != 1 {
				t.Errorf("skew %v: the handler did not end in time", skew)
			}
			if err := p.call(c, 2*time.Minute); err != nil {
				t.Errorf("skew %v: %v", skew, err)
			}
		})
	}
}

// TestHistoriesUnderFaults: with each fault, one seed has one history, and another seed or no fault another.
func TestHistoriesUnderFaults(t *testing.T) {
	faults := map[string]func(p *pair){
		"none": func(*pair) {},
		"loss": func(p *pair) { p.w.Net.Loss = 0.3 },
		"slow": func(p *pair) { p.w.Net.Slow = func(string, string) float64 { return 3 } },
		"skew": func(p *pair) { p.server.SetSkew(time.Second) },
		"cut":  func(p *pair) { p.w.Net.Cut("client", "server"); p.w.Sched.After(4*time.Second, p.w.Net.HealAll) },
		"crash": func(p *pair) {
			p.server.Crash()
			p.w.Sched.After(2*time.Second, func() { p.server.Restart(); p.serve() })
		},
		"cpu": func(p *pair) { p.w.CPU = DefaultCPU },
	}
	history := func(seed uint64, fault func(p *pair)) uint64 {
		p := newPair(t, seed)
		p.w.Sched.After(time.Second, func() { fault(p) })
		p.run(func(c client) {
			for range 50 {
				err := p.call(c, 3*time.Second)
				p.w.Sched.Mix(uint64(status.Code(err)))
				p.w.Sched.Mix(uint64(p.server.Now().UnixNano()))
				_ = p.client.Sleep(background, time.Duration(p.client.Rand().IntN(200))*time.Millisecond)
			}
		})
		return p.w.Sched.History()
	}
	seen := map[uint64]string{}
	for name, fault := range faults {
		one := history(1, fault)
		if history(1, fault) != one || history(2, fault) == one {
			t.Errorf("%s: histories do not follow from the seed", name)
		}
		if other, ok := seen[one]; ok {
			t.Errorf("%s and %s have one history", name, other)
		}
		seen[one] = name
	}
}

// TestStreamsOfRandomness: each purpose has its own, so that one more message changes nothing of what others draw; a node's
// lives differ.
func TestStreamsOfRandomness(t *testing.T) {
	draw := func(bother func(w *World)) (node, next uint64) {
		w := New(9)
		defer w.Close()
		n := w.NewNode("n", NodeConfig{})
		bother(w)
		node = n.Rand().Uint64()
		n.Crash()
		n.Restart()
		return node, n.Rand().Uint64()
	}
	one, two := draw(func(*World) {})
	three, four := draw(func(w *World) {
		m := w.NewNode("m", NodeConfig{})
		m.Rand().Uint64()
		w.Net.Post(m, m, "x", 1, func() {})
		_ = w.Net.latency(m.nic, m.nic)
	})
	if one != three || two != four || one == two {
		t.Errorf("%x %x, with a bother %x %x", one, two, three, four)
	}
}

// TestRestartOfTheLiving: is a mistake of the caller's; a second crash is not.
func TestRestartOfTheLiving(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{Zone: "z"})
	n.Crash()
	n.Crash()
	if n.Alive() || n.Zone() != "z" || n.Name() != "n" || len(w.Nodes()) != 1 {
		t.Errorf("%+v", n)
	}
	n.Restart()
	defer func() {
		if recover() == nil || !n.Alive() {
			t.Error("a node that lives was restarted")
		}
	}()
	n.Restart()
}
