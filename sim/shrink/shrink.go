// Package shrink makes a failing scenario small: of what a run that failed had (faults, kinds of operations, clients, workers,
// files, time) it drops what the failure does not need, and gives a scenario that still fails in the same way. It owns the
// search; what a run is, and when two failures are of one sort, package scenario says. Package lab's command calls it.
//
// # The search
//
// It is delta debugging (Zeller and Hildebrandt 2002) on lists, and bisection on numbers, one part after the other, again and
// again until a whole round drops nothing. The result is small and not the smallest: each part alone cannot be made smaller in
// the ways that are tried.
//
// A change of the scenario changes all that a seed draws, so a failure by chance may be missed with one seed: each candidate
// is tried with a few seeds, from the present one on, and the first that fails is kept with its seed.
//
// The same scenario, seed and bounds give the same result: nothing depends on how long a run takes. The bound is a number of
// runs; an end of the context gives what there is.
package shrink

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/forebay/forebay/sim/scenario"
)

// Defaults of Options.
const (
	DefaultRuns  = 400
	DefaultSeeds = 3
)

// Options bound a search. Zero values mean the defaults.
type Options struct {
	Runs     int       // at most, the first one included
	Seeds    int       // that each candidate is tried with
	Progress io.Writer // a line for each thing that was dropped; nil: none
	// Run runs a scenario; nil: as scenario.Run. It must not change the scenario.
	Run func(ctx context.Context, s *scenario.Scenario, seed uint64) scenario.Outcome
}

// Result is what came of a search.
type Result struct {
	First, Last scenario.Outcome // both failed, in the same way
	Runs        int
	Done        bool // nothing more can be dropped; else the bound or the context ended the search
}

// ErrHolds says that what was to be made small does not fail.
var ErrHolds = errors.New("it does not fail")

// Shrink makes a failing run small. Its error is ErrHolds, or of the context; the result is then what there is, and nil when
// that is nothing.
func Shrink(ctx context.Context, s *scenario.Scenario, seed uint64, o Options) (*Result, error) {
	if o.Runs <= 0 {
		o.Runs = DefaultRuns
	}
	if o.Seeds <= 0 {
		o.Seeds = DefaultSeeds
	}
	if o.Run == nil {
		o.Run = run
	}
	first := o.Run(ctx, s, seed)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if first.Failure == (scenario.Failure{}) {
		return nil, fmt.Errorf("shrink scenario %q with seed %d: %w", s.Name, seed, ErrHolds)
	}
	x := &search{ctx: ctx, o: o, first: first, best: first, runs: 1, seen: map[string]bool{}}
	x.say("seed %d fails with %s: %s", seed, first.Failure.Sort, first.Failure.What)
	done := x.rounds()
	return &Result{First: first, Last: x.best, Runs: x.runs, Done: done}, ctx.Err()
}

func run(ctx context.Context, s *scenario.Scenario, seed uint64) scenario.Outcome {
	report, err := scenario.Run(ctx, s, scenario.Options{Seed: seed})
	return scenario.Outcome{Seed: seed, Scenario: s, Report: report, Failure: scenario.FailureOf(report, err)}
}

// search is one search under way. INV-1: best failed in the way of first. INV-2: seen has the texts of all candidates that were
// tried since, and none of them is run again: with the same seeds it would hold again.
type search struct {
	ctx         context.Context
	o           Options
	first, best scenario.Outcome
	runs        int
	seen        map[string]bool
}

// over tells whether no more may be run.
func (x *search) over() bool { return x.runs >= x.o.Runs || x.ctx.Err() != nil }

// try has change make a candidate of the best scenario, and takes it when it fails as the first did. A candidate that cannot be
// a scenario, or was tried, costs no run.
func (x *search) try(change func(s *scenario.Scenario)) bool {
	s := clone(x.best.Scenario)
	change(s)
	if s.Check() != nil || !x.fresh(s) {
		return false
	}
	for i := range uint64(x.o.Seeds) {
		if x.over() {
			return false
		}
		x.runs++
		out := x.o.Run(x.ctx, s, x.best.Seed+i)
		if x.ctx.Err() == nil && out.Failure.Sort == x.first.Failure.Sort {
			if out.Seed != x.best.Seed {
				clear(x.seen) // what held with other seeds may fail with the next
			}
			x.best = out
			return true
		}
	}
	return false
}

// fresh tells whether a scenario is another one than the best, and was not tried yet.
func (x *search) fresh(s *scenario.Scenario) bool {
	text, err := s.Text()
	best, bestErr := x.best.Scenario.Text()
	if err != nil || bestErr != nil || text == best || x.seen[text] {
		return false
	}
	x.seen[text] = true
	return true
}

func (x *search) say(format string, args ...any) {
	if x.o.Progress != nil {
		fmt.Fprintf(x.o.Progress, "sim: run %d of at most %d: %s\n", x.runs, x.o.Runs, fmt.Sprintf(format, args...))
	}
}

// clone shares nothing that a change could reach, whatever keys a scenario has: it is read from what is written of it.
func clone(s *scenario.Scenario) *scenario.Scenario {
	text, err := s.Text()
	if err != nil {
		panic(fmt.Sprintf("shrink: a scenario that was run cannot be written: %v", err))
	}
	c, err := scenario.Parse([]byte(text))
	if err != nil {
		panic(fmt.Sprintf("shrink: a scenario that was run cannot be read: %v", err))
	}
	c.Name = s.Name
	return c
}
