package world

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Topology is the time that a message takes between two nodes besides the sending of its bytes: half a round trip.
// There is no bandwidth between racks and no congestion: messages queue at the two network cards only.
type Topology struct {
	Rack, Zone, Far time.Duration // within a rack, within a zone, and between zones
	Jitter          float64       // the share of it that varies, exponentially
}

// DefaultTopology is a data centre's.
var DefaultTopology = Topology{Rack: 25 * time.Microsecond, Zone: 60 * time.Microsecond, Far: 400 * time.Microsecond, Jitter: 0.2}

// What a connection bears, as TCP and gRPC's keep-alive on a real host (host.Real): what is lost is sent again after a
// while, and a peer that is not reached for brokenAfter is given up.
// They are real hosts' numbers because production code has timeouts of its own on top, which must fit them: a run
// shows which of the two comes first.
const (
	firstRetransmit = 200 * time.Millisecond
	maxRetransmit   = 5 * time.Second
	brokenAfter     = 15 * time.Second
)

// nic is a node's network card: what leaves it and what arrives queues at its rate.
// It has no memory of who sent what: a crash leaves the queue as it is, since the card sends what it was given.
type nic struct {
	node, rack, zone string
	rate             float64 // bytes a second; <= 0: no limit
	sendFree         int64   // when the last byte taken so far will have left
	receiveFree      int64
}

// Net carries messages between nodes. Its faults can be changed at any time, between tasks or by one.
// A message is a whole: packets, their order and a window of TCP are left out. What is lost on a connection comes
// later, in order; what is posted is lost for good (Post).
type Net struct {
	w        *World
	rng      *rand.Rand
	Topology Topology
	// Loss is the share of messages that must be sent again, which TCP does after a while: it delays, it loses nothing.
	Loss float64
	// Slow multiplies the latency from one node to another; nil: none is slow.
	Slow func(from, to string) float64

	cut      map[[2]string]uint64 // from, to -> which cut it was
	cuts     uint64
	sessions []*session // open connections, oldest first
	Messages uint64
	Bytes    uint64
}

func newNet(w *World) *Net {
	return &Net{w: w, rng: w.stream("network"), Topology: DefaultTopology, cut: map[[2]string]uint64{}}
}

// Cut stops what goes from one node to another, one way. Connections hold on for a while, as they do, and break when it
// lasts: their keep-alive notices also when nobody sends.
// Each way is cut by itself: a cut of the way back alone shows requests that took effect and were
// not answered. Cutting what is cut changes nothing, its age included.
func (n *Net) Cut(from, to string) {
	way := [2]string{from, to}
	if n.cut[way] != 0 {
		return
	}
	n.notePartition([]string{from}, []string{to}, "what it sends is cut off from")
	n.stop(way)
}

// stop cuts a way that is not cut.
func (n *Net) stop(way [2]string) {
	n.cuts++
	mark := n.cuts
	n.cut[way] = mark
	n.w.Sched.After(brokenAfter, func() {
		if n.cut[way] != mark {
			return
		}
		for _, s := range slices.Clone(n.sessions) {
			if s.between(way[0], way[1]) {
				s.broke("the peer was not reached for 15 s")
			}
		}
	})
}

// Heal undoes Cut.
// What waits in pipes arrives with its next try, up to maxRetransmit later, as TCP's back-off has it. A cut that
// comes again is another one: the timer of the first does not break connections for it.
func (n *Net) Heal(from, to string) {
	if n.IsCut(from, to) {
		n.notePartition([]string{from}, []string{to}, "what it sends reaches again")
	}
	delete(n.cut, [2]string{from, to})
}

// HealAll undoes all cuts.
func (n *Net) HealAll() { clear(n.cut) }

// IsCut tells whether what goes from one node to another is stopped.
func (n *Net) IsCut(from, to string) bool { return n.cut[[2]string{from, to}] != 0 }

func (n *Net) isCut(from, to *nic) bool { return n.IsCut(from.node, to.node) }

// Partition cuts every node of a from every node of b, both ways.
func (n *Net) Partition(a, b []string) {
	n.notePartition(a, b, "is cut off from")
	for _, x := range a {
		for _, y := range b {
			for _, way := range [][2]string{{x, y}, {y, x}} {
				if n.cut[way] == 0 {
					n.stop(way)
				}
			}
		}
	}
}

