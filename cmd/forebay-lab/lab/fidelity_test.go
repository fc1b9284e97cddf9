package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/bench/fidelity"
	"github.com/forebay/forebay/sim/model"
)

// TestFidelityCommands: calibrate writes a model that fidelity reads, and the comparison is printed and kept whole.
func TestFidelityCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("measures processes")
	}
	tmp := temporary(t)
	binary, results := benchtest.Binary(t), t.TempDir()
	file := filepath.Join(results, "model.json")
	out, progress, err := separate(t.Context(), "calibrate", "--quick", "--forebay", binary, "--out", file)
	if err != nil || out != "" || !strings.Contains(progress, "fitted cold reads") {
		t.Fatalf("calibrate: %v\n%s%s", err, out, progress)
	}
	m, err := model.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if m.Commit == "" || m.Machine.Kernel == "" || m.Journal.EntryNs <= 0 || m.Methods["/forebay.v1.Data/Read"].Server.KiBNs <= 0 {
		t.Errorf("the model: %+v", m)
	}
	out, _, err = separate(t.Context(), "fidelity", "--quick", "--forebay", binary, "--model", file, "--out", results, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r fidelity.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Rows) < 20 || len(r.Worst) == 0 || r.Rows[0].Simulated.Throughput <= 0 {
		t.Errorf("the report: %v, %d rows", err, len(r.Rows))
	}
	for _, name := range []string{"manifest.json", "report.json", "model.json", "table.md", "raw.csv"} {
		found, err := filepath.Glob(filepath.Join(results, "fidelity", "*", name))
		if err != nil || len(found) != 1 {
			t.Errorf("%s: %v %v", name, found, err)
			continue
		}
		if text, err := os.ReadFile(found[0]); err != nil || len(text) < 100 {
			t.Errorf("%s has %d bytes: %v", name, len(text), err)
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestFidelityRefuses: what would measure nothing, and files that are no models, are refused before a process starts.
func TestFidelityRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "model.json")
	if err := os.WriteFile(file, []byte(`{"version": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, says string }{
		{"calibrate --slices 0", "at least 1"},
		{"calibrate --budget 0s", "more than no time"},
		{"fidelity --slices -1", "at least 1"},
		{"fidelity --model " + file, "version is not 1"},
		{"fidelity --model " + file + ".not", "calibrate --out"},
		{"fidelity now", "unknown command"},
	} {
		out, _, err := separate(t.Context(), strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.says) || out != "" {
			t.Errorf("%s: %v\n%s", c.args, err, out)
		}
	}
}
