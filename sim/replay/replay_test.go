package replay

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
)

const text = "workers: 1\nclients: 2\nmasters: 1\nduration: 8s\nrate: 3\nfiles: 3\nfileSize: 1KB\nmix: {read: 1, write: 1}\n"

// run runs the small scenario and saves it.
func run(t *testing.T, seed uint64) saved.Run {
	t.Helper()
	s, err := scenario.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "small"
	report, err := scenario.Run(t.Context(), s, scenario.Options{Seed: seed})
	if err != nil || report.Operations() == 0 {
		t.Fatal(err, report)
	}
	r, err := Save(t.Context(), scenario.Outcome{Seed: seed, Scenario: s, Report: report, Failure: scenario.Failure{Sort: "a", What: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReplay: the run comes back, by its seed and its scenario.
func TestReplay(t *testing.T) {
	r := run(t, 7)
	if r.Name != "small" || r.Seed != 7 || r.Sort != "a" || r.Failure != "b" || r.Version != saved.Version() {
		t.Errorf("%+v", r)
	}
	o, err := Run(t.Context(), r, scenario.Options{Seed: 99}, false)
	if err != nil || o.Report.History != r.History || o.Scenario.Name != "small" || o.Failure != (scenario.Failure{}) {
		t.Errorf("%v: %+v", err, o)
	}
}

// TestReplayOfAnother: other code is refused before it runs, unless that is wished; another history and a scenario that cannot be
// are errors.
func TestReplayOfAnother(t *testing.T) {
	r := run(t, 7)
	other := r
	other.Version = "older"
	if o, err := Run(t.Context(), other, scenario.Options{}, false); !errors.Is(err, ErrOtherVersion) || o.Report != nil || !strings.Contains(err.Error(), "--any-version") {
		t.Errorf("%v, %+v", err, o)
	}
	other.History = "0"
	if o, err := Run(t.Context(), other, scenario.Options{}, true); err != nil || o.Report.History != r.History {
		t.Errorf("%v, %+v", err, o)
	}
	for name, change := range map[string]func(r *saved.Run){
		"seed":     func(r *saved.Run) { r.Seed = 8 },
		"scenario": func(r *saved.Run) { r.Scenario = strings.Replace(r.Scenario, "rate: 3", "rate: 4", 1) },
		"history":  func(r *saved.Run) { r.History = "" },
	} {
		other := r
		change(&other)
		if _, err := Run(t.Context(), other, scenario.Options{}, false); err == nil || !strings.Contains(err.Error(), "history") {
			t.Errorf("another %s: %v", name, err)
		}
	}
	r.Scenario += "wrokers: 1\n"
	if _, err := Run(t.Context(), r, scenario.Options{}, false); err == nil || !strings.Contains(err.Error(), "wrokers") {
		t.Errorf("%v", err)
	}
}

// TestInterrupted: what was interrupted is saved without a history, and an interrupted replay is an error.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := run(t, 7)
	s, err := Scenario(r)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Save(ctx, scenario.Outcome{Scenario: s, Report: &scenario.Report{History: "1"}}); err != nil || r.History != "" {
		t.Errorf("%v, %+v", err, r)
	}
	if _, err := Run(ctx, r, scenario.Options{}, false); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