// Join undoes Partition, and leaves other cuts as they are.
func (n *Net) Join(a, b []string) {
	n.notePartition(a, b, "reaches again")
	for _, x := range a {
		for _, y := range b {
			delete(n.cut, [2]string{x, y})
			delete(n.cut, [2]string{y, x})
		}
	}
}

// latency draws a message's time on the wire.
// One draw for each message, whatever the way, so that moving a node to another rack changes times and not the
// later draws. A message to oneself takes a quarter of a rack's latency: the kernel's loopback.
func (n *Net) latency(from, to *nic) time.Duration {
	base := n.Topology.Far
	switch {
	case from == to:
		base = n.Topology.Rack / 4
	case from.rack == to.rack && from.zone == to.zone:
		base = n.Topology.Rack
	case from.zone == to.zone:
		base = n.Topology.Zone
	}
	d := float64(base) * (1 + n.Topology.Jitter*n.rng.ExpFloat64())
	if n.Slow != nil {
		d *= max(n.Slow(from.node, to.node), 0)
	}
	return time.Duration(d)
}

// pipe is one direction of a connection: what it carries arrives in the order in which it was sent.
// INV-1: exactly one timer is set while the queue is not empty, for its first parcel; what comes behind never
// arrives before it (head-of-line blocking, as in TCP). INV-2: after closed nothing arrives.
type pipe struct {
	net      *Net
	from, to *nic
	queue    []parcel // sent and not arrived; the first has a timer
	tries    int      // of the first
	closed   bool     // what still flies arrives nowhere
}

type parcel struct {
	at     int64
	arrive func()
}

// send carries size bytes and then calls arrive, on the scheduler's stack.
// It never waits and never fails: what a broken connection drops, its calls are told by session.fail. arrive must
// not wait.
func (p *pipe) send(size int, arrive func()) {
	n := p.net
	at := n.travel(p.from, p.to, size)
	if n.Loss > 0 && n.rng.Float64() < n.Loss {
		at += int64(firstRetransmit)
	}
	p.queue = append(p.queue, parcel{at, arrive})
	if len(p.queue) == 1 {
		p.wait(at)
	}
}

// wait sets the timer of the first parcel.
func (p *pipe) wait(at int64) {
	s := p.net.w.Sched
	s.After(time.Duration(at)-s.Elapsed(), p.arrived)
}

// arrived delivers the first parcel, or tries again later while the way is cut: what comes behind it waits too.
// The next timer is set before the parcel is handed over, since what arrives may send, close the pipe, or end the
// session.
func (p *pipe) arrived() {
	if p.closed {
		p.queue = nil
		return
	}
	now := int64(p.net.w.Sched.Elapsed())
	if p.net.isCut(p.from, p.to) {
		p.tries++
		p.wait(now + int64(min(firstRetransmit<<min(p.tries, 10), maxRetransmit)))
		return
	}
	p.tries = 0
	first := p.queue[0]
	p.queue[0] = parcel{}
	p.queue = p.queue[1:]
	if len(p.queue) == 0 {
		p.queue = nil
	} else {
		p.wait(max(now, p.queue[0].at))
	}
	first.arrive()
}

// travel has both cards carry a message that leaves now, and tells when it arrives. Its time on the wire comes last, after
// both queues, though the receiver's card stands behind the wire: else what is slow on the wire would hold the card for as
// long, and with it the messages of everybody else.
//
// It counts messages that are lost or cut off later, too: they were sent.
func (n *Net) travel(from, to *nic, size int) int64 {
	n.Messages++
	n.Bytes += uint64(size)
	at := int64(n.w.Sched.Elapsed())
	if from != to { // a message to oneself passes no network card
		at = occupy(&from.sendFree, at, size, from.rate)
		at = occupy(&to.receiveFree, at, size, to.rate)
	}
	return at + int64(n.latency(from, to))
}

// occupy sends size bytes through a queue that is free at *free, from at on, and tells when the last has passed.
func occupy(free *int64, at int64, size int, rate float64) int64 {
	if rate <= 0 {
		return at
	}
	*free = max(*free, at) + int64(float64(size)/rate*1e9)
	return *free
}
