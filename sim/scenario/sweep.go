package scenario

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/host"
)

// Sweep is what many seeds showed.
type Sweep struct {
	Seeds      int            `json:"seeds"`
	Operations int            `json:"operations"`
	Faults     int            `json:"faults"`
	Simulated  time.Duration  `json:"simulatedNs"`
	Wall       time.Duration  `json:"wallNs"`    // of the whole sweep
	Sometimes  map[string]int `json:"sometimes"` // how many seeds reached what should be reached by some
	Failed     []uint64       `json:"failedSeeds"`
	First      string         `json:"firstFailure,omitempty"`
}

// SweepOptions say what is swept.
type SweepOptions struct {
	First uint64
	Count int
	Jobs  int      // seeds at a time; 0: one
	Kinds []string // of faults; nil: all
}

// RunSweep runs many seeds, and goes on after those that fail. told hears of each seed's end, in the order of the seeds.
// It stops when ctx ends, with what there is so far and ctx's error. Each seed has a world of its own, so that none depends
// on the others and a failing one can be run alone.
func RunSweep(ctx context.Context, o SweepOptions, told func(Outcome)) (*Sweep, error) {
	sweep := &Sweep{Sometimes: map[string]int{}, Failed: []uint64{}}
	for _, name := range o.wanted() {
		sweep.Sometimes[name] = 0
	}
	began := time.Now()
	defer func() { sweep.Wall = time.Since(began) }()
	// At most Jobs seeds run or wait to be told: the channel holds those that do, in their order.
	running := make(chan chan Outcome, max(o.Jobs-1, 0))
	go func() {
		defer close(running)
		for seed := o.First; seed < o.First+uint64(o.Count) && ctx.Err() == nil; seed++ {
			one := make(chan Outcome, 1)
			running <- one
			go func() { one <- o.run(ctx, seed) }()
		}
	}()
	for one := range running {
		outcome := <-one
		if ctx.Err() != nil {
			continue // half a seed shows nothing
		}
		sweep.add(outcome)
		if told != nil {
			told(outcome)
		}
	}
	return sweep, ctx.Err()
}

func (o SweepOptions) run(ctx context.Context, seed uint64) Outcome {
	s := Swarm(seed, o.Kinds)
	report, err := Run(ctx, s, Options{Seed: seed})
	return Outcome{Seed: seed, Scenario: s, Report: report, Failure: FailureOf(report, err)}
}

func (w *Sweep) add(o Outcome) {
	w.Seeds++
	if o.Failure.What != "" {
		w.Failed = append(w.Failed, o.Seed)
		if w.First == "" {
			w.First = o.Failure.What
		}
	}
	if o.Report == nil {
		return
	}
	w.Operations += o.Report.Operations()
	w.Faults += o.Report.Faults
	w.Simulated += o.Report.Simulated
	for name := range o.reached() {
		w.Sometimes[name]++
	}
}

// reached is what one seed came by. An operation counts when one succeeded, a fault when it was begun: a sweep in which all
// reads fail has not tested reads.
func (o Outcome) reached() map[string]bool {
	all := map[string]bool{}
	for name, k := range o.Report.Kinds {
		all["operation "+name] = k.Count > k.Failed
		if k.Failed > 0 {
			all[someFailure] = true
		}
	}
	for _, f := range o.Scenario.Faults {
		all["fault "+f.Kind] = f.At < o.Scenario.Duration
	}
	for state := range o.Report.States {
		all["state "+state] = true
	}
	for path := range o.Report.Paths {
		all["path "+path] = true
	}
	for name, yes := range all {
		if !yes {
			delete(all, name)
		}
	}
	return all
}

const someFailure = "an operation fails"

// wanted is what some seed has to reach: where none does, the sweep is blind.
func (o SweepOptions) wanted() []string {
	all := []string{someFailure}
	add := func(kind string, names []string) {
		for _, name := range names {
			all = append(all, kind+" "+name)
		}
	}
	add("operation", swarmOperations())
	add("fault", o.faults())
	add("state", host.States())
	add("path", host.Paths())
	return all
}

func (o SweepOptions) faults() []string {
	if o.Kinds == nil {
		return swarmFaults()
	}
	return o.Kinds
}

// Missed lists what no seed reached, of all that a sweep of this kind should reach. Few seeds miss much.
func (w *Sweep) Missed(o SweepOptions) []string {
	var missed []string
	for _, name := range o.wanted() {
		if w.Sometimes[name] == 0 {
			missed = append(missed, name)
		}
	}
	return missed
}
