package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `file: system/a/b.go
bug: it forgets
contract: C3
seeds: 7
--- find
	one
--- replace
	uno
--- find
two
--- replace
--- end
`

// TestParse: every part of a file arrives where it belongs, to the last line break.
func TestParse(t *testing.T) {
	m, err := parse("name", good)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "name" || m.File != "system/a/b.go" || m.Bug != "it forgets" || m.Contract != "C3" || m.Seeds != 7 || m.Explained != "" {
		t.Errorf("%+v", m)
	}
	if len(m.edits) != 2 || m.edits[0] != (edit{m.File, "\tone\n", "\tuno\n", false}) || m.edits[1] != (edit{m.File, "two\n", "", false}) {
		t.Errorf("%+v", m.edits)
	}
	m, err = parse("name", strings.Replace(good, "--- find\ntwo", "--- in system/c.go\n--- find\ntwo", 1))
	if err != nil || m.edits[0].file != "system/a/b.go" || m.edits[1].file != "system/c.go" || m.edits[0].replace != "\tuno\n" {
		t.Errorf("%v, %+v", err, m.edits)
	}
	if m.bounds() != nil {
		t.Error("bounds where there are none")
	}
	m, err = parse("name", strings.Replace(good, "--- find\ntwo", "--- bound\ntwo", 1))
	if err != nil || m.edits[0].bound || !m.edits[1].bound || len(m.bounds().edits) != 1 || m.bounds().edits[0] != m.edits[1] || len(m.edits) != 2 {
		t.Errorf("%v, %v", err, m.edits)
	}
	m, err = parse("name", strings.Replace(good, "seeds: 7\n", "seeds: 7\nexplained: not in the model: see DESIGN\n", 1))
	if err != nil || m.Explained != "not in the model: see DESIGN" {
		t.Errorf("%v, %+v", err, m)
	}
}

// TestParseMistakes: what a file lacks or has too much of is told with its name, and all of it at once.
func TestParseMistakes(t *testing.T) {
	change := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	for name, c := range map[string]struct{ text, want string }{
		"no seeds":         {change("seeds: 7\n", ""), "seeds is missing"},
		"no number":        {change("seeds: 7", "seeds: many"), "want 1 to"},
		"too many seeds":   {change("seeds: 7", "seeds: 1000000"), "want 1 to"},
		"no seed":          {change("seeds: 7", "seeds: 0"), "want 1 to"},
		"unknown key":      {change("bug:", "bugs:"), `unknown key "bugs"`},
		"twice":            {change("seeds: 7", "seeds: 7\nseeds: 8"), "seeds is given twice"},
		"no value":         {change("C3", ""), "has no value"},
		"not ours":         {change("system/a", "sim/a"), "production code"},
		"outside":          {change("system/a", "system/../sim"), "production code"},
		"a test":           {change("b.go", "b_test.go"), "production code"},
		"no edits":         {good[:strings.Index(good, "---")], `"--- find"`},
		"in of no file":    {change("--- find\ntwo", "--- in sim/c.go\n--- find\ntwo"), "production code"},
		"bounds alone":     {strings.ReplaceAll(good, "--- find", "--- bound"), "no bug"},
		"in after find":    {change("two\n", "--- in system/c.go\n"), "out of place"},
		"no end":           {strings.TrimSuffix(good, "--- end\n"), "--- end"},
		"text behind":      {good + "more\n", "--- end"},
		"no replacement":   {change("--- replace\n\tuno\n", ""), "out of place"},
		"changes nothing":  {change("uno", "one"), "changes nothing"},
		"finds nothing":    {change("\tone\n", ""), "finds nothing"},
		"several mistakes": {"bug: x\n", "file is missing\nsim/mutants/name.mutant: contract is missing"},
	} {
		if _, err := parse("name", c.text); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "sim/mutants/name.mutant") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestApply: a text is found once or not at all, and each edit sees what the ones before it have made.
func TestApply(t *testing.T) {
	m, err := parse("name", good)
	if err != nil {
		t.Fatal(err)
	}
	m.edits = append(m.edits, edit{"system/c.go", "five\n", "", false})
	read := func(source string) func(string) (string, error) {
		return func(file string) (string, error) {
			if file == "system/c.go" {
				return "four\nfive\n", nil
			}
			return source, nil
		}
	}
	got, err := m.apply(read("zero\n\tone\ntwo\nthree\n"))
	if err != nil || got["system/a/b.go"] != "zero\n\tuno\nthree\n" || got["system/c.go"] != "four\n" || len(got) != 2 {
		t.Errorf("%q, %v", got, err)
	}
	for source, want := range map[string]string{
		"\tone\n":             "edit 2: its text occurs 0 times in system/a/b.go",
		"\tone\n\tone\ntwo\n": "edit 1: its text occurs 2 times",
	} {
		if _, err := m.apply(read(source)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "sim/mutants/name.mutant") {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
	if _, err := m.apply(inCheckout(t.TempDir())); err == nil {
		t.Error("a file that is not there is changed")
	}
}

// TestLoad: the mutants of a folder in the order of their names; the mistakes of all files at once; an empty folder is a mistake.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := load(dir); err == nil || !strings.Contains(err.Error(), "there is no file") {
		t.Errorf("an empty folder: %v", err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.mutant", good)
	write("a.mutant", good)
	write("readme.md", "not one")
	all, err := load(dir)
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" {
		t.Errorf("%v, %v", all, err)
	}
	write("c.mutant", "bug: x\n")
	write("d.mutant", "seeds: x\n")
	if _, err := load(dir); err == nil || !strings.Contains(err.Error(), "c.mutant") || !strings.Contains(err.Error(), "d.mutant") {
		t.Errorf("two bad files: %v", err)
	}
}

// TestOurMutants: those of this checkout are well formed and fit the code as it is, without a build.
func TestOurMutants(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	all, err := load(filepath.Join(root, "sim", "mutants"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if _, err := m.apply(inCheckout(root)); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}
