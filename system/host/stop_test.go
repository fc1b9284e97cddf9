package host_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
)

// stuckHealth is a service whose calls end when released, whatever their contexts say.
type stuckHealth struct {
	grpc_health_v1.UnimplementedHealthServer
	began   chan struct{}
	release chan struct{}
}

func (s *stuckHealth) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	close(s.began)
	<-s.release
	return &grpc_health_v1.HealthCheckResponse{}, nil
}

func serve(t *testing.T, service grpc_health_v1.HealthServer) (host.Server, grpc_health_v1.HealthClient) {
	t.Helper()
	h := host.NewReal()
	server, err := h.Listen("127.0.0.1:0")
	check(t, err, nil)
	grpc_health_v1.RegisterHealthServer(server, service)
	server.Serve()
	conn, err := h.Dial(server.Addr())
	check(t, err, nil)
	t.Cleanup(func() { _ = conn.Close() })
	return server, grpc_health_v1.NewHealthClient(conn)
}

// TestStopDoesNotHang: a call that heeds nothing does not keep a server from stopping.
func TestStopDoesNotHang(t *testing.T) {
	s := &stuckHealth{began: make(chan struct{}), release: make(chan struct{})}
	defer close(s.release)
	server, client := serve(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { _, _ = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}) }()
	<-s.began
	short, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	began := time.Now()
	server.Stop(short)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestRequestsHaveDeadlines: a unary call without one is refused by the server, with what to do.
func TestRequestsHaveDeadlines(t *testing.T) {
	server, client := serve(t, &stuckHealth{})
	defer server.Stop(context.Background())
	_, err := client.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

// TestDeadlines: a context's deadline is the earlier of its own and its parent's, on either host.
func TestDeadlines(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		now := h.Now()
		long, cancel := h.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		short, cancel2 := h.WithTimeout(long, time.Minute)
		defer cancel2()
		child, cancel3 := h.WithCancel(short)
		defer cancel3()
		longer, cancel4 := h.WithTimeout(child, 24*time.Hour)
		defer cancel4()
		for name, tt := range map[string]struct {
			ctx  context.Context
			want time.Duration
		}{"hour": {long, time.Hour}, "minute": {short, time.Minute}, "child": {child, time.Minute}, "outer wins": {longer, time.Minute}} {
			deadline, ok := tt.ctx.Deadline()
			if off := deadline.Sub(now) - tt.want; !ok || off < 0 || off > 10*time.Second {
				t.Errorf("%s: the deadline is in %v (%v), want %v", name, deadline.Sub(now), ok, tt.want)
			}
		}
		if _, ok := context.Background().Deadline(); ok {
			t.Error("no deadline became one")
		}
	})
}

// TestSemaphoreProperty (INV-1): under random acquires, releases and cancellations the capacity holds, nothing is lost,
// and everybody who waits gets through or gives up.
func TestSemaphoreProperty(t *testing.T) {
	for seed := range uint64(30) {
		v := hosttest.NewVirtual(seed)
		held, most := int64(0), int64(0)
		s := host.NewSemaphore(v, 5)
		err := v.Run(func() {
			for i := range 40 {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				v.Go("user", func() {
					for range 10 {
						weight := 1 + rnd.Int64N(5)
						ctx, cancel := v.WithTimeout(context.Background(), time.Duration(rnd.IntN(20))*time.Millisecond)
						if s.Acquire(ctx, weight) == nil {
							held += weight
							most = max(most, held)
							_ = v.Sleep(context.Background(), time.Duration(rnd.IntN(5))*time.Millisecond)
							held -= weight
							s.Release(weight)
						}
						cancel()
					}
				})
			}
		})
		if err != nil || most > 5 || held != 0 || s.Held() != 0 {
			t.Fatalf("seed %d: most %d of 5, %d and %d left, %v", seed, most, held, s.Held(), err)
		}
	}
}

