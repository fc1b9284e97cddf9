package world

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// Machine is the cores and the disk of one machine, which several nodes may share: processes of one experiment that run side by
// side. What else a node has (network card, clock, files) is its own, so that a crash of one is none of its neighbours'.
type Machine struct {
	cores    []int64 // busy until
	diskFree int64   // when its disk has done all that was asked
}

// NewMachine makes a machine with so many cores, at least one.
func NewMachine(cores int) *Machine { return &Machine{cores: make([]int64, max(cores, 1))} }

// core takes d of the core that is free first, and tells how long it is until then and through it.
//
// core is first come, first served, without preemption: what was granted stays charged when the request is
// cancelled, as work that has begun is not undone. A crash does not free the cores of what was queued.
func (m *Machine) core(at, d time.Duration) time.Duration {
	now := int64(at)
	first := 0
	for i := range m.cores {
		if m.cores[i] < m.cores[first] {
			first = i
		}
	}
	m.cores[first] = max(now, m.cores[first]) + int64(d)
	return time.Duration(m.cores[first] - now)
}

// disk has the disk work for d, behind what it was asked before, and tells how long it is until that is done.
func (m *Machine) disk(at, d time.Duration) time.Duration {
	m.diskFree = max(m.diskFree, int64(at)) + int64(d)
	return time.Duration(m.diskFree) - at
}

// Spread draws a time around a median: lognormal, as times of disks are nearly. Without a spread nothing is drawn.
func Spread(rng *rand.Rand, median time.Duration, spread float64) time.Duration {
	if spread <= 0 {
		return median
	}
	return time.Duration(float64(median) * math.Exp(spread*rng.NormFloat64()))
}

// Used is the CPU time that the node was charged with so far, over all its lives.
func (n *Node) Used() time.Duration { return n.used }

// Flush has the machine's disk work for d, behind what others asked of it, and waits: for writes that are not the node's
// files', as those of an under store on the same disk.
func (n *Node) Flush(ctx context.Context, d time.Duration) error {
	return n.Sleep(ctx, n.on.disk(n.w.Sched.Elapsed(), d))
}
