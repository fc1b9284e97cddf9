package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/scenario"
)

// separate runs the command line with standard output and standard error apart, as scripts have them.
func separate(ctx context.Context, args ...string) (out, errs string, err error) {
	var o, e bytes.Buffer
	cmd := Command()
	cmd.SetArgs(args)
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	err = cmd.ExecuteContext(ctx)
	return o.String(), e.String(), err
}

// tiny is a scenario that takes a moment. A file is written, so that a scenario of one's own is what the tests run.
func tiny(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const tinyText = `
description: a moment
masters: 1
workers: 1
clients: 2
duration: 12s
rate: 2
files: 3
fileSize: 1000
mix: {read: 3, write: 1}
`

// TestSimRunForms: the report goes to standard output in the form asked for, progress to standard error unless it is quiet,
// and the same seed gives the same history, another seed another one.
func TestSimRunForms(t *testing.T) {
	file := tiny(t, tinyText)
	histories := map[string]string{}
	for _, seed := range []string{"1", "1", "2"} {
		out, errs, err := separate(t.Context(), "sim", "run", "--scenario", file, "--seed", seed, "--json")
		if err != nil {
			t.Fatal(err)
		}
		var r scenario.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Scenario != "tiny" || r.Workers != 1 || r.Clients != 2 || r.ViolationCount != 0 || r.Operations() == 0 {
			t.Fatalf("report %+v, %v:\n%s", r, err, out)
		}
		if errs == "" {
			t.Error("12 simulated seconds made no progress")
		}
		if before, ran := histories[seed]; ran && before != r.History {
			t.Errorf("seed %s: histories %s and %s", seed, before, r.History)
		}
		histories[seed] = r.History
	}
	if histories["1"] == histories["2"] {
		t.Error("two seeds have one history: the seed is not used")
	}
	out, errs, err := separate(t.Context(), "sim", "run", "--scenario", file, "--seed", "1", "--quiet")
	if err != nil || errs != "" || !strings.Contains(out, "violations 0\nhistory "+histories["1"]+"\n") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	out, errs, err = separate(t.Context(), "sim", "run", "--scenario", file, "--quiet", "--trace-turns", "--duration", "1s")
	if err != nil || strings.Count(errs, "\n") < 10 || strings.Contains(out, "user") {
		t.Errorf("the trace: %v, %d lines on standard error\n%s", err, strings.Count(errs, "\n"), out)
	}
}

// TestSimOverrides: a flag stands in for the scenario's key and reaches the run; a value that cannot be is refused, and not
// taken for a flag that was not given.
func TestSimOverrides(t *testing.T) {
	file := tiny(t, tinyText)
	out, _, err := separate(t.Context(), "sim", "run", "--scenario", file, "--workers", "2", "--clients", "3", "--duration", "2s", "--rate", "5", "--quiet", "--json")
	var r scenario.Report
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || r.Workers != 2 || r.Clients != 3 || r.Simulated < 2*time.Second || r.Simulated > 4*time.Second {
		t.Errorf("%v, %+v", err, r)
	}
	for _, bad := range [][]string{{"--workers", "-1"}, {"--clients", "-2"}, {"--duration", "-1s"}, {"--rate", "-3"}, {"--workers", "1000000000"}} {
		_, _, err := separate(t.Context(), append([]string{"sim", "run", "--quiet", "--scenario", file}, bad...)...)
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(bad[0], "--")) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestOverrideText: an outcome is told with all that brought it about, and only with that.
func TestOverrideText(t *testing.T) {
	for _, tt := range []struct {
		o    overrides
		want string
	}{
		{overrides{}, ""},
		{overrides{workers: 3}, " --workers 3"},
		{overrides{clients: 4, rate: 2.5}, " --clients 4 --rate 2.5"},
		{overrides{workers: 1, clients: 2, duration: 90 * time.Second, rate: 7}, " --workers 1 --clients 2 --duration 1m30s --rate 7"},
	} {
		s := scenario.Scenario{Workers: 10, Clients: 20, Duration: time.Hour, Rate: 30}
		before := s
		if got := tt.o.apply(&s); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.o, got, tt.want)
		}
		if (s.Workers != before.Workers) != (tt.o.workers != 0) || (s.Rate != before.Rate) != (tt.o.rate != 0) {
			t.Errorf("%+v gives %+v", tt.o, s)
		}
	}
}

