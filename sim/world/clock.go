package world

import (
	"fmt"
	"math"
	"time"
)

// clock is how a machine's clock differs from the world's time.
// The machine's oscillator is one: a clock that runs fast also ends sleeps and timeouts early, as those of a monotonic clock.
type clock struct {
	skew  time.Duration // at since
	since time.Duration // of the world's time
	rate  float64       // what it gains in each second
}

// span is how long d of the clock takes, rounded up: who waits for the rest of a time comes to its end.
func (c *clock) span(d time.Duration) time.Duration {
	if c.rate == 0 {
		return d
	}
	return time.Duration(math.Ceil(float64(d) / (1 + c.rate)))
}

// maxDrift is far beyond what a machine that works does (1e-4), and still leaves sleeps that end.
const maxDrift = 0.5

// Skew is how far the node's clock is ahead.
func (n *Node) Skew() time.Duration {
	return n.clock.skew + time.Duration(n.clock.rate*float64(n.w.Sched.Elapsed()-n.clock.since))
}

// SetSkew makes the node's clock differ from the world's by d from now on: a jump.
// Only Now and the deadlines that it is asked for see it: sleeps and timeouts are spans, as on a machine with a
// monotonic clock.
func (n *Node) SetSkew(d time.Duration) { n.clock.skew, n.clock.since = d, n.w.Sched.Elapsed() }

// SetDrift makes the node's clock gain rate seconds in each second from now on, or lose them when it is negative; 0 ends it, and
// leaves the skew that there is. What sleeps already is not changed.
func (n *Node) SetDrift(rate float64) error {
	if !(math.Abs(rate) <= maxDrift) {
		return fmt.Errorf("drift of node %s: %v seconds a second, want -%v to %v", n.name, rate, maxDrift, maxDrift)
	}
	n.SetSkew(n.Skew())
	n.clock.rate = rate
	return nil
}
