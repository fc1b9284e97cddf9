package world

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// listener writes down what it is told.
type listener struct {
	w    *World
	told []string
	id   map[uint64]bool
}

func (l *listener) Call(s CallStep) {
	names := map[Step]string{CallBegan: "began", CallSent: "sent", CallArrived: "arrived", CallTook: "took", CallAnswered: "answered", CallEnded: "ended"}
	at := s.From
	if s.AtServer {
		at = s.To
	}
	text := fmt.Sprintf("%s at %s", names[s.Step], at)
	switch m := s.Message.(type) {
	case *testpb.SimpleRequest:
		text += fmt.Sprintf(", %d bytes", len(m.Payload.GetBody()))
	case *testpb.SimpleResponse:
		text += fmt.Sprintf(", %d bytes back", len(m.Payload.GetBody()))
	case *testpb.StreamingOutputCallRequest:
		text += fmt.Sprintf(", %d bytes", len(m.Payload.GetBody()))
	case *testpb.StreamingOutputCallResponse:
		text += fmt.Sprintf(", %d bytes back", len(m.Payload.GetBody()))
	}
	if s.Err != nil && !errors.Is(s.Err, io.EOF) {
		text += ", " + status.Code(s.Err).String()
	}
	l.id[s.ID] = true
	l.told = append(l.told, text)
}

func (l *listener) Note(node, kind, text string) {
	l.told = append(l.told, kind+" "+node+" "+text)
}

// observed is what is told of what a client's task does.
func observed(t *testing.T, task func(p *pair, c testpb.TestServiceClient)) (told []string, calls int) {
	p := newPair(t, 1)
	l := &listener{w: p.w, id: map[uint64]bool{}}
	p.w.Observe(l)
	p.run(func(c testpb.TestServiceClient) { task(p, c) })
	return l.told, len(l.id)
}

// TestObserver: every step of unary calls and streams, in order, at both ends.
func TestObserver(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func(p *pair, c testpb.TestServiceClient)
		want  []string
		calls int
	}{
		{"unary", func(p *pair, c testpb.TestServiceClient) {
			ctx, cancel := p.client.WithTimeout(background, time.Second)
			defer cancel()
			_, _ = c.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(5)})
		}, []string{"began at client", "sent at client, 5 bytes", "arrived at server", "took at server, 5 bytes", "answered at server", "ended at client, 5 bytes back"}, 1},
		{"refused by the handler", func(p *pair, c testpb.TestServiceClient) {
			_, _ = c.UnaryCall(background, &testpb.SimpleRequest{}) // it has no deadline
		}, []string{"began at client", "sent at client, 0 bytes", "arrived at server", "answered at server, InvalidArgument", "ended at client, InvalidArgument"}, 1},
		{"given up", func(p *pair, c testpb.TestServiceClient) {
			p.echo.delay = time.Minute
			_ = p.call(c, time.Second)
			_ = p.client.Sleep(background, time.Second)
		}, []string{"began at client", "sent at client, 10 bytes", "arrived at server", "took at server, 10 bytes", "ended at client, DeadlineExceeded", "answered at server, Canceled"}, 1},
		{"nobody there, then again", func(p *pair, c testpb.TestServiceClient) {
			p.w.Sched.After(0, func() { p.server.Crash(); p.server.Restart() })
			_ = p.client.Sleep(background, time.Millisecond)
			_ = p.call(c, time.Second)
		}, []string{"process server crashes", "process server starts again, life 2", "began at client", "ended at client, Unavailable"}, 1},
		{"a stream", func(p *pair, c testpb.TestServiceClient) {
			s, _ := c.FullDuplexCall(background)
			_ = s.Send(&testpb.StreamingOutputCallRequest{Payload: payload(3)})
			_, _ = s.Recv()
			_ = s.CloseSend()
			_, _ = s.Recv()
		}, []string{"began at client", "sent at client, 3 bytes", "arrived at server", "took at server, 3 bytes", "sent at server, 3 bytes back", "took at client, 3 bytes back", "answered at server", "ended at client"}, 1},
		{"paused", func(p *pair, _ testpb.TestServiceClient) {
			p.server.Pause()
			p.server.Pause()
			p.server.Resume()
			p.server.Resume()
		}, []string{"process server is paused", "process server goes on"}, 0},
	} {
		got, calls := observed(t, test.do)
		if !slices.Equal(got, test.want) || calls != test.calls {
			t.Errorf("%s: %d calls\n%q\nwant\n%q", test.name, calls, got, test.want)
		}
	}
}

// TestObserverChangesNothing: the history is that of a run without one.
func TestObserverChangesNothing(t *testing.T) {
	history := func(o Observer) uint64 {
		p := newPair(t, 1)
		p.w.Observe(o)
		p.run(func(c testpb.TestServiceClient) {
			for range 5 {
				_ = p.call(c, time.Second)
			}
			p.server.Pause()
			_ = p.call(c, time.Second)
			p.server.Resume()
		})
		return p.w.Sched.History()
	}
	if with, without := history(&listener{id: map[uint64]bool{}}), history(nil); with != without {
		t.Errorf("history %x with an observer, %x without", with, without)
	}
}

// TestNotes: what becomes of disks, cards and the network is told where it happens, and a large partition in few words.
func TestNotes(t *testing.T) {
	w := New(1)
	defer w.Close()
	var names []string
	for i := range 12 {
		names = append(names, w.NewNode(fmt.Sprint("n", i), NodeConfig{}).Name())
	}
	l := &listener{w: w, id: map[uint64]bool{}}
	w.Observe(l)
	n := w.Nodes()[0]
	_ = n.SetDiskFaults(DiskFaults{Full: true, ReadErrors: 0.1, Slow: 2, RotWrites: 3})
	_ = n.SetDiskFaults(DiskFaults{ReadErrors: 9})
	_ = n.SetDiskFaults(DiskFaults{})
	n.SetCardRate(2e6)
	w.Net.Cut("n0", "n1")
	w.Net.Cut("n0", "n1")
	w.Net.Heal("n0", "n1")
	w.Net.Heal("n0", "n1")
	w.Net.Partition(names[:1], names[1:3])
	w.Net.Join(names[:1], names[1:3])
	want := []string{
		"disk n0 its disk is full, fails 0.1 of reads, is slow by 2, stores 3 bits of a MiB wrong",
		"disk n0 its disk is well",
		"card n0 its network card carries 2e+06 bytes a second",
		"network n0 what it sends is cut off from n1",
		"network n0 what it sends reaches again n1",
		"network n0 is cut off from n1, n2",
		"network n0 reaches again n1, n2",
	}
	if !slices.Equal(l.told, want) {
		t.Errorf("told\n%q\nwant\n%q", l.told, want)
	}
	l.told = nil
	w.Net.Partition(names, names[:9])
	if len(l.told) != 8 || l.told[0] != "network n0 is cut off from n0, n1, n2, n3, n4, n5, n6, n7 and 1 more" ||
		l.told[7] != "network n7 is cut off from n0, n1, n2, n3, n4, n5, n6, n7 and 1 more, with 4 nodes more" {
		t.Errorf("told %q", l.told)
	}
}