// TestSimMistakes: what cannot be run is an error that says what is wrong, and prints no report.
func TestSimMistakes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--scenario", "none-of-this-name"}, "mixed"},
		{[]string{"run", "--scenario", "./none.yaml"}, "none.yaml"},
		{[]string{"run", "--scenario", tiny(t, "wrokers: 3")}, "wrokers"},
		{[]string{"run", "--scenario", tiny(t, "workers: 1\nclients: 1\nduration: 1s\nrate: 1\nmix: {fly: 1}")}, "fly"},
		{[]string{"run", "--scenario", tiny(t, "workers: 1\nclients: 1\nduration: 1s\nrate: 1")}, "mix is empty"},
		{[]string{"run", "--seed", "-1"}, "seed"},
		{[]string{"run", "extra"}, "extra"},
		{[]string{"sweep", "extra"}, "extra"},
		{[]string{"sweep", "--seeds", "x"}, "seeds"},
		{[]string{"scenarios", "extra"}, "extra"},
		{[]string{"bogus"}, "bogus"},
	} {
		out, _, err := separate(t.Context(), append([]string{"sim"}, tt.args...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
			t.Errorf("%q: %v, %q; want an error with %q", tt.args, err, out, tt.want)
		}
	}
	if out, _, err := separate(t.Context(), "sim"); err != nil || !strings.Contains(out, "scenarios") {
		t.Errorf("sim alone: %v, %q", err, out)
	}
}

// TestSimScenarios: what is listed is what comes with the simulator, a line each, with a description.
func TestSimScenarios(t *testing.T) {
	out, errs, err := separate(t.Context(), "sim", "scenarios")
	if err != nil || errs != "" {
		t.Fatal(err, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(scenario.Names()) {
		t.Fatalf("%d lines of %d scenarios:\n%s", len(lines), len(scenario.Names()), out)
	}
	for i, name := range scenario.Names() {
		if fields := strings.Fields(lines[i]); len(fields) < 3 || fields[0] != name {
			t.Errorf("line %q, want %s and what it is", lines[i], name)
		}
	}
}

// TestSimSweep: a sweep of few seeds tells its figures and fails by what it has not reached; an interrupted one fails as
// that. Nothing of it is a success.
func TestSimSweep(t *testing.T) {
	out, _, err := separate(t.Context(), "sim", "sweep", "--first", "7", "--seeds", "1", "--json")
	var w scenario.Sweep
	if e := json.Unmarshal([]byte(out), &w); e != nil || w.Seeds != 1 || len(w.Failed) != 0 || w.Operations == 0 {
		t.Errorf("%v, %+v\n%s", e, w, out)
	}
	if err == nil || !strings.Contains(err.Error(), "no seed reached") {
		t.Errorf("one seed reached everything: %v", err)
	}
	out, _, err = separate(t.Context(), "sim", "sweep", "--seeds", "0")
	if err == nil || !strings.Contains(out, "seeds 0, operations 0") || !strings.Contains(out, "sometimes operation read ") {
		t.Errorf("no seed: %v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := separate(ctx, "sim", "sweep", "--seeds", "5"); err == nil || strings.Contains(err.Error(), "no seed reached") {
		t.Errorf("interrupted: %v", err)
	}
	if _, _, err := separate(ctx, "sim", "run", "--scenario", tiny(t, tinyText), "--quiet"); err == nil {
		t.Error("an interrupted run is a success")
	}
}
