package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dying is a forebay that ends by itself at once, with a word in its log.
func dying(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forebay")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'the disk said no' >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// temporary gives what is made in the meantime a temporary folder of its own, and returns it.
func temporary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// TestDyingProcesses: each experiment on processes that end by themselves is an error with their last words, prints no
// figure, no report and no success, and writes no result.
func TestDyingProcesses(t *testing.T) {
	temporary(t)
	binary, source, results := dying(t), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"demo", "--source", source}, {"demo", "--source", source, "--json"}, {"crash", "--kills", "1", "--seed", "5"},
		{"bench", "--only", "network", "--out", results}, {"bench", "--only", "data", "--runs", "1", "--out", results},
		{"calibrate", "--out", filepath.Join(results, "model.json")}, {"fidelity", "--out", results},
	} {
		if args[2] == "data" && testing.Short() {
			continue
		}
		out, _, err := separate(t.Context(), append(args, "--forebay", binary)...)
		if err == nil || !strings.Contains(err.Error(), "ended by itself") || !strings.Contains(err.Error(), "the disk said no") {
			t.Errorf("%q: %v", args, err)
		}
		for _, success := range []string{"checks held", "0 lost", "| measurement", "ops/s", "version", "| workload"} {
			if strings.Contains(out, success) {
				t.Errorf("%q failed and says %q:\n%s", args, success, out)
			}
		}
		if args[len(args)-1] == "--json" && out != "" {
			t.Errorf("%q failed and has a report: %s", args, out)
		}
	}
	if left, err := os.ReadDir(results); err != nil || len(left) > 0 {
		t.Errorf("measurements that failed left results: %v, %v", left, err)
	}
}

// TestCrashTellsItsSeed: the seed comes first, given or not, since a run that fails must be run again; its report comes
// although it failed, and says where logs and data are kept.
func TestCrashTellsItsSeed(t *testing.T) {
	temporary(t)
	binary := dying(t)
	out, _, err := separate(t.Context(), "crash", "--kills", "1", "--seed", "77", "--forebay", binary)
	if err == nil || !strings.HasPrefix(out, "crash: seed 77\n") || !strings.Contains(err.Error(), "seed 77") {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct{ Kills, Acknowledged int }
	if e := json.Unmarshal([]byte(strings.TrimPrefix(out, "crash: seed 77\n")), &report); e != nil || report.Kills != 0 {
		t.Errorf("%v, %+v\n%s", e, report, out)
	}
	_, kept, ok := strings.Cut(err.Error(), "kept in ")
	if _, statErr := os.Stat(filepath.Join(strings.TrimSpace(kept), "m1.log")); !ok || statErr != nil {
		t.Errorf("logs are said to be kept: %v, %v", err, statErr)
	}
	out, _, _ = separate(t.Context(), "crash", "--kills", "1", "--forebay", binary)
	if seed, _, _ := strings.Cut(strings.TrimPrefix(out, "crash: seed "), "\n"); len(seed) < 10 {
		t.Errorf("a seed of the time is %q", seed)
	}
}

// TestNothingIsNoSuccess: flags with which an experiment would do nothing are refused, before anything is started.
func TestNothingIsNoSuccess(t *testing.T) {
	for _, args := range [][]string{
		{"crash", "--kills", "0"}, {"crash", "--kills", "-3"}, {"bench", "--runs", "0"}, {"bench", "--runs", "-1"}, {"bench", "--files", "0"},
		{"bench", "--files", "-5"}, {"bench", "--only", "lookups", "--files", "100"}, {"bench", "--only", "lookups,"},
	} {
		dir := temporary(t)
		out, errs, err := separate(t.Context(), append(args, "--forebay", filepath.Join(dir, "none"))...)
		if err == nil || out != "" || errs != "" {
			t.Errorf("%q: %v, %q, %q", args, err, out, errs)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%q left %v", args, left)
		}
	}
}

// TestNothingIsLeft: an experiment that cannot start its binary leaves no folder behind.
func TestNothingIsLeft(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := temporary(t)
	for _, args := range [][]string{{"demo", "--source", source}, {"crash", "--kills", "1"}, {"bench", "--only", "network"}} {
		if _, _, err := separate(t.Context(), append(args, "--forebay", filepath.Join(source, "none"))...); err == nil || !strings.Contains(err.Error(), "start m1") {
			t.Errorf("%q: %v", args, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%q left %v, %v", args, left, err)
		}
	}
}

// TestBenchWritesResults: the parts asked for are measured and no others; the table is standard output, and with --out it is
// written with its raw data.
func TestBenchWritesResults(t *testing.T) {
	temporary(t)
	results := t.TempDir()
	out, errs, err := separate(t.Context(), "bench", "--only", "lookups", "--files", "2000", "--runs", "1", "--out", results)
	if err != nil || !strings.Contains(out, "| lookup hot, heap store |") || strings.Contains(out, "create") || strings.Contains(out, "run 1") {
		t.Fatalf("%v\n%s", err, out)
	}
	_, dir, _ := strings.Cut(errs, "written to ")
	table, err := os.ReadFile(filepath.Join(strings.TrimSpace(dir), "table.md"))
	if err != nil || string(table) != out {
		t.Errorf("%v: the table on disk is not what was printed:\n%s", err, table)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(dir), "raw.csv"))
	if err != nil || strings.Count(string(raw), "\n") != 3 { // a header and a run of each store
		t.Errorf("%v\n%s", err, raw)
	}
	file := filepath.Join(results, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := separate(t.Context(), "bench", "--only", "lookups", "--files", "2000", "--runs", "1", "--out", file); err == nil {
		t.Error("results that could not be written are a success")
	}
}
