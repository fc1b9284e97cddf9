package world

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/forebay/forebay/sim/sched"
)

// Costs is what messages and tasks cost the cores of both ends: a calibrated model (package model) in place of CPUModel. With
// one, tasks queue for a core when they start and when they wake, as on a machine: which of them are ready together, and so
// how large a group commit becomes, is decided by how busy the cores are. Costs must follow from their arguments alone.
type Costs interface {
	// Message is what one end of a call spends on a message.
	Message(m Message) time.Duration
	// Turn is what a task spends on being woken after a wait for an event.
	Turn() time.Duration
	// Start is how much later than its creation a task runs, when a core will be free after queue. It takes no core.
	Start(queue time.Duration) time.Duration
	// Idle is what a process that did nothing spends on waking up for a message, before it looks at that.
	Idle() time.Duration
	// Spread is how much the costs of messages vary: the standard deviation of their logarithm. Their mean does not change.
	Spread() float64
}

// Message is one message at one of its ends, or with a nil Body the beginning of a stream there.
type Message struct {
	Method string
	Server bool // the end is the server's
	Sends  bool
	Bytes  int // as it is encoded, its frame included
	Body   any // it must not be kept
}

// end is the node at one end of a call.
func (k *call) end(server bool) *Node {
	if server {
		return k.x.server.node
	}
	return k.x.client
}

// charge has one end pay for a message, before it is sent or after it was received, and waits for the core. It heeds no
// context: a message that was paid for in part is not undone.
func (k *call) charge(server, sends bool, body any, size int) {
	n := k.end(server)
	costs := n.w.Costs
	if costs == nil {
		return
	}
	d := costs.Message(Message{Method: k.method, Server: server, Sends: sends, Bytes: size, Body: body})
	if s := costs.Spread(); s > 0 {
		d = time.Duration(float64(Spread(n.w.costsRand(), d, s)) * math.Exp(-s*s/2))
	}
	if !sends && n.w.Sched.Elapsed() >= n.busyUntil {
		d += costs.Idle()
	}
	n.spend(d)
}

// costsRand is the stream from which the spread of costs is drawn.
func (w *World) costsRand() *rand.Rand {
	if w.costsRng == nil {
		w.costsRng = w.stream("costs")
	}
	return w.costsRng
}

// spend is Compute to its end. A task whose own time is ahead waits for that first: the core is not kept for it until then.
func (n *Node) spend(d time.Duration) {
	ctx := context.Background() // does not end
	if n.w.Sched.Elapsed() > n.w.Sched.Reached() {
		_ = n.Sleep(ctx, 0)
	}
	_ = n.Compute(ctx, d)
}

// delayed is a task that begins a little later.
func (n *Node) delayed(task func()) func() {
	costs := n.w.Costs
	if costs == nil {
		return task
	}
	return func() {
		_ = n.Sleep(context.Background(), costs.Start(n.Queue())) // that context does not end
		task()
	}
}

// queuedEvent is an event whose waiters wait for a core, too, before they go on.
type queuedEvent struct {
	*sched.Event
	n *Node
}

// Wait implements host.Event.
func (e *queuedEvent) Wait(ctx context.Context) error {
	if e.IsSet() {
		return nil
	}
	err := e.Event.Wait(ctx)
	e.n.spend(e.n.w.Costs.Turn())
	return err
}
