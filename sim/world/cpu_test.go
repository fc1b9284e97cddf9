package world

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// TestStreamMessagesTakeCores: each message of a stream waits for a core of the server, and the machine tells what it has
// done and how long the next request would wait.
func TestStreamMessagesTakeCores(t *testing.T) {
	const messages, cost = 20, 10 * time.Millisecond
	p := newPair(t, 1)
	p.w.CPU = func(_ string, bytes int) time.Duration {
		if bytes == 0 {
			return 0 // the opening
		}
		return cost
	}
	if p.server.Queue() != 0 || p.server.Used() != 0 || p.server.Cores() != defaultCores {
		t.Errorf("at rest: a queue of %v, %v used, %d cores", p.server.Queue(), p.server.Used(), p.server.Cores())
	}
	for i := range p.server.on.cores { // other work, for a second
		p.server.on.cores[i] = int64(time.Second)
	}
	if q := p.server.Queue(); q != time.Second {
		t.Errorf("the queue is %v, want 1s", q)
	}
	p.run(func(c testpb.TestServiceClient) {
		stream, err := c.FullDuplexCall(background)
		if err != nil {
			t.Error(err)
			return
		}
		for range messages {
			if err := errors.Join(stream.Send(&testpb.StreamingOutputCallRequest{}), receive(stream)); err != nil {
				t.Error(err)
			}
		}
		if at := p.w.Sched.Elapsed(); at < time.Second+messages*cost || at > time.Second+messages*cost+100*time.Millisecond {
			t.Errorf("%d messages were answered at %v", messages, at)
		}
	})
	if used := p.server.Used(); used != messages*cost {
		t.Errorf("%v used, want %v", used, messages*cost)
	}
}

func receive(stream testpb.TestService_FullDuplexCallClient) error {
	_, err := stream.Recv()
	return err
}

// TestRegistrationsCost: a full batch of 10,000 files with a block each costs what was measured.
func TestRegistrationsCost(t *testing.T) {
	const batch = 10_000 * 14
	if d := DefaultCPU(registerStream, batch); d < 6*time.Millisecond || d > 8*time.Millisecond {
		t.Errorf("a batch costs %v, want about 7ms", d)
	}
}

// TestDeadServersAreLetGo: a connection that its client keeps does not keep what a dead process had in memory.
func TestDeadServersAreLetGo(t *testing.T) {
	p := newPair(t, 1)
	var gone atomic.Bool
	p.run(func(c testpb.TestServiceClient) {
		if _, err := c.EmptyCall(background, &testpb.Empty{}); err == nil {
			t.Error("answered without a deadline")
		}
	})
	runtime.SetFinalizer(p.echo, func(*echoer) { gone.Store(true) })
	p.echo = nil
	p.server.Crash()
	for range 5 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // on the machine's clock: finalizers run beside
	}
	if !gone.Load() {
		t.Error("the service of a dead process is still in memory")
	}
	runtime.KeepAlive(p.w)
}
