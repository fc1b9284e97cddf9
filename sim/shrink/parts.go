package shrink

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/scenario"
)

// rounds drops what it can, part by part, until a round drops nothing; false when something ended it before.
func (x *search) rounds() bool {
	for !x.over() {
		before := x.best
		x.faults()
		x.groups()
		x.keys("operations", func(s *scenario.Scenario) *map[string]int { return &s.Mix })
		x.keys("write types", func(s *scenario.Scenario) *map[string]int { return &s.WriteTypes })
		x.list("paths", len(x.best.Scenario.Paths), func(s *scenario.Scenario, from, to int) {
			s.Paths = slices.Delete(s.Paths, from, to)
		})
		x.times()
		x.sizes()
		if x.over() {
			return false
		}
		if x.best.Scenario == before.Scenario {
			return true
		}
	}
	return false
}

// faults drops faults, and makes what is left happen once and last for less.
func (x *search) faults() {
	x.list("faults", len(x.best.Scenario.Faults), func(s *scenario.Scenario, from, to int) {
		s.Faults = slices.Delete(s.Faults, from, to)
	})
	for i := range x.best.Scenario.Faults {
		what := fmt.Sprintf("fault %d (%s)", i+1, x.best.Scenario.Faults[i].Kind)
		if x.try(func(s *scenario.Scenario) { s.Faults[i].Every = 0 }) {
			x.say("%s happens once", what)
		}
		x.number(what+" lasts, in ms", 0, 100, func(s *scenario.Scenario) int { return int(s.Faults[i].For.Milliseconds()) }, func(s *scenario.Scenario, ms int) {
			s.Faults[i].For = time.Duration(ms) * time.Millisecond
		})
	}
}

// groups drops groups of clients, and operations of those that are left.
func (x *search) groups() {
	x.list("groups", len(x.best.Scenario.Groups), func(s *scenario.Scenario, from, to int) {
		s.Groups = slices.Delete(s.Groups, from, to)
	})
	for i := range x.best.Scenario.Groups {
		if x.try(func(s *scenario.Scenario) {
			s.Groups[i].Batch, s.Groups[i].Order, s.Groups[i].Hot = 0, "", scenario.Hot{}
		}) {
			x.say("group %s reads single files, at random", x.best.Scenario.Groups[i].Name)
		}
		x.keys("operations of group "+x.best.Scenario.Groups[i].Name, func(s *scenario.Scenario) *map[string]int { return &s.Groups[i].Mix })
	}
}

// keys drops entries of a map of weights, and makes the weights of what is left alike.
func (x *search) keys(what string, of func(*scenario.Scenario) *map[string]int) {
	names := func(s *scenario.Scenario) []string { return slices.Sorted(maps.Keys(*of(s))) }
	x.list(what, len(names(x.best.Scenario)), func(s *scenario.Scenario, from, to int) {
		for _, name := range names(s)[from:to] {
			delete(*of(s), name)
		}
	})
	alike := func(s *scenario.Scenario) {
		for _, name := range names(s) { // in order, though it does not matter
			(*of(s))[name] = 1
		}
	}
	if x.try(alike) {
		x.say("%s have equal weights", what)
	}
}

// times cuts the end of the run off. What is looked at after the load goes first: a failure that does not need it is seen sooner.
func (x *search) times() {
	if x.try(func(s *scenario.Scenario) { s.Settle = 0 }) {
		x.say("without settling")
	}
	seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
	x.number("settle, in s", 0, 1, func(s *scenario.Scenario) int { return seconds(s.Settle) }, func(s *scenario.Scenario, n int) {
		s.Settle = time.Duration(n) * time.Second
	})
	x.number("duration, in s", 1, 1, func(s *scenario.Scenario) int { return seconds(s.Duration) }, func(s *scenario.Scenario, n int) {
		s.Duration = time.Duration(n) * time.Second
	})
}

// sizes sets to their defaults what can be left out, and makes numbers smaller. Replicas go before workers, of which there are as
// many.
func (x *search) sizes() {
	for _, key := range []struct {
		name  string
		clear func(s *scenario.Scenario)
	}{
		{"replicas", func(s *scenario.Scenario) { s.Replicas = 0 }},
		{"racks", func(s *scenario.Scenario) { s.Racks = 0 }},
		{"workerCache", func(s *scenario.Scenario) { s.WorkerCache = 0 }},
		{"largeSize", func(s *scenario.Scenario) { s.LargeSize = 0 }},
		{"blockSize", func(s *scenario.Scenario) { s.BlockSize = 0 }},
		{"hot", func(s *scenario.Scenario) { s.Hot = scenario.Hot{} }},
		{"batch", func(s *scenario.Scenario) { s.Batch = 0 }},
		{"order", func(s *scenario.Scenario) { s.Order = "" }},
		{"tables", func(s *scenario.Scenario) { s.Tables = scenario.Tables{} }},
		{"blocks", func(s *scenario.Scenario) { s.Blocks = 0 }},
		{"store", func(s *scenario.Scenario) { s.Store = scenario.UnderStore{} }},
		{"sessionTimeout", func(s *scenario.Scenario) { s.SessionTimeout = 0 }},
		{"workerLostAfter", func(s *scenario.Scenario) { s.WorkerLostAfter = 0 }},
		{"snapshotEntries", func(s *scenario.Scenario) { s.SnapshotEntries = 0 }},
	} {
		if x.try(key.clear) {
			x.say("%s is the default", key.name)
		}
	}
	x.number("clients", 1, 1, func(s *scenario.Scenario) int { return s.Clients }, func(s *scenario.Scenario, n int) { s.Clients = n })
	x.number("workers", 1, 1, func(s *scenario.Scenario) int { return s.Workers }, func(s *scenario.Scenario, n int) { s.Workers = n })
	for _, masters := range []int{1, 3} {
		if x.best.Scenario.Masters > masters && x.try(func(s *scenario.Scenario) { s.Masters = masters }) {
			x.say("masters: %d", masters)
		}
	}
	x.number("files", 0, 1, func(s *scenario.Scenario) int { return s.Files }, func(s *scenario.Scenario, n int) { s.Files = n })
	x.number("boards", 0, 1, func(s *scenario.Scenario) int { return s.Boards }, func(s *scenario.Scenario, n int) { s.Boards = n })
	x.number("fileSize", 0, 100, func(s *scenario.Scenario) int { return int(s.FileSize) }, func(s *scenario.Scenario, n int) { s.FileSize = scenario.Size(n) })
}

// list drops runs of n things, the longest first, and single ones in the end. cut drops those from one to another of a scenario.
func (x *search) list(what string, n int, cut func(s *scenario.Scenario, from, to int)) {
	for size := n; size >= 1; size /= 2 {
		for at := 0; at < n; {
			to := min(at+size, n)
			if x.try(func(s *scenario.Scenario) { cut(s, at, to) }) {
				n -= to - at
				x.say("%d %s are left", n, what)
			} else {
				at = to
			}
		}
	}
}

// number makes a number smaller by bisection, down to least, until it is known to within step. Below a number that holds
// smaller ones are not tried: what fails need not be one side of a border, and a search that assumes it is short.
func (x *search) number(what string, least, step int, get func(*scenario.Scenario) int, set func(*scenario.Scenario, int)) {
	high := get(x.best.Scenario)
	low, next := least-1, least // next: the smallest first, then halves
	for high-low > max(step, 1) && next < high {
		if x.try(func(s *scenario.Scenario) { set(s, next) }) {
			high = next
			x.say("%s: %d", what, high)
		} else {
			low = next
		}
		next = max(low+(high-low)/2, least)
	}
}
