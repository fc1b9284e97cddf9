package fidelity

import (
	"context"
	"fmt"
	"time"

	"github.com/forebay/forebay/sim/cluster"
	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/sim/store/content"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/host"
)

// When things begin in the simulator, and when a run that does not end is given up.
const (
	simWarmUp = 5 * time.Second
	simLimit  = 10 * time.Minute
)

// predicted is a slice in the simulator, with the CPU time that nodes were charged with.
type predicted struct {
	slice
	used
	entries uint64 // of the journal
	History uint64
}

// predict runs one slice of a workload in a simulated cluster of the model, all of it on one machine, as the real processes are.
// others is the share of that machine which other processes have meanwhile. It follows from the seed.
func predict(m *model.Model, w Workload, others float64, seed uint64) (*predicted, error) {
	wd := world.New(seed)
	defer wd.Close()
	c := cluster.New(wd, cluster.Config{Masters: 1, Workers: w.Workers, WorkerBytes: 2 << 30, Model: m, OneMachine: true})
	n := wd.NewNode("client", c.Place(0))
	s := &simulation{cluster: c, node: n, driver: driver{h: n, counts: &counts{}}, neighbours: wd.NewNode("neighbours", c.Place(0)), others: min(others, mostOthers)}
	s.originals = s.put
	n.Go("driver", func() {
		s.err = s.work(w)
		wd.Sched.Stop()
	})
	if err := wd.Sched.Run(simLimit); err != nil {
		return nil, fmt.Errorf("%s, simulated: %w", w.Name(), err)
	}
	if s.err == nil && !s.done {
		s.err = fmt.Errorf("it has not ended after %v", simLimit)
	}
	if s.err != nil {
		return nil, fmt.Errorf("%s, simulated: %w", w.Name(), s.err)
	}
	s.out.History = wd.Sched.History()
	return &s.out, nil
}

// simulation is the driver on a node of a simulated cluster.
type simulation struct {
	driver
	cluster *cluster.Cluster
	node    *world.Node
	out     predicted
	done    bool
	err     error

	neighbours *world.Node
	others     float64
}

// Other processes use the cores in short turns, at random moments. What they had in reality they have here too, however busy the
// machine is.
const (
	turnOfOthers = 100 * time.Microsecond
	mostOthers   = 0.9
)

// disturb has other processes take their share from now on.
func (s *simulation) disturb() {
	if s.others <= 0 {
		return
	}
	sched, n := s.cluster.World.Sched, s.neighbours
	gap := float64(turnOfOthers) / s.others / float64(n.Cores())
	rng := n.Rand()
	var next func()
	next = func() {
		n.Go("turn", func() { _ = n.Compute(context.Background(), turnOfOthers) })
		sched.After(time.Duration(gap*rng.ExpFloat64()), next)
	}
	sched.After(0, next)
}

// put makes files in the under store.
func (s *simulation) put(dir string, files, size int) error {
	for i := range files {
		path := dir + "/" + originalName(i)
		if err := s.cluster.Store.Put(path, content.Of(path, 0), int64(size)); err != nil {
			return err
		}
	}
	return nil
}

// work is what the real one does, too: a few operations to warm up, and one slice that counts.
func (s *simulation) work(w Workload) error {
	ctx := context.Background()
	if err := s.node.Sleep(ctx, simWarmUp); err != nil {
		return err
	}
	var err error
	s.c, err = s.cluster.ClientOn(s.node, func(c *client.Config) { c.Host = counting{host.Host(s.node), s.counts} })
	if err != nil {
		return err
	}
	if w.Bytes > 0 {
		if err := s.settle(ctx, w.Workers); err != nil {
			return err
		}
	}
	next, err := s.prepare(ctx, w)
	if err != nil {
		return err
	}
	s.disturb()
	for _, warm := range []bool{true, false} {
		j, err := next(ctx)
		if err != nil {
			return err
		}
		if warm {
			j.ops = min(j.ops, 2*w.Callers)
		}
		before, entries := s.usedNow(), s.cluster.Committed()
		if s.out.slice, err = s.run(ctx, w.Callers, j); err != nil {
			return err
		}
		s.out.used, s.out.entries = s.usedNow().since(before), s.cluster.Committed()-entries
	}
	s.done = true
	return nil
}

func (s *simulation) usedNow() used {
	u := used{client: s.node.Used()}
	for _, n := range s.cluster.Masters {
		u.master += n.Used()
	}
	for _, n := range s.cluster.Workers {
		u.worker += n.Used()
	}
	return u
}
