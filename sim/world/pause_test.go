package world

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// TestPausedServer: calls of a paused server wait; the deadline ends those that are short, and Resume answers the others, on the
// same connection. The server's clock went on.
func TestPausedServer(t *testing.T) {
	p := newPair(t, 1)
	p.run(func(c testpb.TestServiceClient) {
		if err := p.call(c, time.Second); err != nil {
			t.Error(err)
		}
		p.server.Pause()
		began := p.w.Sched.Elapsed()
		if err := p.call(c, time.Second); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("a short call: %v", err)
		}
		var answered time.Duration
		p.client.Go("long call", func() {
			if err := p.call(c, time.Minute); err != nil {
				t.Errorf("a long call: %v", err)
			}
			answered = p.w.Sched.Elapsed()
		})
		_ = p.client.Sleep(background, 9*time.Second)
		if p.echo.calls != 1 || !p.server.Paused() || !p.server.Alive() {
			t.Errorf("%d calls, paused %v, alive %v", p.echo.calls, p.server.Paused(), p.server.Alive())
		}
		p.server.Resume()
		_ = p.client.Sleep(background, time.Second)
		if took := answered - began; took < 10*time.Second || took > 11*time.Second {
			t.Errorf("the long call was answered after %v, want 10 s", took)
		}
		if now := p.server.Now().Sub(p.client.Now()); now != 0 {
			t.Errorf("the clock of what was paused differs by %v", now)
		}
	})
}

// TestPausedReader: what is sent to a paused process is queued, up to the window, and read in order when it goes on.
func TestPausedReader(t *testing.T) {
	p := newPair(t, 1)
	p.run(func(c testpb.TestServiceClient) {
		stream, err := c.FullDuplexCall(background)
		if err != nil {
			t.Fatal(err)
		}
		p.server.Pause()
		sent := 0
		p.client.Go("send", func() {
			for i := range 20 {
				body := payload(1 << 20)
				body.Body[0] = byte(i)
				if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: body}); err != nil {
					t.Error(err)
				}
				sent++
			}
		})
		_ = p.client.Sleep(background, 10*time.Second)
		if sent < windowBytes>>20 || sent > windowBytes>>20+1 {
			t.Errorf("%d MiB were sent to a process that reads nothing", sent)
		}
		p.server.Resume()
		for i := range 20 {
			out, err := stream.Recv()
			if err != nil || out.Payload.Body[0] != byte(i) {
				t.Fatalf("message %d: %v", i, err)
			}
		}
	})
}

// TestPausedForLong: peers give a process up that does not answer their keep-alive, whichever end it is; it finds the connection
// broken when it goes on, and connects anew. A pause after that begins its time anew.
func TestPausedForLong(t *testing.T) {
	for _, end := range []string{"server", "client"} {
		p := newPair(t, 1)
		p.echo.delay = 40 * time.Second
		paused := p.w.nodes[end]
		p.w.Sched.After(time.Second, paused.Pause)
		p.w.Sched.After(30*time.Second, paused.Resume)
		p.run(func(c testpb.TestServiceClient) {
			if err := p.call(c, time.Hour); status.Code(err) != codes.Unavailable {
				t.Errorf("%s was paused for 29 s: %v", end, err)
			}
			want := map[string]time.Duration{"server": 16 * time.Second, "client": 30 * time.Second}[end]
			if at := p.w.Sched.Elapsed(); at < want || at > want+time.Second {
				t.Errorf("%s: the call ended at %v, want %v", end, at, want)
			}
			if p.echo.delay = 0; end == "server" {
				_ = p.client.Sleep(background, 20*time.Second)
			}
			if err := p.call(c, time.Second); err != nil {
				t.Errorf("%s, afterwards: %v", end, err)
			}
			p.server.Pause()
			_ = p.client.Sleep(background, 14*time.Second)
			p.server.Resume()
			_ = p.client.Sleep(background, 10*time.Second)
			if len(p.w.Net.sessions) != 1 || p.w.Net.sessions[0].ended {
				t.Errorf("%s: a connection broke of a process that was paused for 14 s", end)
			}
		})
	}
}

// TestPausedCrashes: a paused process can die, and its next life runs.
func TestPausedCrashes(t *testing.T) {
	p := newPair(t, 1)
	p.w.Sched.After(time.Second, p.server.Pause)
	p.w.Sched.After(2*time.Second, func() {
		p.server.Crash()
		p.server.Resume() // too late
		p.server.Restart()
		p.serve()
	})
	p.run(func(c testpb.TestServiceClient) {
		_ = p.client.Sleep(background, 1500*time.Millisecond)
		if err := p.call(c, time.Hour); status.Code(err) != codes.Unavailable {
			t.Errorf("a call of a paused process that died: %v", err)
		}
		_ = p.client.Sleep(background, time.Second)
		if err := p.call(c, time.Second); err != nil || p.server.Paused() {
			t.Errorf("the next life: %v, paused %v", err, p.server.Paused())
		}
	})
}
