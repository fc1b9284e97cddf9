package world

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/forebay/forebay/system/host"
)

// priced notes what was charged, and charges each end its own price.
type priced struct {
	seen                       []Message
	send, receive, serve, turn time.Duration
	start, idle                time.Duration
	spread                     float64
}

func (p *priced) Message(m Message) time.Duration {
	p.seen = append(p.seen, m)
	switch {
	case m.Server:
		return p.serve
	case m.Sends:
		return p.send
	}
	return p.receive
}
func (p *priced) Turn() time.Duration                     { return p.turn }
func (p *priced) Start(queue time.Duration) time.Duration { return p.start + queue/2 }
func (p *priced) Idle() time.Duration                     { return p.idle }
func (p *priced) Spread() float64                         { return p.spread }

// TestCostsOfACall: each end of a call pays for each message, in time and on its own cores, and is told which message it is.
func TestCostsOfACall(t *testing.T) {
	p := newPair(t, 1)
	costs := &priced{send: 3 * time.Millisecond, receive: 5 * time.Millisecond, serve: 7 * time.Millisecond}
	p.w.Costs = costs
	p.run(func(c client) {
		before := p.w.Sched.Elapsed()
		if err := p.call(c, time.Minute); err != nil {
			t.Error(err)
		}
		// The client sends and receives, the server does the same at its price; the network takes under a millisecond.
		want := (3 + 5 + 2*7) * time.Millisecond
		if took := p.w.Sched.Elapsed() - before; took < want || took > want+3*time.Millisecond {
			t.Errorf("a call took %v, want about %v", took, want)
		}
		if p.client.Used() != 8*time.Millisecond || p.server.Used() != 14*time.Millisecond {
			t.Errorf("charged %v and %v", p.client.Used(), p.server.Used())
		}
	})
	order := []struct{ server, sends bool }{{false, true}, {true, false}, {true, true}, {false, false}}
	if len(costs.seen) != len(order) {
		t.Fatalf("charged for %d messages", len(costs.seen))
	}
	for i, m := range costs.seen {
		if m.Server != order[i].server || m.Sends != order[i].sends || m.Body == nil || m.Method != "/grpc.testing.TestService/UnaryCall" || m.Bytes < frameBytes {
			t.Errorf("message %d: %+v", i, m)
		}
	}
}

// TestCostsOfAStream: a stream's beginning is charged once at each end, without a message, and then each message.
func TestCostsOfAStream(t *testing.T) {
	p := newPair(t, 1)
	costs := &priced{}
	p.w.Costs = costs
	p.run(func(c client) {
		s, err := c.FullDuplexCall(background)
		if err != nil {
			t.Error(err)
			return
		}
		for range 3 {
			if err := s.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
				t.Error(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Error(err)
			}
		}
	})
	begun, messages := map[bool]int{}, map[[2]bool]int{}
	for _, m := range costs.seen {
		if m.Body == nil {
			begun[m.Server]++
		} else {
			messages[[2]bool{m.Server, m.Sends}]++
		}
	}
	if begun[false] != 1 || begun[true] != 1 {
		t.Errorf("beginnings at client and server: %v", begun)
	}
	for _, end := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		if messages[end] != 3 {
			t.Errorf("server %v, sending %v: %d messages", end[0], end[1], messages[end])
		}
	}
}

// TestIdle: a message that comes to an idle process waits until it has woken up; one that comes to a busy process does not.
func TestIdle(t *testing.T) {
	p := newPair(t, 1)
	p.w.Costs = &priced{send: time.Millisecond, receive: time.Millisecond, serve: time.Millisecond, idle: 4 * time.Millisecond}
	p.run(func(c client) {
		before := p.w.Sched.Elapsed()
		if err := p.call(c, time.Minute); err != nil {
			t.Error(err)
		}
		if took := p.w.Sched.Elapsed() - before; took < 12*time.Millisecond || took > 15*time.Millisecond {
			t.Errorf("a call took %v", took)
		}
		if p.client.Used() != 6*time.Millisecond || p.server.Used() != 6*time.Millisecond {
			t.Errorf("an idle client and server used %v and %v", p.client.Used(), p.server.Used())
		}
		_ = p.client.Sleep(background, time.Second)
		p.server.Go("busy", func() { _ = p.server.Compute(background, time.Second) })
		_ = p.client.Sleep(background, time.Millisecond)
		before = p.server.Used()
		if err := p.call(c, time.Minute); err != nil {
			t.Error(err)
		}
		if used := p.server.Used() - before; used != 2*time.Millisecond {
			t.Errorf("a busy server used %v more", used)
		}
	})
}

