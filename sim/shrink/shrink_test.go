package shrink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/scenario"
)

// large is a scenario with much to drop.
func large() *scenario.Scenario {
	s := &scenario.Scenario{Name: "large", Masters: 5, Workers: 5, Clients: 9, Racks: 3, Duration: 30 * time.Second, Settle: 20 * time.Second, Rate: 2, Files: 50,
		FileSize: 10_000, Boards: 3, Replicas: 2, WorkerCache: 8 << 20, BlockSize: 1 << 20, LargeSize: 1 << 20,
		Mix: map[string]int{"read": 5, "write": 9, "rename": 2, "stat": 7, "list": 3}, WriteTypes: map[string]int{"MUST_CACHE": 2, "THROUGH": 1}}
	for i, kind := range []string{"kill-leader", "cut-client", "restart-worker", "kill-leader", "cut-leader", "cut-zone", "cut-client"} {
		s.Faults = append(s.Faults, scenario.Fault{Kind: kind, At: time.Duration(4+i) * time.Second, For: 3 * time.Second, Every: 9 * time.Second})
	}
	return s
}

// failing makes a runner of a rule: what it says of a scenario is the failure's sort.
func failing(rule func(s *scenario.Scenario, seed uint64) string) Options {
	return Options{Run: func(_ context.Context, s *scenario.Scenario, seed uint64) scenario.Outcome {
		o := scenario.Outcome{Seed: seed, Scenario: s}
		if sort := rule(s, seed); sort != "" {
			o.Failure = scenario.Failure{Sort: sort, What: "because"}
		}
		return o
	}}
}

func has(s *scenario.Scenario, kind string) bool {
	return slices.ContainsFunc(s.Faults, func(f scenario.Fault) bool { return f.Kind == kind })
}

// TestMinimum: of a failure that needs some of each part exactly that is left, and the seed that shows it.
func TestMinimum(t *testing.T) {
	rule := func(s *scenario.Scenario, seed uint64) string {
		long := slices.ContainsFunc(s.Faults, func(f scenario.Fault) bool { return f.Kind == "cut-leader" && f.For >= 1200*time.Millisecond })
		switch {
		case !has(s, "cut-zone"):
			return "another" // a failure of another sort is not this one
		case !long || s.Mix["rename"] == 0 || s.WriteTypes["MUST_CACHE"] == 0 || s.Clients < 3 || s.Workers < 2 || s.Masters < 3 ||
			s.Duration < 11*time.Second || s.Settle < 4*time.Second || s.Files < 17 || s.LargeSize == 0:
			return ""
		case s.Clients == 3 && seed%5 != 2: // with few clients it takes some luck
			return ""
		}
		return "this"
	}
	r, err := Shrink(t.Context(), large(), 1, failing(rule))
	if err != nil || !r.Done || r.First.Seed != 1 || r.Last.Failure.Sort != "this" {
		t.Fatalf("%v, %+v", err, r)
	}
	s := r.Last.Scenario
	want := &scenario.Scenario{Name: "large", Masters: 3, Workers: 2, Clients: 3, Duration: 11 * time.Second, Settle: 4 * time.Second, Rate: 2, Files: 17,
		LargeSize: 1 << 20, Mix: map[string]int{"rename": 1}, WriteTypes: map[string]int{"MUST_CACHE": 1}, Faults: s.Faults}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("left is\n%+v\nwant\n%+v", s, want)
	}
	f := s.Faults
	if len(f) != 2 || f[0].Kind != "cut-leader" || f[1].Kind != "cut-zone" || f[0].Every+f[1].Every != 0 || f[0].For < 1200*time.Millisecond || f[0].For > 1300*time.Millisecond || f[1].For != 0 {
		t.Errorf("left are the faults %+v", f)
	}
	if r.Last.Seed%5 != 2 || rule(s, r.Last.Seed) != "this" {
		t.Errorf("seed %d does not show it", r.Last.Seed)
	}
	for _, want := range []string{"2 of 7 faults", "1 of 5 kinds of operations", "1 of 2 write types", "3 of 9 clients", "2 of 5 workers", "3 of 5 masters", "17 of 50 files", "11s of 30s of load",
		"4s of 20s of settling", fmt.Sprint(r.Runs, " runs, and nothing more can be dropped.")} {
		if !strings.Contains(r.Words(), want) {
			t.Errorf("%q does not say %q", r.Words(), want)
		}
	}
}

