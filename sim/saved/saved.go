// Package saved is what it takes to have a run of the simulator again: its scenario, its seed, the code that it was run with, and
// the history and the failure that it showed. It owns the two forms of that: a scenario's file with a head of comments, which
// `sim run --scenario` takes as it is, and the first key of a trace's file. It runs nothing, and does not know what a
// scenario's keys mean.
//
// Sweeps and the shrinking of failures write such files, traces carry one, and `sim replay` and `sim shrink` read them.
package saved

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format is the version of both forms. A change of what is in them raises it.
const Format = 1

// Run is one run that is saved.
type Run struct {
	Format  int    `yaml:"-" json:"format"`
	Version string `yaml:"version" json:"version"` // of the code; see Version
	Name    string `yaml:"name" json:"name"`       // of the scenario
	Seed    uint64 `yaml:"seed" json:"seed"`
	History string `yaml:"history,omitempty" json:"history,omitempty"` // empty: the run was interrupted
	Sort    string `yaml:"sort,omitempty" json:"sort,omitempty"`       // of the failure: the oracle that saw it, or how the run ended
	Failure string `yaml:"failure,omitempty" json:"failure,omitempty"` // in words; empty: it held
	Note    string `yaml:"note,omitempty" json:"note,omitempty"`
	// Scenario is its file's text.
	Scenario string `yaml:"-" json:"scenario"`
}

// magic begins the file of a saved run, before the format's number.
const magic = "# forebay-lab run, format "

// Write writes r as a scenario's file.
func (r Run) Write(w io.Writer) error {
	head, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("write saved run: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d\n", magic, Format)
	for line := range strings.Lines(string(head)) {
		b.WriteString("# " + line)
	}
	b.WriteString("\n" + r.Scenario)
	_, err = io.WriteString(w, b.String())
	return err
}

// Save writes r to a file, of which there is all or nothing.
func (r Run) Save(path string) error {
	var b bytes.Buffer
	err := r.Write(&b)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path+".new", b.Bytes(), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// Load reads a saved run from a file of either form. What is no such file, or of another format, is an error that says what to
// do instead. Whether the code is the same is for Check to say.
func Load(path string) (Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return Run{}, fmt.Errorf("read saved run: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := read(f)
	if err != nil {
		return Run{}, fmt.Errorf("read saved run %s: %w", path, err)
	}
	return r, nil
}

// mostText bounds a scenario's file, which a person can read.
const mostText = 16 << 20

func read(in io.Reader) (Run, error) {
	var first [1]byte
	if _, err := io.ReadFull(in, first[:]); err != nil {
		return Run{}, errors.New("it is empty")
	}
	in = io.MultiReader(bytes.NewReader(first[:]), in)
	if first[0] == '{' {
		return readTrace(in)
	}
	text, err := io.ReadAll(io.LimitReader(in, mostText+1))
	if err != nil {
		return Run{}, err
	}
	if len(text) > mostText {
		return Run{}, fmt.Errorf("it has more than %d bytes, which no scenario has", mostText)
	}
	return parse(string(text))
}

var errNotSaved = errors.New("it is no saved run: want a trace's file (sim run --trace), or one that sim sweep or sim shrink saved; " +
	"a scenario without a seed is run by sim run --scenario")

// readTrace reads no more than the first key: traces are large.
func readTrace(in io.Reader) (r Run, err error) {
	d := json.NewDecoder(in)
	for _, want := range []json.Token{json.Delim('{'), "forebay"} {
		if got, err := d.Token(); err != nil || got != want {
			return r, errNotSaved
		}
	}
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("its key \"forebay\": %w", err)
	}
	return r, r.checkFormat()
}

func (r Run) checkFormat() error {
	if r.Format != Format {
		return fmt.Errorf("it has format %d, and this forebay-lab reads %d: use the version that wrote it (%s)", r.Format, Format, r.Version)
	}
	return nil
}

// parse reads a scenario's file with its head.
func parse(text string) (r Run, err error) {
	first, rest, _ := strings.Cut(text, "\n")
	number, ok := strings.CutPrefix(first, magic)
	if !ok {
		return r, errNotSaved
	}
	if _, err := fmt.Sscan(number, &r.Format); err != nil {
		return r, fmt.Errorf("its first line is %q: want a format's number at the end", first)
	}
	var head strings.Builder
	for line := range strings.Lines(rest) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		head.WriteString(strings.TrimPrefix(comment, " "))
		rest = rest[len(line):]
	}
	if r.Format == Format { // else the keys may be others
		d := yaml.NewDecoder(strings.NewReader(head.String()))
		d.KnownFields(true)
		if err := d.Decode(&r); err != nil {
			return r, fmt.Errorf("its head of comments: %w", err)
		}
	}
	r.Scenario = strings.TrimPrefix(rest, "\n")
	return r, r.checkFormat()
}

// Check tells whether the code that runs is the one that r was run with: with another, a run of the same seed may well be
// another run.
func (r Run) Check(version string) error {
	if r.Version != version {
		return fmt.Errorf("it was run with forebay-lab %s, and this is %s: the same seed may give another run", r.Version, version)
	}
	return nil
}

// CheckHistory tells whether a run of r had the history that r has.
func (r Run) CheckHistory(history string) error {
	switch {
	case r.History == "":
		return errors.New("it has no history to compare with: the run was interrupted when it was saved")
	case r.History != history:
		return fmt.Errorf("the run has history %s, and the file says %s: it is another run", history, r.History)
	}
	return nil
}

// Version names the code that runs: the commit that it was built from or, where that alone does not make it, the binary's own
// sum. It is never empty.
func Version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		if commit := commitOf(build.Settings); commit != "" {
			return commit
		}
	}
	path, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("binary-%.6x", sum.Sum(nil))
}

// commitOf is the commit of an unchanged tree; empty when there is none.
func commitOf(settings []debug.BuildSetting) (commit string) {
	for _, s := range settings {
		switch {
		case s.Key == "vcs.modified" && s.Value != "false":
			return ""
		case s.Key == "vcs.revision":
			commit = fmt.Sprintf("%.12s", s.Value)
		}
	}
	return commit
}
