package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// evicting is a scenario in which clients meet every part that the changes below are in: more files than the caches hold, and a
// leader that dies.
const evicting = `
description: many files and little cache
masters: 3
workers: 2
clients: 4
racks: 3
duration: 20s
rate: 4
files: 100
fileSize: 60000
workerCache: 1500000
mix: {read: 8, write: 2}
faults:
- {kind: kill-leader, at: 8s, for: 3s}
`

// changes are of one line each, harmless, and in three parts of the production code.
var changes = []struct{ name, file, find, replace string }{
	{"an order of eviction", "system/worker/eviction/s3fifo.go", "e.queue == inSmall && e.uses > 1", "e.queue == inSmall && e.uses > 0"},
	{"a delay of a client's retries", "system/client/retry.go", "backoffFloor   = 5 * time.Millisecond", "backoffFloor   = 6 * time.Millisecond"},
	{"a pace of the master", "system/master/upkeep.go", "persistInterval = 200 * time.Millisecond", "persistInterval = 210 * time.Millisecond"},
}

// TestProductionCodeRuns: a change of one line in production code changes the history of a seed, so that this code is what runs in
// the simulator; without a change it is the same one. (go test may take an earlier outcome for this one: -count=1.)
func TestProductionCodeRuns(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	scenario := filepath.Join(dir, "evicting.yaml")
	if err := os.WriteFile(scenario, []byte(evicting), 0o600); err != nil {
		t.Fatal(err)
	}
	built := func(m *mutant) string {
		binary := filepath.Join(dir, "lab")
		if err := build(t.Context(), root, m, binary); err != nil {
			t.Fatal(err)
		}
		return binary
	}
	unchanged := history(t, built(nil), scenario)
	if again := history(t, built(nil), scenario); again != unchanged {
		t.Errorf("an unchanged tree has histories %s and %s", unchanged, again)
	}
	for _, c := range changes {
		m := &mutant{Name: c.name, edits: []edit{{file: c.file, find: c.find, replace: c.replace}}}
		if got := history(t, built(m), scenario); got == unchanged {
			t.Errorf("%s: the history is the same", c.name)
		}
	}
}

func history(t *testing.T, binary, scenario string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, "sim", "run", "--scenario", scenario, "--seed", "7", "--json", "--quiet")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var report struct{ History string }
	if err != nil || json.Unmarshal(out, &report) != nil || report.History == "" || strings.Contains(stderr.String(), "panic") {
		t.Fatalf("%v: %s\n%.500s", err, &stderr, out)
	}
	return report.History
}
