package scenario

import (
	"slices"
	"time"

	"github.com/forebay/forebay/sim/world"
)

// Faults of single machines: their processes, clocks, disks and network cards.

func init() {
	for kind, begin := range map[string]func(r *run, f Fault, n int) func(){
		"kill-all":     killAll,
		"wipe-worker":  wipeWorker,
		"pause-leader": func(r *run, _ Fault, n int) func() { return pause(r.leaderNode(n)) },
		"pause-worker": func(r *run, f Fault, n int) func() { return pause(r.workerNode(f, n)) },
		"cut-worker":   cutWorker,
		"drift":        drift,
		"slow-card":    slowCard,
		"slow-disk":    diskFault(world.DiskFaults{Slow: 100}),
		"full-disk":    diskFault(world.DiskFaults{Full: true}),
		"failing-disk": diskFault(world.DiskFaults{ReadErrors: 0.02, WriteErrors: 0.02, SyncErrors: 0.02}),
		"rotten-disk":  diskFault(world.DiskFaults{RotReads: 0.3, RotWrites: 0.3}),
	} {
		faultKinds[kind] = begin
	}
}

// workerNode is another worker each time, beginning with one that follows from the fault's time.
func (r *run) workerNode(f Fault, n int) *world.Node {
	return r.cluster.Workers[(int(f.At/time.Millisecond)+n)%len(r.cluster.Workers)]
}

// leaderNode is the master that leads, or any when none does.
func (r *run) leaderNode(n int) *world.Node {
	if i := r.cluster.Leader(); i >= 0 {
		return r.cluster.Masters[i]
	}
	return r.cluster.Masters[n%len(r.cluster.Masters)]
}

// killAll crashes every master and worker in one moment, as when the power fails: only what was synced is left.
func killAll(r *run, _ Fault, _ int) func() {
	for i := range r.cluster.Masters {
		r.cluster.CrashMaster(i)
	}
	for _, n := range r.cluster.Workers {
		n.Crash()
	}
	return func() {
		for i, n := range r.cluster.Masters {
			if !n.Alive() {
				n.Restart()
				r.cluster.StartMaster(i)
			}
		}
		for i := range r.cluster.Workers {
			r.restart(i)
		}
	}
}

// restart begins a worker's next life, unless an overlapping fault's end has done so.
func (r *run) restart(worker int) {
	if n := r.cluster.Workers[worker]; !n.Alive() {
		n.Restart()
		r.cluster.StartWorker(worker)
	}
}

// wipeWorker replaces a worker's machine: what only it had is lost.
func wipeWorker(r *run, f Fault, n int) func() {
	node := r.workerNode(f, n)
	node.Crash()
	node.Wipe()
	r.wipes++
	return func() { r.restart(slices.Index(r.cluster.Workers, node)) }
}

// pause stops a process that still holds its connections, and that believes afterwards that no time has passed.
func pause(n *world.Node) func() {
	n.Pause()
	return n.Resume
}

// cutWorker cuts a worker off from the masters and from the other workers. Clients reach it still.
func cutWorker(r *run, f Fault, n int) func() {
	node := r.workerNode(f, n)
	var others []string
	for _, other := range slices.Concat(r.cluster.Masters, r.cluster.Workers) {
		if other != node {
			others = append(others, other.Name())
		}
	}
	r.w.Net.Partition([]string{node.Name()}, others)
	return func() { r.w.Net.Join([]string{node.Name()}, others) }
}

// drift has every clock go at a rate of its own, up to a tenth too fast or too slow, and the clocks apart from then on.
func drift(r *run, f Fault, n int) func() {
	r.skewed = true
	for i, node := range r.w.Nodes() {
		rate := 0.02 * float64((i*7+n+int(f.At/time.Millisecond))%11-5)
		_ = node.SetDrift(rate) // within what it takes
	}
	return func() {
		for _, node := range r.w.Nodes() {
			_ = node.SetDrift(0)
		}
	}
}

// slowCard leaves a worker's network card a megabyte a second, so that streams are under way when other things happen.
func slowCard(r *run, f Fault, n int) func() {
	node := r.workerNode(f, n)
	rate := node.CardRate()
	if rate == slowCardRate { // an overlapping fault's
		return func() {}
	}
	node.SetCardRate(slowCardRate)
	return func() { node.SetCardRate(rate) }
}

const slowCardRate = 1e6

// diskFault gives a worker's disk faults. One set at a time: the end of any ends what there is. What the disk has lost by then
// stays lost, and a worker gives up a disk that fails until it starts anew: the end restarts it.
func diskFault(faults world.DiskFaults) func(r *run, f Fault, n int) func() {
	return func(r *run, f Fault, n int) func() {
		node := r.workerNode(f, n)
		_ = node.SetDiskFaults(faults) // they are in range
		if faults.Full || faults.Slow > 0 {
			return func() { _ = node.SetDiskFaults(world.DiskFaults{}) }
		}
		r.damaged = true
		return func() {
			_ = node.SetDiskFaults(world.DiskFaults{})
			if faults.WriteErrors > 0 && node.Alive() {
				node.Crash()
			}
			r.restart(slices.Index(r.cluster.Workers, node))
		}
	}
}
