package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
)

// historyOf is the last line of a report.
func historyOf(t *testing.T, out string) string {
	t.Helper()
	found := regexp.MustCompile(`history ([0-9a-f]{16})`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no history in\n%s", out)
	}
	return found[1]
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSimRecord: timeline and trace change no history, go where they are sent, hold what the filters choose, and the run comes
// back from the trace.
func TestSimRecord(t *testing.T) {
	file, dir := tiny(t, tinyText), t.TempDir()
	plain, _, err := separate(t.Context(), "sim", "run", "--scenario", file, "--seed", "4", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	timeline, trace := filepath.Join(dir, "t.txt"), filepath.Join(dir, "t.json")
	out, _, err := separate(t.Context(), "sim", "run", "--scenario", file, "--seed", "4", "--quiet", "--timeline", timeline, "--trace", trace)
	if err != nil || historyOf(t, out) != historyOf(t, plain) {
		t.Errorf("%v, histories %s and %s", err, historyOf(t, out), historyOf(t, plain))
	}
	all := read(t, timeline)
	for _, want := range []string{"# scenario tiny, seed 4, history " + historyOf(t, plain), "leads term 1", " c2 ", "  read /", "  write /own/"} {
		if !strings.Contains(all, want) {
			t.Errorf("the timeline lacks %q:\n%.800s", want, all)
		}
	}
	var events struct{ TraceEvents []map[string]any }
	if err := json.Unmarshal([]byte(read(t, trace)), &events); err != nil || len(events.TraceEvents) < 50 {
		t.Errorf("%v, %d events", err, len(events.TraceEvents))
	}
	out, _, err = separate(t.Context(), "sim", "replay", trace, "--quiet", "--from", "4s", "--to", "8s", "--node", "c1", "--grep", "/own/0")
	if err != nil || !strings.HasSuffix(out, "the run held: no violation\nhistory "+historyOf(t, plain)+": the run of the file\n") {
		t.Errorf("%v\n%s", err, out)
	}
	ofWorker, _, err := separate(t.Context(), "sim", "replay", trace, "--quiet", "--node", "w1")
	lines := strings.Split(ofWorker, "\n")
	if err != nil || len(lines) < 10 || len(ofWorker) >= len(all) {
		t.Fatalf("%v\n%s", err, ofWorker)
	}
	for _, line := range lines[2 : len(lines)-3] {
		if !strings.Contains(line, "w1") {
			t.Errorf("not of w1: %q", line)
		}
	}
	chosen := strings.Split(out, "\n")
	if len(chosen) < 6 || len(out) >= len(all) {
		t.Errorf("nothing was chosen:\n%s", out)
	}
	for _, line := range chosen[2 : len(chosen)-3] {
		if f := strings.Fields(line); !strings.Contains(line, "/own/0") || f[0] < "4" || f[0] >= "9" || f[1] != "c1" && !strings.Contains(line, "c1") {
			t.Errorf("not chosen: %q", line)
		}
	}
}

// TestSimReplayMistakes: a file of other code, of another run, or of no run is an error that says so.
func TestSimReplayMistakes(t *testing.T) {
	text := strings.TrimPrefix(tinyText, "\n")
	good := saved.Run{Format: saved.Format, Version: saved.Version(), Name: "tiny", Seed: 1, History: "0123", Scenario: text}
	path := filepath.Join(t.TempDir(), "run.yaml")
	replayed := func(r saved.Run, args ...string) (string, error) {
		if err := r.Save(path); err != nil {
			t.Fatal(err)
		}
		out, _, err := separate(t.Context(), append([]string{"sim", "replay", path, "--quiet", "--timeline", ""}, args...)...)
		return out, err
	}
	if out, err := replayed(good); err == nil || !strings.Contains(err.Error(), "the file says 0123") || strings.Contains(out, "the run of the file") {
		t.Errorf("another history: %v\n%s", err, out)
	}
	other := good
	other.Version = "a-commit"
	if out, err := replayed(other); err == nil || !strings.Contains(err.Error(), "a-commit") || !strings.Contains(err.Error(), "--any-version") || out != "" {
		t.Errorf("another version: %v\n%s", err, out)
	}
	if out, err := replayed(other, "--any-version"); err != nil || !strings.Contains(out, "of this version; the file's is 0123") {
		t.Errorf("another version, allowed: %v\n%s", err, out)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"replay"}, "accepts 1 arg"},
		{[]string{"replay", "./none.yaml"}, "none.yaml"},
		{[]string{"replay", tiny(t, tinyText)}, "sim run --scenario"},
		{[]string{"replay", path, "--grep", "("}, "no regular expression"},
		{[]string{"run", "--from", "3s"}, "--timeline or --trace"},
		{[]string{"run", "--timeline", "-", "--json"}, "standard output"},
		{[]string{"run", "--timeline", "-", "--keep", "0"}, "--keep 0"},
		{[]string{"run", "--trace", "./no/such/dir/t.json"}, "no/such/dir"},
	} {
		out, _, err := separate(t.Context(), append([]string{"sim"}, tt.args...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
			t.Errorf("%q: %v, %q; want an error with %q", tt.args, err, out, tt.want)
		}
	}
}

// TestSaveFailure: a failing seed is a file that replays, and without a directory it is none.
func TestSaveFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "failures")
	s := scenario.Swarm(5, nil)
	report, err := scenario.Run(t.Context(), s, scenario.Options{Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	o := scenario.Outcome{Seed: 5, Scenario: s, Report: report, Failure: scenario.Failure{Sort: "test", What: "planted"}}
	if err := saveFailure(t.Context(), "", o); err != nil {
		t.Error(err)
	}
	if err := saveFailure(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	file := failureFile(dir, 5)
	out, _, err := separate(t.Context(), "sim", "replay", file, "--quiet", "--grep", "^FAULT")
	if err != nil || !strings.Contains(out, "history "+report.History+": the run of the file") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = separate(t.Context(), "sim", "run", "--scenario", file, "--seed", "5", "--quiet")
	if err != nil || historyOf(t, out) != report.History {
		t.Errorf("as a scenario: %v\n%s", err, out)
	}
	if err := saveFailure(t.Context(), file, o); err == nil || !strings.Contains(err.Error(), "save seed 5") {
		t.Errorf("a file in the way: %v", err)
	}
}
