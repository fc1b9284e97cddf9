package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/forebay/forebay/sim/saved"
	"github.com/forebay/forebay/sim/scenario"
	"github.com/forebay/forebay/sim/shrink"
)

// TestSimShrinkTargets: what is to be made small, and where it goes.
func TestSimShrinkTargets(t *testing.T) {
	dir := t.TempDir()
	run := saved.Run{Format: saved.Format, Version: "other", Name: "a-name", Seed: 17, Scenario: strings.TrimPrefix(tinyText, "\n")}
	path := filepath.Join(dir, "seed-17.yaml")
	if err := run.Save(path); err != nil {
		t.Fatal(err)
	}
	file := tiny(t, tinyText)
	for _, tt := range []struct {
		target shrinkTarget
		args   []string
		name   string
		seed   uint64
		out    string
	}{
		{shrinkTarget{}, []string{path}, "a-name", 17, filepath.Join(dir, "seed-17.small.yaml")},
		{shrinkTarget{out: "mine"}, []string{path}, "a-name", 17, "mine"},
		{shrinkTarget{seed: 5, set: true}, nil, "swarm-5", 5, "seed-5.small.yaml"},
		{shrinkTarget{seed: 6, set: true, name: file}, nil, "tiny", 6, "tiny-6.small.yaml"},
	} {
		s, err := tt.target.load(tt.args)
		if err != nil || s.Name != tt.name || tt.target.seed != tt.seed || tt.target.out != tt.out {
			t.Errorf("%q: %v, %+v of %+v", tt.args, err, tt.target, s)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "say what"},
		{[]string{path, "--seed", "3"}, "without a file"},
		{[]string{path, "--scenario", "mixed"}, "without a file"},
		{[]string{"--scenario", "mixed"}, "say what"},
		{[]string{"--scenario", "none", "--seed", "1"}, "mixed"},
		{[]string{path, "--runs", "0"}, "--runs 0"},
		{[]string{file}, "it is no saved run"},
		{[]string{path, path}, "at most 1 arg"},
		{[]string{path, "--quiet"}, "it does not fail"},
	} {
		out, _, err := separate(t.Context(), append([]string{"sim", "shrink"}, tt.args...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
			t.Errorf("%q: %v, %q; want an error with %q", tt.args, err, out, tt.want)
		}
	}
}

// TestWriteSmall: what is left is a file that replays, with what was dropped in its head.
func TestWriteSmall(t *testing.T) {
	s, err := scenario.Parse([]byte(tinyText))
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "tiny"
	report, err := scenario.Run(t.Context(), s, scenario.Options{Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	before := *s
	before.Clients = 9
	r := &shrink.Result{Runs: 5, Done: true, First: scenario.Outcome{Scenario: &before}, Last: scenario.Outcome{Seed: 4, Scenario: s, Report: report, Failure: scenario.Failure{Sort: "a-sort", What: "some words"}}}
	file := filepath.Join(t.TempDir(), "small.yaml")
	cmd := simShrinkCommand()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetContext(t.Context())
	if err := writeSmall(cmd, r, file); err != nil || !strings.Contains(out.String(), "2 of 9 clients; 5 runs") || !strings.Contains(out.String(), "seed 4 fails with a-sort: some words") {
		t.Errorf("%v, %q", err, out.String())
	}
	text, _ := os.ReadFile(file)
	for _, want := range []string{"# note: left are 2 of 9 clients", "# seed: 4", "# failure: some words", "# sort: a-sort"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
	if out, _, err := separate(t.Context(), "sim", "replay", file, "--quiet", "--timeline", ""); err != nil || !strings.Contains(out, "the run of the file") {
		t.Errorf("%v\n%s", err, out)
	}
}
