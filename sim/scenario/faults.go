package scenario

import (
	"slices"
	"time"
)

// faultKinds are what can go wrong: each begins its fault the n-th time, and returns what ends it.
var faultKinds = map[string]func(r *run, f Fault, n int) (end func()){
	"restart-worker": restartWorker,
	"cut-zone":       cutZone,
	kindBrownout:     troubleStore,
	kindOutage:       troubleStore,
	"cut-client":     cutClient,
	kindKillLeader:   killLeader,
	kindCutLeader:    cutLeader,
}

const (
	kindKillLeader = "kill-leader"
	kindCutLeader  = "cut-leader"
)

// fault is one that is under way.
type fault struct {
	end  func()
	over bool
}

// finish ends a fault, once.
func (f *fault) finish() {
	if !f.over {
		f.over = true
		f.end()
	}
}

// schedule sets the timers of all faults.
func (r *run) schedule() {
	for _, f := range r.s.Faults {
		r.next(f, f.At, 0)
	}
}

// next begins a fault, sets its end, and sets the next of its kind before that end may come. Timers, not tasks,
// begin faults: Crash must be called between tasks, and a fault must not die with a node.
func (r *run) next(f Fault, after time.Duration, n int) {
	r.w.Sched.After(after, func() {
		if r.healed {
			return
		}
		ended := r.told(f)
		end := faultKinds[f.Kind](r, f, n)
		r.beginTrial(f)
		now := &fault{end: func() { end(); ended() }}
		r.faults = append(slices.DeleteFunc(r.faults, func(f *fault) bool { return f.over }), now)
		r.report.Faults++
		r.w.Sched.After(f.For, now.finish)
		if f.Every > 0 {
			r.next(f, f.Every, n+1)
		}
	})
}

// heal ends all faults, in the order in which they began, and lets none begin any more. Rare paths are not taken any more, either.
func (r *run) heal() {
	r.healed = true
	r.w.TakePaths(nil)
	for _, f := range r.faults {
		f.finish()
	}
}

// restartWorker crashes one worker after the other.
// An end finds the worker alive when an overlapping fault's end has restarted it already.
func restartWorker(r *run, _ Fault, n int) func() {
	i := n % len(r.cluster.Workers)
	r.cluster.Workers[i].Crash()
	return func() { r.restart(i) }
}

// cutZone cuts the workers of a zone off from everything else.
// Masters are never inside: the fault is about workers and clients that are away together. The under store is not
// reached by the network, and so never away.
func cutZone(r *run, f Fault, _ int) func() {
	var inside, outside []string
	for _, n := range r.w.Nodes() {
		if n.Zone() == f.Zone && !slices.Contains(r.cluster.Masters, n) {
			inside = append(inside, n.Name())
		} else {
			outside = append(outside, n.Name())
		}
	}
	r.w.Net.Partition(inside, outside)
	return func() { r.w.Net.Join(inside, outside) }
}

// cutClient cuts one client after the other off from the masters, one way: it asks and hears nothing.
//
// The clients' nodes were made last. One way, since a request that took effect and an answer that was lost are
// what retries must survive.
func cutClient(r *run, _ Fault, n int) func() {
	client := r.w.Nodes()[len(r.w.Nodes())-1-n%r.s.Clients].Name()
	for _, m := range r.cluster.Masters {
		r.w.Net.Cut(m.Name(), client)
	}
	return func() {
		for _, m := range r.cluster.Masters {
			r.w.Net.Heal(m.Name(), client)
		}
	}
}

// killLeader crashes the master that leads, or any when none does.
func killLeader(r *run, _ Fault, n int) func() {
	i := r.cluster.Leader()
	if i < 0 {
		i = n % len(r.cluster.Masters)
	}
	r.cluster.CrashMaster(i)
	return func() {
		if !r.cluster.Masters[i].Alive() {
			r.cluster.Masters[i].Restart()
			r.cluster.StartMaster(i)
		}
	}
}

// cutLeader cuts the leader off from the other masters, but not from clients: it must stop answering by itself.
// Without a leader it does nothing, and counts as a fault all the same.
func cutLeader(r *run, _ Fault, _ int) func() {
	i := r.cluster.Leader()
	if i < 0 {
		return func() {}
	}
	var others []string
	for j, n := range r.cluster.Masters {
		if j != i {
			others = append(others, n.Name())
		}
	}
	leader := []string{r.cluster.Masters[i].Name()}
	r.w.Net.Partition(leader, others)
	return func() { r.w.Net.Join(leader, others) } // and not what other faults cut meanwhile
}
