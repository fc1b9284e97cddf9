package world

import (
	"fmt"
	"time"
)

// Card has the node's network card carry size bytes, out or in, to or from something that is no node (an under store), and
// tells how long it is until the last has passed. It waits for nothing and counts no message.
func (n *Node) Card(size int, out bool) time.Duration {
	free := &n.nic.receiveFree
	if out {
		free = &n.nic.sendFree
	}
	now := int64(n.w.Sched.Elapsed())
	return time.Duration(occupy(free, now, size, n.nic.rate) - now)
}

// CardRate is what the node's network card carries a second, each way; negative: no limit.
func (n *Node) CardRate() float64 { return n.nic.rate }

// SetCardRate makes the network card slower or faster from now on: what queues at it already keeps its time. A card that
// carries nothing is a cut (Net.Cut), and no rate.
func (n *Node) SetCardRate(bytesPerSecond float64) {
	if bytesPerSecond == 0 {
		panic(fmt.Sprintf("world: node %q with a network card of rate 0: cut the network instead", n.name))
	}
	n.nic.rate = bytesPerSecond
	n.w.Note(n.name, "card", fmt.Sprintf("its network card carries %.3g bytes a second", bytesPerSecond))
}
