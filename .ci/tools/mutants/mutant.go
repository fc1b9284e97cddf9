package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxSeeds bounds what a file may ask for: a bug that shows itself in one of ten thousand runs is not found by anybody.
const maxSeeds = 10_000

// suffix is what the names of mutants' files end with.
const suffix = ".mutant"

// mutant is a planted bug: a file like
//
//	file: system/master/readindex.go
//	bug: a read is answered without a proof of leadership
//	contract: C1
//	seeds: 50
//	--- find
//		if err := r.j.VerifyLeader(ctx); err != nil {
//			return err
//		}
//	--- replace
//	--- end
//
// A text to find must occur exactly once in its file. There may be more than one pair of find and replace; a line
// "--- in system/.../other.go" before a find turns to another file. A bug at a bound that small runs do not meet comes with
// another pair, "--- bound" and "--- replace", that lowers the bound: with it alone every seed must pass.
type mutant struct {
	Name     string `json:"name"`
	File     string `json:"file"` // below the root, with slashes
	Bug      string `json:"bug"`
	Contract string `json:"contract"`
	// Seeds is within how many seeds, from the first on, a sweep must find it.
	Seeds int `json:"seeds"`
	// Explained is why no run of the simulator can show it; "" for one that must be killed.
	Explained string `json:"explained,omitempty"`
	edits     []edit
}

// edit replaces one text in one file.
type edit struct {
	file, find, replace string
	bound               bool // it lowers a bound and is no bug: alone it must do no harm
}

// load reads all mutants of a folder, in the order of their names. All mistakes are told at once.
func load(dir string) ([]*mutant, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: there is no file *%s: is -root a checkout?", dir, suffix)
	}
	var all []*mutant
	var mistakes []error
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parse(strings.TrimSuffix(filepath.Base(name), suffix), string(text))
		if err != nil {
			mistakes = append(mistakes, err)
		}
		all = append(all, m)
	}
	return all, errors.Join(mistakes...)
}

// parse reads one file: lines of "key: value", then the edits.
func parse(name, text string) (*mutant, error) {
	m := &mutant{Name: name}
	var mistakes []error
	wrong := func(format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("sim/mutants/%s%s: "+format, append([]any{name, suffix}, args...)...))
	}
	head, body, _ := strings.Cut("\n"+text, "\n---")
	given := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(head))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if key == "" {
			continue
		}
		if given[key] {
			wrong("%s is given twice", key)
		}
		given[key] = true
		if err := m.set(key, strings.TrimSpace(value)); err != nil {
			wrong("%w", err)
		}
	}
	for _, key := range []string{"file", "bug", "contract", "seeds"} {
		if !given[key] {
			wrong("%s is missing", key)
		}
	}
	var err error
	if m.edits, err = parseEdits(m.File, "---"+body); err != nil {
		wrong("%w", err)
	}
	return m, errors.Join(mistakes...)
}

func (m *mutant) set(key, value string) error {
	if value == "" {
		return fmt.Errorf("%q has no value: want key: value", key)
	}
	switch key {
	case "file":
		m.File = value
		return checkFile(value)
	case "bug":
		m.Bug = value
	case "contract":
		m.Contract = value
	case "explained":
		m.Explained = value
	case "seeds":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxSeeds {
			return fmt.Errorf("seeds %q: want 1 to %d", value, maxSeeds)
		}
		m.Seeds = n
	default:
		return fmt.Errorf("unknown key %q: want file, bug, contract, seeds or explained", key)
	}
	return nil
}

// parseEdits reads what follows the head, line by line. The markers come in one order: find or bound, replace, and so on, with
// "in" before a find or a bound alone, and end as the last line.
func parseEdits(file, text string) ([]edit, error) {
	var edits []edit
	var into *string // what the lines between two markers are added to
	for line := range strings.Lines(text) {
		marker, isMarker := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "--- ")
		switch last := len(edits) - 1; {
		case !isMarker && into != nil:
			*into += line
		case isMarker && strings.HasPrefix(marker, "in ") && (into == nil || into == &edits[last].replace):
			file, into = strings.TrimPrefix(marker, "in "), nil
			if err := checkFile(file); err != nil {
				return nil, err
			}
		case (marker == "find" || marker == "bound") && (into == nil || into == &edits[last].replace):
			edits = append(edits, edit{file: file, bound: marker == "bound"})
			into = &edits[last+1].find
		case marker == "replace" && last >= 0 && into == &edits[last].find:
			into = &edits[last].replace
		case marker == "end" && last >= 0 && into == &edits[last].replace && strings.HasSuffix(text, "\n"+line):
			return edits, checkEdits(edits)
		default:
			return nil, fmt.Errorf(`line %q is out of place: want "--- find", the text, "--- replace", what stands in for it, and "--- end" as the last line`, line)
		}
	}
	return nil, errors.New(`its last line is not "--- end"`)
}

func checkEdits(edits []edit) error {
	if !slices.ContainsFunc(edits, func(e edit) bool { return !e.bound }) {
		return errors.New("it lowers bounds and has no bug")
	}
	for i, e := range edits {
		if e.find == "" || e.find == e.replace {
			return fmt.Errorf("edit %d finds nothing or changes nothing", i+1)
		}
	}
	return nil
}

func checkFile(file string) error {
	if !strings.HasPrefix(file, "system/") || path.Clean(file) != file || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
		return fmt.Errorf("file %q: want one of the production code, system/.../name.go", file)
	}
	return nil
}

// apply gives the sources with the bug in them, by file. A text that occurs not once is an error that tells what has to be done.
func (m *mutant) apply(read func(file string) (string, error)) (map[string]string, error) {
	changed := map[string]string{}
	for i, e := range m.edits {
		source, ok := changed[e.file]
		if !ok {
			var err error
			if source, err = read(e.file); err != nil {
				return nil, err
			}
		}
		if n := strings.Count(source, e.find); n != 1 {
			return nil, fmt.Errorf("edit %d: its text occurs %d times in %s and not once: the code has changed, so bring sim/mutants/%s%s up to it", i+1, n, e.file, m.Name, suffix)
		}
		changed[e.file] = strings.Replace(source, e.find, e.replace, 1)
	}
	return changed, nil
}

// bounds is the mutant without its bug; nil when it lowers no bound.
func (m *mutant) bounds() *mutant {
	control := *m
	control.edits = slices.DeleteFunc(slices.Clone(m.edits), func(e edit) bool { return !e.bound })
	if len(control.edits) == 0 {
		return nil
	}
	return &control
}

// inCheckout reads files of a checkout for apply.
func inCheckout(root string) func(file string) (string, error) {
	return func(file string) (string, error) {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		return string(text), err
	}
}
