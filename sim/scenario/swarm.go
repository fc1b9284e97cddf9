package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Swarm testing (Groce et al. 2012): each seed turns features on and off, so that the runs differ in what they do at all
// and not only in when. A fault that is always there hides what only happens without it.

// swarmSettle is longer than what a cluster takes by itself: a worker is lost after 30 s, and what has failed until the end of the
// load is tried again within 32 s.
const swarmSettle = 45 * time.Second

// swarmOperations leaves out what needs tables that all clients share, and shows only how fast they are read.
func swarmOperations() []string {
	return slices.DeleteFunc(operationNames(), func(name string) bool { return name == "scan" })
}

func swarmFaults() []string { return faultNames() }

// Swarm is the scenario of a seed: a small cluster, a random part of the operations and write types, and of the given kinds of
// faults (nil: of all).
// It draws from a source of its own and not from the world's, so that changes in what a run draws leave the
// scenarios of all seeds as they are. A new operation or kind of fault does change them.
func Swarm(seed uint64, kinds []string) *Scenario {
	rng := rand.New(rand.NewPCG(seed, 0x5a77))
	if kinds == nil {
		kinds = swarmFaults()
	}
	s := &Scenario{
		Name: fmt.Sprintf("swarm-%d", seed), Masters: 1 + 2*rng.IntN(2), Workers: 1 + rng.IntN(5), Clients: 2 + rng.IntN(8), Racks: 3,
		Duration: 30 * time.Second, Settle: swarmSettle, Rate: 1 + 2*rng.Float64(), Mix: map[string]int{},
		Files: 1 + rng.IntN(60), FileSize: Size(1 + rng.IntN(40_000)),
		Boards: 1 + rng.IntN(6),
	}
	if rng.IntN(12) == 0 {
		s.Masters = 5
	}
	s.swarmPace(rng)
	s.swarmData(rng)
	for _, name := range swarmOperations() {
		if rng.IntN(3) > 0 {
			s.Mix[name] = 1 + rng.IntN(20)
		}
	}
	if len(s.Mix) == 0 {
		s.Mix["read"] = 1
	}
	for _, kind := range kinds {
		if rng.IntN(min(4, 2+len(kinds)/4)) == 0 {
			s.Faults = append(s.Faults, swarmFault(rng, kind))
		}
	}
	if rng.IntN(2) == 0 {
		for _, path := range host.Paths() {
			if rng.IntN(4) == 0 {
				s.Paths = append(s.Paths, path)
			}
		}
	}
	return s
}

// swarmPace has things happen within a run that take minutes or many entries by themselves.
func (s *Scenario) swarmPace(rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		s.SnapshotEntries = 5 + rng.IntN(60)
	}
	if rng.IntN(2) == 0 {
		s.WorkerLostAfter = 5 * time.Second
	}
	if rng.IntN(3) == 0 {
		s.Store.Model = storeObject
	}
	if rng.IntN(4) == 0 {
		s.SessionTimeout = 12 * time.Second
	}
}

// swarmData chooses what files are like: of half the seeds workers' caches are so small that they evict.
func (s *Scenario) swarmData(rng *rand.Rand) {
	s.WriteTypes = map[string]int{}
	for _, t := range []dfs.WriteType{dfs.WriteCacheThrough, dfs.WriteMustCache, dfs.WriteThrough, dfs.WriteAsyncThrough} {
		if rng.IntN(3) > 0 {
			s.WriteTypes[t.String()] = 1 + rng.IntN(3)
		}
	}
	if rng.IntN(2) == 0 {
		s.BlockSize = Size(1+rng.IntN(3)) * dfs.PageSizeBytes
	}
	if rng.IntN(2) == 0 {
		s.WorkerCache = Size(8+rng.IntN(24)) * dfs.PageSizeBytes
	}
	if rng.IntN(2) == 0 {
		s.Replicas = 1 + rng.IntN(min(2, s.Workers))
	}
}

func swarmFault(rng *rand.Rand, kind string) Fault {
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rng.Int64N(int64(high-low))) }
	f := Fault{Kind: kind, At: between(4*time.Second, 15*time.Second), For: between(100*time.Millisecond, 6*time.Second)}
	if rng.IntN(6) == 0 {
		f.For = between(6*time.Second, 18*time.Second) // longer than a session lives, in some seeds
	}
	if kind == kindBrownout {
		f.Slow, f.Errors = 1+20*rng.Float64(), 0.3*rng.Float64()
	}
	if kind == "cut-zone" {
		f.Zone = fmt.Sprintf("z%d", rng.IntN(3))
	}
	if rng.IntN(2) == 0 {
		f.Every = between(f.For+time.Second, f.For+12*time.Second)
	}
	return f
}