// TestSpreadOfCosts: with a spread messages cost more and less, and in the mean the same; one seed draws the same.
func TestSpreadOfCosts(t *testing.T) {
	used := func(seed uint64, spread float64) time.Duration {
		p := newPair(t, seed)
		p.w.Costs = &priced{serve: time.Millisecond, spread: spread}
		p.run(func(c client) {
			for range 1000 {
				if err := p.call(c, time.Minute); err != nil {
					t.Error(err)
				}
			}
		})
		return p.server.Used()
	}
	if even := used(1, 0); even != 2*time.Second {
		t.Errorf("without a spread %v", even)
	}
	one := used(1, 0.5)
	if one < 1900*time.Millisecond || one > 2100*time.Millisecond || one == 2*time.Second {
		t.Errorf("with a spread %v, want about 2s", one)
	}
	if used(1, 0.5) != one || used(2, 0.5) == one {
		t.Error("the spread does not follow from the seed")
	}
}

// TestSharedMachine: nodes on one machine queue at its cores, others do not; its disk likewise.
func TestSharedMachine(t *testing.T) {
	for _, c := range []struct {
		on   *Machine
		want time.Duration
	}{{NewMachine(2), 100 * time.Millisecond}, {NewMachine(1), 200 * time.Millisecond}, {nil, 25 * time.Millisecond}} {
		w := New(1)
		var ends []time.Duration
		for _, name := range []string{"a", "b", "c", "d"} {
			n := w.NewNode(name, NodeConfig{Cores: 2, On: c.on})
			for range 5 {
				n.Go("work", func() {
					_ = n.Compute(background, 10*time.Millisecond)
					ends = append(ends, w.Sched.Elapsed())
				})
			}
		}
		_ = w.Sched.Run(time.Second)
		w.Close()
		if last := ends[len(ends)-1]; len(ends) != 20 || last < c.want || last > c.want+5*time.Millisecond {
			t.Errorf("%d of 20 ended, the last at %v, want %v", len(ends), last, c.want)
		}
	}
}

// TestTurns: who wakes waits for a core, and a new task begins later by Start, without a core.
func TestTurns(t *testing.T) {
	w := New(1)
	defer w.Close()
	w.Costs = &priced{turn: 2 * time.Millisecond, start: 7 * time.Millisecond}
	n := w.NewNode("n", NodeConfig{Cores: 1})
	e := n.NewEvent()
	var woke []time.Duration
	for range 3 {
		n.Go("waiter", func() {
			if err := e.Wait(background); err != nil {
				t.Error(err)
			}
			woke = append(woke, w.Sched.Elapsed())
		})
	}
	w.Sched.After(20*time.Millisecond, e.Set)
	n.Go("late", func() {
		if at := w.Sched.Elapsed(); at != 7*time.Millisecond {
			t.Errorf("a task that was made at 0 began at %v", at)
		}
		_ = n.Sleep(background, 50*time.Millisecond)
		before := w.Sched.Elapsed()
		if err := e.Wait(background); err != nil || w.Sched.Elapsed() != before {
			t.Errorf("a wait for what is there took until %v: %v", w.Sched.Elapsed(), err)
		}
	})
	if err := w.Sched.Run(time.Second); err != nil {
		t.Fatal(err)
	}
	for i, at := range woke {
		if want := 20*time.Millisecond + time.Duration(i+1)*2*time.Millisecond; at != want {
			t.Errorf("waiter %d went on at %v, want %v", i, at, want)
		}
	}
	if n.Used() != 6*time.Millisecond {
		t.Errorf("charged %v", n.Used())
	}
}

