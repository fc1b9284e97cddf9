package saved

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

var example = Run{Format: Format, Version: "0123456789ab", Name: "swarm-17", Seed: 1<<64 - 1, History: "00ff", Sort: "contents",
	Failure: "at 3s: contents: client 1: \"/f\": wrong # byte\nand a second line: {x}", Note: "dropped: all but one\n",
	Scenario: "# a comment of the scenario's own\nmasters: 1\n\n# and one in between\nmix: {read: 1}\n"}

// write puts a text into a file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBothForms: what is saved comes back, from a file of its own and out of a trace.
func TestBothForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dir", "run.yaml")
	if err := example.Save(path); err != nil {
		t.Fatal(err)
	}
	want := example
	// A scenario's comments at its very beginning would be taken for the head's: an empty line parts them.
	if got, err := Load(path); err != nil || got != want {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("files %v", left)
	}
	text, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	trace := write(t, "{ \"forebay\": "+string(text)+", \"traceEvents\": [ nothing reads this")
	if got, err := Load(trace); err != nil || got != want {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// TestHeadIsComments: to who reads the file as a scenario there is nothing but the scenario.
func TestHeadIsComments(t *testing.T) {
	var b bytes.Buffer
	if err := example.Write(&b); err != nil {
		t.Fatal(err)
	}
	head, ok := strings.CutSuffix(b.String(), example.Scenario)
	if !ok {
		t.Fatalf("the file does not end with the scenario:\n%s", &b)
	}
	for line := range strings.Lines(head) {
		if line != "\n" && !strings.HasPrefix(line, "# ") {
			t.Errorf("the head has the line %q", line)
		}
	}
}

// TestNoSavedRun: each error says what is wrong and what to do.
func TestNoSavedRun(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "it is empty",
		"masters: 3\n":              "sim run --scenario",
		"# a comment\nmasters: 3\n": "sim run --scenario",
		`{"traceEvents": []}`:       "it is no saved run",
		`{"forebay": 3}`:            `its key "forebay"`,
		`{"forebay": {"format": 2, "version": "abc"}}`:                               "it has format 2, and this forebay-lab reads 1: use the version that wrote it (abc)",
		"# forebay-lab run, format 9\n# other: keys\n\nx":                            "it has format 9",
		"# forebay-lab run, format one\n\nx":                                         "want a format's number",
		"# forebay-lab run, format 1\n# seed: -1\n\nx":                               "its head of comments",
		"# forebay-lab run, format 1\n# sed: 1\n\nx":                                 "sed",
		"# forebay-lab run, format 1\n# seed: 1\n\n" + strings.Repeat("x", mostText): "more than",
	} {
		path := write(t, text)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestAnotherRun: other code and another history are told, with both sides.
func TestAnotherRun(t *testing.T) {
	if err := example.Check("0123456789ab"); err != nil {
		t.Error(err)
	}
	if err := example.Check("ba9876543210"); err == nil || !strings.Contains(err.Error(), "0123456789ab") || !strings.Contains(err.Error(), "ba9876543210") {
		t.Errorf("%v", err)
	}
	if err := example.CheckHistory("00ff"); err != nil {
		t.Error(err)
	}
	if err := example.CheckHistory("00fe"); err == nil || !strings.Contains(err.Error(), "00fe") || !strings.Contains(err.Error(), "00ff") {
		t.Errorf("%v", err)
	}
	if err := (Run{}).CheckHistory("00fe"); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}

// TestVersion: a commit stands for code only when nothing was changed; else the binary's sum does.
func TestVersion(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	for modified, want := range map[string]string{"false": "0123456789ab", "true": ""} {
		if got := commitOf([]debug.BuildSetting{revision, {Key: "vcs.modified", Value: modified}}); got != want {
			t.Errorf("modified %s: %q, want %q", modified, got, want)
		}
	}
	if got := commitOf(nil); got != "" {
		t.Errorf("without a repository: %q", got)
	}
	if v := Version(); !strings.HasPrefix(v, "binary-") || len(v) != len("binary-")+12 || v != Version() { // a test's binary has no commit
		t.Errorf("version %q", v)
	}
}
