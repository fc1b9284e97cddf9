package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a campaign without builds and processes: a mutant's verdict follows from its name.
func fake(unchanged verdict, verdicts map[string]verdict) (*campaign, *bytes.Buffer) {
	var progress bytes.Buffer
	return &campaign{
		dir: "d", jobs: 2, progress: &progress,
		build: func(_ context.Context, _ string, m *mutant, _ string) error {
			if m != nil && m.Name == "broken" {
				return errors.New("does not build")
			}
			return nil
		},
		sweep: func(_ context.Context, binary string, _ int, _ time.Duration, _ *leftOut) (verdict, error) {
			if name := filepath.Base(binary); name != "unchanged" {
				return verdicts[name], nil
			}
			return unchanged, nil
		},
	}, &progress
}

func named(names ...string) (all []*mutant) {
	for _, name := range names {
		all = append(all, &mutant{Name: name, Seeds: 10, Contract: "C1", Bug: "of " + name})
	}
	return all
}

// TestOutcomes: each way in which a mutant can end, in the table, in the JSON and in the verdict on all.
func TestOutcomes(t *testing.T) {
	mutants := named("shown", "hidden", "broken", "excuse", "boast", "whole")
	mutants[3].Explained, mutants[4].Explained = "equivalent", "equivalent"
	c, progress := fake(verdict{}, map[string]verdict{
		"shown": {failed: true, seed: 3, words: "it is lost"}, "boast": {failed: true, seed: 4, words: "shown all the same"},
		"whole": {failed: true, missed: true, words: "sim: no seed reached [read]"},
	})
	results, err := c.run(t.Context(), mutants)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{killed, survived, unfit, excused, wrongly, killed} {
		if results[i].Outcome != want || results[i].Name != mutants[i].Name {
			t.Errorf("%s: %s, want %s", mutants[i].Name, results[i].Outcome, want)
		}
	}
	var table bytes.Buffer
	printTable(&table, results, time.Second)
	for _, want := range []string{"it is lost", "SURVIVED: hidden: of hidden", "UNFIT: broken: of broken: does not build", "KILLED: boast",
		"6 mutants in 1 s: 2 killed, 1 explained, 1 survived, 1 killed though explained, 1 unfit"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if !strings.Contains(progress.String(), "6 of 6, about 0s to go") {
		t.Errorf("progress:\n%s", progress)
	}
	if err := judge(results); err == nil || !strings.Contains(err.Error(), "3 of 6") {
		t.Errorf("%v", err)
	}
	if err := judge([]result{results[0], results[3], results[5]}); err != nil {
		t.Errorf("all is as it should be: %v", err)
	}
	path := filepath.Join(t.TempDir(), "out.json")
	if err := writeJSON(path, describe(t.Context(), t.TempDir(), []string{"-x"}, results)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	var back struct {
		Command string
		Killed  int
		Mutants []struct {
			Name string
			Seed int
		}
	}
	if err != nil || json.Unmarshal(text, &back) != nil || back.Killed != 2 || len(back.Mutants) != 6 || back.Mutants[0].Seed != 3 || back.Command != "mutants -x" {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestBounds: a mutant whose lowered bounds fail without the bug shows nothing; one whose bounds do no harm is swept with both.
func TestBounds(t *testing.T) {
	for _, alone := range []verdict{{}, {failed: true, seed: 2, words: "too low"}} {
		c, _ := fake(verdict{}, nil)
		var built *mutant
		c.build = func(_ context.Context, _ string, m *mutant, _ string) error { built = m; return nil }
		c.sweep = func(context.Context, string, int, time.Duration, *leftOut) (verdict, error) {
			switch {
			case built == nil:
				return verdict{}, nil
			case len(built.edits) == 1:
				return alone, nil
			}
			return verdict{failed: true, seed: 9}, nil
		}
		m := named("m")
		m[0].edits = []edit{{find: "bug"}, {find: "bound", bound: true}}
		want := killed
		if alone.failed {
			want = unfit
		}
		if results, err := c.run(t.Context(), m); err != nil || results[0].Outcome != want || alone.failed && !strings.Contains(results[0].Words, "bounds alone fail seed 2") {
			t.Errorf("%+v: %+v, %v", alone, results, err)
		}
	}
}

// TestUnchangedTree: a tree that fails without a bug ends everything; what its seeds miss kills nobody.
func TestUnchangedTree(t *testing.T) {
	c, _ := fake(verdict{failed: true, seed: 5, words: "it is lost"}, nil)
	if _, err := c.run(t.Context(), named("a")); err == nil || !strings.Contains(err.Error(), "fails seed 5") {
		t.Errorf("%v", err)
	}
	c.goOn = true
	c.sweep = func(_ context.Context, _ string, _ int, _ time.Duration, left *leftOut) (verdict, error) {
		for seed := range 7 {
			if (seed == 5 || seed == 6) && !left.takes(seed) {
				return verdict{failed: true, seed: seed}, nil
			}
		}
		return verdict{}, nil
	}
	if results, err := c.run(t.Context(), named("a")); err != nil || results[0].Outcome != survived || len(c.left.seeds) != 2 {
		t.Errorf("the failing seeds are left out: %v, %v, %v", results, err, c.left)
	}
	missing := verdict{failed: true, missed: true, words: "sim: no seed reached [read]"}
	c, _ = fake(missing, map[string]verdict{"a": missing})
	if results, err := c.run(t.Context(), named("a")); err != nil || results[0].Outcome != survived {
		t.Errorf("%+v, %v", results, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.run(ctx, named("a", "b")); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestWatch: the first failing seed counts, with its words; a dead process tells its last ones.
func TestWatch(t *testing.T) {
	for text, want := range map[string]verdict{
		"sim: 50 of 100 seeds\nsim: seed 60: left out\nsim: seed 61: at 3s: lost\nsim: seed 70: x\n": {failed: true, seed: 61, words: "at 3s: lost"},
		"sim: 50 of 100 seeds\n":                        {},
		"sim: no seed reached [list]: run more seeds\n": {failed: true, missed: true, words: "sim: no seed reached [list]: run more seeds"},
		"panic: what\n\ngoroutine 1\n":                  {failed: true, words: "panic: what"},
		"fatal error: all goroutines are asleep\n":      {failed: true, words: "fatal error: all goroutines are asleep"},
	} {
		if got := watch(strings.NewReader(text), &leftOut{seeds: map[int]bool{60: true}}); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// TestSweep runs processes: one that fails a seed and would go on for ever is ended, one that hangs is found out by its time,
// and one that ends badly without a word is no success.
func TestSweep(t *testing.T) {
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "sh")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		text  string
		limit time.Duration
		want  verdict
	}{
		"fails":     {"echo sim: seed 2: lost >&2; exec sleep 600", time.Minute, verdict{failed: true, seed: 2, words: "lost"}},
		"hangs":     {"exec sleep 600", 200 * time.Millisecond, verdict{failed: true, words: "it hangs: no end within 0s"}},
		"dies":      {"exit 3", time.Minute, verdict{failed: true, words: "it ended with exit code 3"}},
		"passes":    {`[ "$*" = "sim sweep --first 1 --seeds 9 --save= --few --jobs 1" ]`, time.Minute, verdict{}},
		"sometimes": {"echo 'sim: no seed reached [x]' >&2; exit 1", time.Minute, verdict{failed: true, missed: true, words: "sim: no seed reached [x]"}},
	} {
		if got, err := sweep(t.Context(), script(c.text), 9, c.limit, &leftOut{}); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	if _, err := sweep(t.Context(), filepath.Join(t.TempDir(), "none"), 9, time.Minute, &leftOut{}); err == nil {
		t.Error("a binary that is not there passes")
	}
}

// TestOptions: flags that cannot be are refused, and so are names that no mutant has.
func TestOptions(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"-jobs", "0"}, {"-jobs", "3"}, {"-seeds", "-1"}, {"-seeds", "99999999"}, {"-bogus"}} {
		if _, err := parseOptions(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	all := named("rename-a", "rename-b", "other")
	for only, want := range map[string]int{"": 3, "other": 1, "rename*": 2, "other,rename-b": 2} {
		if got, err := choose(all, only); err != nil || len(got) != want {
			t.Errorf("%q: %d, %v", only, len(got), err)
		}
	}
	for _, only := range []string{"rename", "other,none", "none*"} {
		if _, err := choose(all, only); err == nil {
			t.Errorf("%q is taken", only)
		}
	}
}