// TestStartWhenBusy: a task that is made while the cores are busy is told how busy they are.
func TestStartWhenBusy(t *testing.T) {
	w := New(1)
	defer w.Close()
	w.Costs = &priced{start: time.Millisecond}
	n := w.NewNode("n", NodeConfig{Cores: 1})
	n.Go("busy", func() { _ = n.Compute(background, 20*time.Millisecond) }) // from 1 ms on
	w.Sched.After(11*time.Millisecond, func() {
		n.Go("late", func() {
			if at := w.Sched.Elapsed(); at != 17*time.Millisecond { // 11, 1, and half of the 10 that the core is busy
				t.Errorf("it began at %v", at)
			}
		})
	})
	if err := w.Sched.Run(time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestSyncsTogether: syncs at one time take one sync's time, and their bytes queue; what a core does for them is charged too.
func TestSyncsTogether(t *testing.T) {
	w := New(1)
	defer w.Close()
	disk := DiskConfig{Rate: 1e6, ReadRate: 1e15, Op: 1, Sync: 5 * time.Millisecond, Together: true,
		CPU: DiskCPU{Create: time.Millisecond, KiB: 2 * time.Millisecond, Sync: 3 * time.Millisecond}}
	on := NewMachine(4)
	var ends []time.Duration
	var nodes []*Node
	for _, name := range []string{"a", "b", "c", "d"} {
		n := w.NewNode(name, NodeConfig{On: on, Disk: disk})
		nodes = append(nodes, n)
		n.Go("write", func() {
			f, err := n.FS().Create("f", vfs.WriteCategoryUnspecified)
			if err == nil {
				_, err = f.Write(make([]byte, 1024))
			}
			if err == nil {
				err = f.Sync()
			}
			_ = n.Sleep(background, 0)
			if err != nil {
				t.Error(err)
			}
			ends = append(ends, w.Sched.Elapsed())
		})
	}
	if err := w.Sched.Run(time.Second); err != nil {
		t.Fatal(err)
	}
	// 6 ms of a core each, the bytes of those before and its own at a millisecond each, and 5 ms of the sync.
	if first, last := ends[0], ends[3]; first < 11*time.Millisecond || first > 13*time.Millisecond || last < 12*time.Millisecond || last > 17*time.Millisecond {
		t.Errorf("the syncs ended at %v", ends)
	}
	if nodes[2].Used() != 6*time.Millisecond {
		t.Errorf("charged %v", nodes[2].Used())
	}
	began := w.Sched.Elapsed()
	nodes[0].Go("flush", func() {
		g := host.NewGroup(nodes[0], 0)
		for _, n := range nodes {
			_ = g.Go(background, "flush", func() error { return n.Flush(background, 10*time.Millisecond) })
		}
		if err := g.Wait(background); err != nil || w.Sched.Elapsed()-began < 40*time.Millisecond {
			t.Errorf("four flushes of 10 ms on one disk took %v: %v", w.Sched.Elapsed()-began, err)
		}
	})
	if err := w.Sched.Run(2 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestCrashOnASharedMachine: a crash of one node leaves the machine's disk to the others, with what they asked of it.
func TestCrashOnASharedMachine(t *testing.T) {
	w := New(1)
	defer w.Close()
	on := NewMachine(1)
	a, b := w.NewNode("a", NodeConfig{On: on}), w.NewNode("b", NodeConfig{On: on})
	b.Go("flush", func() { _ = b.Flush(background, 50*time.Millisecond) })
	w.Sched.After(time.Millisecond, a.Crash)
	w.Sched.After(2*time.Millisecond, func() {
		b.Go("second", func() {
			if err := b.Flush(background, time.Millisecond); err != nil || w.Sched.Elapsed() != 51*time.Millisecond {
				t.Errorf("a flush behind another ended at %v: %v", w.Sched.Elapsed(), err)
			}
		})
	})
	if err := w.Sched.Run(time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestSpread: the median is the median, a tenth is above the 90th percentile, and without a spread nothing is drawn.
func TestSpread(t *testing.T) {
	w := New(1)
	defer w.Close()
	rng := w.Stream("spread")
	above, far := 0, 0
	const draws = 20_000
	for range draws {
		switch d := Spread(rng, time.Millisecond, 0.5); {
		case d > 1898*time.Microsecond: // exp(0.5*1.2816)
			far++
			above++
		case d > time.Millisecond:
			above++
		}
	}
	if above < draws*48/100 || above > draws*52/100 || far < draws*9/100 || far > draws*11/100 {
		t.Errorf("of %d draws %d were above the median and %d above the 90th percentile", draws, above, far)
	}
	next := w.Stream("spread")
	if Spread(next, time.Second, 0) != time.Second || next.Uint64() != w.Stream("spread").Uint64() {
		t.Error("a time without a spread drew from the stream, or is another")
	}
}
