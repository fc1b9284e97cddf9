package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
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
// A text to find must occur exactly once in the file. There may be more than one pair of find and replace.
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

type edit struct{ find, replace string }

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
	head, body, found := strings.Cut(text, "--- find\n")
	if !found {
		wrong(`there is no line "--- find"`)
	}
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
	if m.edits, err = parseEdits("--- find\n" + body); found && err != nil {
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
		if !strings.HasPrefix(value, "system/") || path.Clean(value) != value || !strings.HasSuffix(value, ".go") || strings.HasSuffix(value, "_test.go") {
			return fmt.Errorf("file %q: want one of the production code, system/.../name.go", value)
		}
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

// parseEdits reads pairs of find and replace, up to a line "--- end" that ends the file.
func parseEdits(text string) ([]edit, error) {
	var edits []edit
	for {
		var e edit
		rest, ok := strings.CutPrefix(text, "--- find\n")
		if ok {
			e.find, rest, ok = strings.Cut(rest, "--- replace\n")
		}
		if !ok {
			return nil, errors.New(`want a line "--- find", the text, a line "--- replace", what stands in for it, and "--- end"`)
		}
		end := strings.Index(rest, "--- find\n")
		last := end < 0
		if last {
			if end = strings.LastIndex(rest, "--- end\n"); end < 0 || end+len("--- end\n") != len(rest) {
				return nil, errors.New(`its last line is not "--- end"`)
			}
		}
		if e.replace = rest[:end]; e.find == "" || e.find == e.replace || strings.Contains(e.find, "--- find\n") {
			return nil, errors.New("an edit finds nothing or changes nothing")
		}
		edits = append(edits, e)
		if last {
			return edits, nil
		}
		text = rest[end:]
	}
}

// apply gives the source with the bug in it. A text that occurs not once is an error that tells what has to be done.
func (m *mutant) apply(source string) (string, error) {
	for i, e := range m.edits {
		if n := strings.Count(source, e.find); n != 1 {
			return "", fmt.Errorf("edit %d: its text occurs %d times in %s and not once: the code has changed, so bring sim/mutants/%s%s up to it", i+1, n, m.File, m.Name, suffix)
		}
		source = strings.Replace(source, e.find, e.replace, 1)
	}
	return source, nil
}