// TestAllKeys: whatever a scenario has is dropped when nothing needs it, so that no key is forgotten; of groups the one that is needed
// is left, with what it does.
func TestAllKeys(t *testing.T) {
	s, err := scenario.Parse([]byte(`
masters: 3
workers: 4
clients: 8
racks: 2
duration: 20s
settle: 9s
files: 9
fileSize: 1KiB
largeSize: 2MiB
blockSize: 1MiB
workerCache: 9MiB
replicas: 2
boards: 3
writeTypes: {THROUGH: 1}
tables: {count: 3, size: 1MiB}
blocks: 100
store: {model: object}
sessionTimeout: 9s
workerLostAfter: 9s
snapshotEntries: 900
paths: [a worker refuses to persist a file, an entry of the journal is closed early]
groups:
  - {name: one, weight: 1, rate: 1, mix: {read: 2, scan: 1}}
  - {name: two, weight: 1, rate: 2, batch: 3, hot: {files: 2, share: 0.5}, mix: {write: 4, stat: 1}}
faults:
  - {at: 4s, kind: kill-leader}
`))
	if err != nil {
		t.Fatal(err)
	}
	left := func(rule func(s *scenario.Scenario) bool) string {
		r, err := Shrink(t.Context(), s, 1, failing(func(s *scenario.Scenario, _ uint64) string {
			if rule(s) {
				return "this"
			}
			return ""
		}))
		if err != nil || !r.Done {
			t.Fatalf("%v, %+v", err, r)
		}
		text, err := r.Last.Scenario.Text()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	got := left(func(s *scenario.Scenario) bool {
		return len(s.Groups) > 0 && s.Groups[len(s.Groups)-1].Mix["write"] > 0
	})
	const want = "masters: 1\nworkers: 1\nclients: 1\nduration: 1s\ngroups:\n    - name: two\n      weight: 1\n      rate: 2\n      mix:\n        write: 1\n"
	if got != want {
		t.Errorf("left is\n%s\nwant\n%s", got, want)
	}
	if again := left(func(s *scenario.Scenario) bool {
		return s.Store.Model == "object" && s.Tables.Count == 3 && s.Blocks == 100
	}); !strings.Contains(again, "model: object") || !strings.Contains(again, "count: 3") || !strings.Contains(again, "blocks: 100") {
		t.Errorf("left is\n%s", again)
	}
}

// TestDeterminism: one search, one result, one way to it; the scenario that was given stays as it was.
func TestDeterminism(t *testing.T) {
	given := large()
	var told [2]bytes.Buffer
	var results [2]*Result
	for i := range told {
		o := failing(func(s *scenario.Scenario, _ uint64) string {
			if has(s, "kill-leader") && s.Clients%2 == 1 && len(s.Mix) > 1 {
				return "this"
			}
			return ""
		})
		o.Progress = &told[i]
		var err error
		if results[i], err = Shrink(t.Context(), given, 1, o); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(results[0], results[1]) || told[0].String() != told[1].String() || strings.Count(told[0].String(), "\n") < 10 {
		t.Errorf("%+v\n%s\nand %+v\n%s", results[0], &told[0], results[1], &told[1])
	}
	if !reflect.DeepEqual(given, large()) {
		t.Errorf("the scenario was changed: %+v", given)
	}
}

// TestBounds: no more is run than is allowed, nothing twice, and what was found by then is there.
func TestBounds(t *testing.T) {
	always := func(*scenario.Scenario, uint64) string { return "this" }
	full, err := Shrink(t.Context(), large(), 1, failing(always))
	if err != nil || !full.Done || full.Runs > 60 {
		t.Fatalf("%v, %+v", err, full)
	}
	for _, bound := range []int{1, 2, 7, full.Runs} {
		o := failing(always)
		o.Runs = bound
		runs := 0
		inner := o.Run
		o.Run = func(ctx context.Context, s *scenario.Scenario, seed uint64) scenario.Outcome {
			runs++
			return inner(ctx, s, seed)
		}
		r, err := Shrink(t.Context(), large(), 1, o)
		if err != nil || runs != bound || r.Runs != bound || r.Done || !strings.Contains(r.Words(), "was not done") {
			t.Errorf("at most %d: %v, %d runs, %+v", bound, err, runs, r)
		}
	}
	seen := map[string]int{}
	o := failing(func(s *scenario.Scenario, seed uint64) string {
		text, _ := s.Text()
		seen[fmt.Sprint(seed, text)]++
		if len(s.Faults) < 3 {
			return ""
		}
		return "this"
	})
	if r, err := Shrink(t.Context(), large(), 1, o); err != nil || len(r.Last.Scenario.Faults) != 3 {
		t.Errorf("%v, %+v", err, r)
	}
	for what, n := range seen {
		if n > 1 {
			t.Errorf("%d times: seed and scenario %s", n, what)
		}
	}
}

// TestNothingToShrink: a run that holds is an error, and so is one that is interrupted, which keeps what it has.
func TestNothingToShrink(t *testing.T) {
	if r, err := Shrink(t.Context(), large(), 1, failing(func(*scenario.Scenario, uint64) string { return "" })); !errors.Is(err, ErrHolds) || r != nil || !strings.Contains(err.Error(), `"large" with seed 1`) {
		t.Errorf("%v, %+v", err, r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	r, err := Shrink(ctx, large(), 1, failing(func(*scenario.Scenario, uint64) string {
		if runs++; runs == 4 {
			cancel()
		}
		return "this"
	}))
	if !errors.Is(err, context.Canceled) || r == nil || r.Done || r.Runs != 4 || len(r.Last.Scenario.Faults) == len(large().Faults) {
		t.Errorf("%v, %+v", err, r)
	}
	if r, err := Shrink(ctx, large(), 1, failing(func(*scenario.Scenario, uint64) string { return "this" })); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestRealRuns: with runs of the simulator and an oracle that does not like leaders to die while somebody writes, what is left is a
// death, a write and who is needed for them; and it fails again.
func TestRealRuns(t *testing.T) {
	planted := func(ctx context.Context, s *scenario.Scenario, seed uint64) scenario.Outcome {
		o := run(ctx, s, seed)
		if k := o.Report.Kinds["write"]; k != nil && k.Count > 0 && has(s, "kill-leader") && o.Report.Faults > 0 && o.Failure == (scenario.Failure{}) {
			o.Failure = scenario.Failure{Sort: "planted", What: "a leader died, and somebody wrote"}
		}
		return o
	}
	s := large()
	s.Duration, s.Settle, s.Masters = 14*time.Second, 5*time.Second, 3
	r, err := Shrink(t.Context(), s, 3, Options{Run: planted, Seeds: 2})
	if err != nil || !r.Done {
		t.Fatalf("%v, %+v", err, r)
	}
	got := r.Last.Scenario
	if len(got.Faults) != 1 || got.Faults[0].Kind != "kill-leader" || len(got.Mix) != 1 || got.Mix["write"] != 1 || got.Clients != 1 || got.Workers != 1 || got.Masters != 1 || got.Settle != 0 || got.Files != 0 {
		t.Errorf("left is %+v", got)
	}
	if again := planted(t.Context(), got, r.Last.Seed); again.Failure.Sort != "planted" || again.Report.History != r.Last.Report.History {
		t.Errorf("what is left has history %s and %+v", again.Report.History, again.Failure)
	}
	t.Log(r.Words())
}
