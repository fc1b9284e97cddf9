package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"
)

// What became of a mutant.
const (
	killed   = "killed"
	survived = "SURVIVED"
	unfit    = "UNFIT"  // it does not apply or does not build
	wrongly  = "KILLED" // although its file explains that it cannot be
	excused  = "explained"
)

// result is one mutant's.
type result struct {
	*mutant
	Outcome string  `json:"outcome"`
	Seed    int     `json:"seed,omitempty"` // that killed it; 0 when it was the sweep as a whole
	Words   string  `json:"words"`          // of the oracle, or why it does not fit
	Seconds float64 `json:"seconds"`        // of the build and the sweep
}

// campaign runs mutants, jobs at a time.
type campaign struct {
	root, dir string // dir takes the binaries
	jobs      int
	progress  io.Writer
	build     func(ctx context.Context, root string, m *mutant, binary string) error
	sweep     func(ctx context.Context, binary string, seeds int, limit time.Duration, left *leftOut) (verdict, error)
	goOn      bool // also when the unchanged tree fails
	left      leftOut

	mu    sync.Mutex
	ended int
}

// How long a sweep may take before it counts as one that hangs, beside the unchanged tree's. A mutant that makes a loop endless
// is told by nothing else; other work on the machine must not be taken for one.
const (
	hangAfter = 60 * time.Second
	hangTimes = 10
)

// run sweeps the unchanged tree first, over as many seeds as any mutant has: a seed that fails without a bug kills everything and
// shows nothing. Results are in the order of the mutants.
func (c *campaign) run(ctx context.Context, mutants []*mutant) ([]result, error) {
	most := 0
	for _, m := range mutants {
		most = max(most, m.Seeds)
	}
	began := time.Now()
	binary := filepath.Join(c.dir, "unchanged")
	if err := c.build(ctx, c.root, nil, binary); err != nil {
		return nil, fmt.Errorf("the unchanged tree does not build: %w", err)
	}
	v, pace, err := c.unchanged(ctx, binary, most)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.progress, "mutants: the unchanged tree passes %d of %d seeds in %.1f s; %d mutants\n", most-len(c.left.seeds), most, time.Since(began).Seconds(), len(mutants))
	return c.all(ctx, mutants, pace, v.missed)
}

// unchanged sweeps the tree without a bug, and gives what a seed takes.
func (c *campaign) unchanged(ctx context.Context, binary string, seeds int) (v verdict, pace time.Duration, err error) {
	c.left = leftOut{seeds: map[int]bool{}, gather: c.goOn}
	began := time.Now()
	v, err = c.sweep(ctx, binary, seeds, time.Hour, &c.left)
	c.left.gather = false
	if err == nil && v.failed && !v.missed {
		err = fmt.Errorf("the unchanged tree fails seed %d, so no mutant is worth running: %s", v.seed, v.words)
	}
	return v, time.Since(began) / time.Duration(seeds), err
}

// all runs the mutants. seedTime is what a seed takes without a bug; blind tells that the seeds miss something also then, so that
// missing something kills nobody.
func (c *campaign) all(ctx context.Context, mutants []*mutant, seedTime time.Duration, blind bool) ([]result, error) {
	results := make([]result, len(mutants))
	next := make(chan int)
	began := time.Now()
	var jobs sync.WaitGroup
	for range c.jobs {
		jobs.Go(func() {
			for i := range next {
				results[i] = c.one(ctx, mutants[i], seedTime, blind)
				c.tell(results[i], len(mutants), began)
			}
		})
	}
	for i := range mutants {
		if ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	jobs.Wait()
	return results, ctx.Err()
}

func (c *campaign) one(ctx context.Context, m *mutant, seedTime time.Duration, blind bool) (r result) {
	began := time.Now()
	r = result{mutant: m, Outcome: survived}
	defer func() { r.Seconds = time.Since(began).Seconds() }()
	if control := m.bounds(); control != nil {
		v, err := c.planted(ctx, control, seedTime)
		if err == nil && v.failed && !v.missed {
			err = fmt.Errorf("its lowered bounds alone fail seed %d: %s", v.seed, v.words)
		}
		if err != nil {
			r.Outcome, r.Words = unfit, err.Error()
			return r
		}
	}
	v, err := c.planted(ctx, m, seedTime)
	switch {
	case err != nil:
		r.Outcome, r.Words = unfit, err.Error()
	case v.failed && !(v.missed && blind):
		r.Outcome, r.Seed, r.Words = killed, v.seed, v.words
		if m.Explained != "" {
			r.Outcome = wrongly
		}
	case m.Explained != "":
		r.Outcome, r.Words = excused, m.Explained
	}
	return r
}

// planted builds and sweeps a mutant.
func (c *campaign) planted(ctx context.Context, m *mutant, seedTime time.Duration) (verdict, error) {
	binary := filepath.Join(c.dir, m.Name)
	if err := c.build(ctx, c.root, m, binary); err != nil {
		return verdict{}, err
	}
	defer discard(binary)
	return c.sweep(ctx, binary, m.Seeds, hangAfter+hangTimes*time.Duration(m.Seeds)*seedTime, &c.left)
}

// tell prints one result's line, with an estimate of what is left.
func (c *campaign) tell(r result, of int, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	left := time.Duration(float64(time.Since(began)) / float64(c.ended) * float64(of-c.ended))
	seed := ""
	if r.Seed > 0 {
		seed = fmt.Sprintf(" by seed %d", r.Seed)
	}
	fmt.Fprintf(c.progress, "mutants: %d of %d, about %v to go: %s %s%s in %.1f s\n", c.ended, of, left.Round(time.Second), r.Name, r.Outcome, seed, r.Seconds)
}