// TestQueueProperty: with random senders, receivers, cancellations and a close, every item that was accepted is received
// once or still there, and no task waits for ever (no wake-up is lost).
func TestQueueProperty(t *testing.T) {
	for seed := range uint64(60) {
		v := hosttest.NewVirtual(seed)
		q := host.NewQueue[int](v, 1+int(seed%3))
		accepted, received := map[int]bool{}, map[int]int{}
		err := v.Run(func() {
			g := host.NewGroup(v, 0)
			background := context.Background()
			for i := range 12 {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				_ = g.Go(background, "user", func() error {
					for k := range 20 {
						ctx, cancel := v.WithTimeout(background, time.Duration(rnd.IntN(8))*time.Millisecond)
						item := i*100 + k
						if i%2 == 0 {
							if rnd.IntN(3) == 0 && q.TrySend(item) || q.Send(ctx, item) == nil {
								accepted[item] = true
							}
						} else if got, err := q.Recv(ctx); err == nil {
							received[got]++
						}
						_ = v.Sleep(background, time.Duration(rnd.IntN(3))*time.Millisecond)
						cancel()
					}
					return nil
				})
			}
			check(t, g.Wait(background), nil)
			q.Close()
			for got, ok := q.TryRecv(); ok; got, ok = q.TryRecv() {
				received[got]++
			}
		})
		if err != nil || len(accepted) != len(received) {
			t.Fatalf("seed %d: %d accepted, %d received, %v", seed, len(accepted), len(received), err)
		}
		for item, n := range received {
			if n != 1 || !accepted[item] {
				t.Fatalf("seed %d: item %d was received %d times, accepted %v", seed, item, n, accepted[item])
			}
		}
	}
}

// TestGroupReused: a group whose tasks have all ended takes more, and Wait ends with its context.
func TestGroupReused(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		g := host.NewGroup(h, 1)
		var ran atomic.Int32
		for range 3 {
			check(t, g.Go(ctx, "task", func() error { ran.Add(1); return nil }), nil)
			check(t, g.Wait(ctx), nil)
		}
		gate := h.NewEvent()
		check(t, g.Go(ctx, "waits", func() error { return gate.Wait(ctx) }), nil)
		short, cancel := h.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		check(t, g.Wait(short), context.DeadlineExceeded)
		check(t, g.Go(short, "no place", func() error { return nil }), context.DeadlineExceeded)
		gate.Set()
		check(t, g.Wait(ctx), nil)
		if ran.Load() != 3 {
			t.Errorf("%d tasks ran", ran.Load())
		}
	})
}

// TestTickerAfterAPause: ticks missed in a pause, or across a jump of the clock, are dropped, not made up for.
func TestTickerAfterAPause(t *testing.T) {
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		ctx := context.Background()
		ticker := host.NewTicker(v, 100*time.Millisecond)
		check(t, ticker.Wait(ctx), nil)
		check(t, v.Sleep(ctx, time.Second), nil)
		began, ticks := v.Now(), 0
		for v.Now().Sub(began) < 500*time.Millisecond {
			check(t, ticker.Wait(ctx), nil)
			ticks++
		}
		if ticks > 6 {
			t.Errorf("%d ticks in half a second after a pause", ticks)
		}
		ended, cancel := v.WithCancel(ctx)
		cancel()
		check(t, ticker.Wait(ended), context.Canceled)
	})
	check(t, err, nil)
}

// TestFreePorts: the ports that are given are adjacent, free, and below the ephemeral range.
func TestFreePorts(t *testing.T) {
	h := host.NewReal()
	base, err := hosttest.FreePorts(3)
	check(t, err, nil)
	if base < 10_000 || base+3 > 32_000 {
		t.Errorf("ports from %d on", base)
	}
	for i := range 3 {
		s, err := h.Listen(fmt.Sprintf("127.0.0.1:%d", base+i))
		check(t, err, nil)
		if err == nil {
			s.Stop(context.Background()) // it never served: only its port is given back
		}
	}
}
