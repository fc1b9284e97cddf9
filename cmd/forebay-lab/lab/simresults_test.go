package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/forebay/forebay/bench/record"
	"github.com/forebay/forebay/sim/scenario"
)

// TestSimResults: a folder for each scenario, named after it and its blocks, that says how it was made and what came out; a
// scenario that is not there does not cost the others.
func TestSimResults(t *testing.T) {
	file, dir := tiny(t, tinyText), t.TempDir()
	out, _, err := separate(t.Context(), "sim", "results", "--out", dir, "--scenario", "nothing,"+file, "--blocks", "50", "--seed", "3")
	if err == nil || !strings.Contains(err.Error(), `"nothing"`) || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v, %q", err, out)
	}
	folder := filepath.Join(dir, "sim-tiny-50")
	var r scenario.Report
	var m record.Manifest
	for name, into := range map[string]any{"report.json": &r, "manifest.json": &m} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || json.Unmarshal(text, into) != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if r.Seed != 3 || r.Operations() == 0 || !strings.Contains(out, r.History) || m.Experiment != "sim-tiny-50" || m.Commit == "" || !strings.Contains(m.Notes[0], "seed 3") {
		t.Errorf("report of seed %d with %d operations, manifest %+v, %q", r.Seed, r.Operations(), m, out)
	}
	if _, err := os.Stat(filepath.Join(folder, "throughput.png")); err != nil {
		t.Error(err)
	}
}
