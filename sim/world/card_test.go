package world

import (
	"slices"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// TestCard: what passes a card queues behind what passed it the same way before, and not behind the other way or another node's.
func TestCard(t *testing.T) {
	w := New(1)
	defer w.Close()
	n, other := w.NewNode("n", NodeConfig{NIC: 1e6}), w.NewNode("other", NodeConfig{NIC: 1e6})
	var got []time.Duration
	n.Go("test", func() {
		got = append(got, n.Card(1000, true), n.Card(500, true), n.Card(250, false), other.Card(100, true))
		_ = n.Sleep(background, time.Millisecond)
		got = append(got, n.Card(1000, true))
		_ = n.Sleep(background, time.Second)
		got = append(got, n.Card(1000, true))
	})
	_ = w.Sched.Run(time.Minute)
	ms := func(x float64) time.Duration { return time.Duration(x * float64(time.Millisecond)) }
	if want := []time.Duration{ms(1), ms(1.5), ms(0.25), ms(0.1), ms(1.5), ms(1)}; !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
	if w.Net.Messages != 0 || w.Net.Bytes != 0 {
		t.Errorf("%d messages of %d bytes were counted between nodes", w.Net.Messages, w.Net.Bytes)
	}
}

// TestCardIsShared: calls queue behind what goes to an under store, and the reverse: at the sender's card with what goes out, at the
// receiver's with what comes in.
func TestCardIsShared(t *testing.T) {
	for _, way := range []struct {
		name   string
		server bool // whose card carries a second's worth
		out    bool
		slow   bool // whether the call is late by it
	}{
		{"the client's, out", false, true, true},
		{"the client's, in: the answer", false, false, true},
		{"the server's, in", true, false, true},
		{"the server's, out: the answer", true, true, true},
		{"none", false, false, false},
	} {
		p := newPair(t, 1)
		p.run(func(c testpb.TestServiceClient) {
			if err := p.call(c, time.Minute); err != nil { // connects
				t.Error(err)
			}
			n := p.client
			if way.server {
				n = p.server
			}
			if way.slow {
				n.Card(defaultNICBytes, way.out)
			}
			began := p.w.Sched.Elapsed()
			if err := p.call(c, time.Minute); err != nil {
				t.Error(err)
			}
			if took := p.w.Sched.Elapsed() - began; (took >= time.Second) != way.slow || took > 1100*time.Millisecond {
				t.Errorf("behind a second on %s card a call took %v", way.name, took)
			}
			if n.Card(0, true) > 0 || n.Card(0, false) > 0 {
				t.Errorf("%s: the card is still busy", way.name)
			}
		})
	}
}

// TestCardWays: what goes out holds what goes out, and what comes in does not.
func TestCardWays(t *testing.T) {
	for _, way := range []struct{ sender, out, late bool }{{true, true, true}, {true, false, false}, {false, true, false}, {false, false, true}} {
		p := newPair(t, 1)
		n := p.server
		if way.sender {
			n = p.client
		}
		n.Card(defaultNICBytes, way.out)
		var took time.Duration
		p.w.Net.Post(p.client, p.server, "late", 100, func() { took = p.w.Sched.Elapsed() })
		if err := p.w.Sched.Run(10 * time.Second); err != nil || took == 0 || (took >= time.Second) != way.late {
			t.Errorf("%v; %+v: a message took %v", err, way, took)
		}
	}
}

// TestCardRates: a rate holds from when it is set; what queues keeps its time; no limit carries all at once, and no rate is a
// mistake that is told.
func TestCardRates(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{})
	if n.CardRate() != defaultNICBytes {
		t.Errorf("a card of %v", n.CardRate())
	}
	n.SetCardRate(1e6)
	one := n.Card(1e6, true)
	n.SetCardRate(1e3)
	two := n.Card(1e3, true)
	if one != time.Second || two != 2*time.Second || n.CardRate() != 1e3 {
		t.Errorf("%v, then %v behind it at %v bytes a second", one, two, n.CardRate())
	}
	n.SetCardRate(-1)
	if took := n.Card(1<<40, false); took != 0 {
		t.Errorf("without a limit a card took %v", took)
	}
	defer func() {
		if recover() == nil {
			t.Error("a rate of 0 was taken")
		}
	}()
	n.SetCardRate(0)
}
