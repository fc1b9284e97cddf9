package world

import "time"

// Post carries a message of size bytes from one node to another outside of any connection, as the simulated journal's
// transport: it arrives once or never. It is lost when its sender is dead already, by Loss, when the way is cut at the moment
// of its arrival, and when the receiver's life at the time of sending has ended by then; the sender's death after it left
// changes nothing. Messages may overtake each other. arrive runs as a task of the receiver.
func (n *Net) Post(from, to *Node, name string, size int, arrive func()) {
	if !from.Alive() {
		return
	}
	start := int64(n.w.Sched.Elapsed())
	at := n.travel(from.nic, to.nic, size)
	// Lost for good, unlike in a pipe: nothing below sends it again, and the journal's own repetition is under
	// test.
	if n.Loss > 0 && n.rng.Float64() < n.Loss {
		return
	}
	life := to.life
	n.w.Sched.After(time.Duration(at-start), func() {
		if to.life == life && to.Alive() && !n.isCut(from.nic, to.nic) {
			to.Go(name, arrive)
		}
	})
}
