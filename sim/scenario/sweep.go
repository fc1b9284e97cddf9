package scenario

import (
	"context"
	"time"
)

// Sweep is what many seeds showed.
type Sweep struct {
	Seeds      int            `json:"seeds"`
	Operations int            `json:"operations"`
	Faults     int            `json:"faults"`
	Simulated  time.Duration  `json:"simulatedNs"`
	Wall       time.Duration  `json:"wallNs"`
	Sometimes  map[string]int `json:"sometimes"` // how many seeds reached what should be reached by some
	Failed     []uint64       `json:"failedSeeds"`
	First      string         `json:"firstFailure,omitempty"`
}

// RunSweep runs count seeds from first on, and goes on after those that fail. told hears of each seed's end.
// It stops when ctx ends, with what there is so far and ctx's error. Each seed has a world of its
// own, so that none depends on those before and a failing one can be run alone.
func RunSweep(ctx context.Context, first uint64, count int, told func(Outcome)) (*Sweep, error) {
	sweep := &Sweep{Sometimes: map[string]int{}, Failed: []uint64{}}
	for _, name := range append(swarmOperations(), swarmFaults()...) {
		sweep.Sometimes[name] = 0
	}
	for seed := first; seed < first+uint64(count); seed++ {
		if err := ctx.Err(); err != nil {
			return sweep, err
		}
		s := Swarm(seed, nil)
		report, err := Run(ctx, s, Options{Seed: seed})
		if ctx.Err() != nil {
			return sweep, err // half a seed shows nothing
		}
		o := Outcome{Seed: seed, Scenario: s, Report: report, Failure: FailureOf(report, err)}
		sweep.add(s, report, seed, o.Failure.What)
		if told != nil {
			told(o)
		}
	}
	return sweep, nil
}

func (w *Sweep) add(s *Scenario, r *Report, seed uint64, failure string) {
	w.Seeds++
	if failure != "" {
		w.Failed = append(w.Failed, seed)
		if w.First == "" {
			w.First = failure
		}
	}
	if r == nil {
		return
	}
	w.Operations += r.Operations()
	w.Faults += r.Faults
	w.Simulated += r.Simulated
	w.Wall += r.Wall
	for name, k := range r.Kinds {
		if k.Count > k.Failed {
			w.Sometimes[name]++
		}
		if k.Failed > 0 {
			w.Sometimes["an operation fails"]++
		}
	}
	for _, f := range s.Faults {
		if f.At < s.Duration {
			w.Sometimes[f.Kind]++
		}
	}
}

// Missed lists what no seed reached: the sweep is blind there.
// An operation counts when one succeeded, a fault when it was begun: a sweep in which all reads fail has not
// tested reads.
func (w *Sweep) Missed() []string {
	var missed []string
	for _, name := range append(swarmOperations(), swarmFaults()...) {
		if w.Sometimes[name] == 0 {
			missed = append(missed, name)
		}
	}
	return missed
}
