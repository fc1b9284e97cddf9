package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// tree writes files below a new folder and measures it.
func tree(t *testing.T, files map[string]string) (*shape, string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newShape()
	if err := s.walk(root); err != nil {
		t.Fatal(err)
	}
	return s, root
}

// TestWhatCounts: tests and packages for tests count as tests; generated files and hidden folders do not count at all.
func TestWhatCounts(t *testing.T) {
	three := "package p\n\nvar x = 1\n"
	s, _ := tree(t, map[string]string{
		"a/a.go": three, "a/a_test.go": three + "// more\n", "a/atest/suite.go": three, "a/atest/deep/x.go": three, "a/latest.go": three,
		"a/a.pb.go": three, ".hidden/x.go": "not Go at all", "a/readme.md": three, "b/.git/x.go": "nor this",
	})
	if s.code != 6 || s.tests != 4+3+3 || len(s.files) != 2 || len(s.packages) != 1 {
		t.Errorf("%d lines of code in %d files, %d of tests, %d packages", s.code, len(s.files), s.tests, len(s.packages))
	}
}

// TestComments: whole lines of comments count, of every form, and so does a line that ends in one.
func TestComments(t *testing.T) {
	for text, want := range map[string]int{
		"// Package p.\npackage p\n":                               1,
		"// Package p is\n// two lines.\npackage p\n":              2,
		"package p\n\n/* a\nb\nc */\nvar x = 1\n":                  3,
		"package p\n\nvar x = 1 // at the end\n":                   1,
		"package p\n\nvar x = `// no comment\n// nor this`\n":      0,
		"package p\n\nfunc f() {\n\t// in\n\n\t// two groups\n}\n": 2,
	} {
		s, _ := tree(t, map[string]string{"p.go": text})
		if s.comments != want {
			t.Errorf("%q: %d lines of comments, want %d", text, s.comments, want)
		}
	}
}

// TestExports: exported names of every sort are counted, documented by their own comment, their group's or the line's; methods
// of unexported types, and what is not exported, are not.
func TestExports(t *testing.T) {
	for text, want := range map[string][2]int{ // exported, documented
		"func F() {}":           {1, 0},
		"// F is.\nfunc F() {}": {1, 1},
		"func f() {}":           {0, 0},
		"type T struct{}\n// M does.\nfunc (T) M() {}":                            {2, 1},
		"type t struct{}\nfunc (t) M() {}":                                        {0, 0},
		"type t struct{}\nfunc (*t) M() {}":                                       {0, 0},
		"// T is.\ntype T[K any] struct{}\nfunc (*T[K]) M() {}":                   {2, 1},
		"// T is.\ntype T[K, V any] struct{}\n// M does.\nfunc (*T[K, V]) M() {}": {2, 2},
		"const (\n\tA = 1 // one\n\tB = 2\n)":                                     {2, 1},
		"// All of them.\nconst (\n\tA = 1\n\tB = 2\n)":                           {2, 2},
		"var A, B, c int": {2, 0},
	} {
		s, _ := tree(t, map[string]string{"p.go": "package p\n\n" + text + "\n"})
		if got := [2]int{s.exports, s.exportsDocumented}; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if len(s.undocumented) != want[0]-want[1] {
			t.Errorf("%q: undocumented %q", text, s.undocumented)
		}
	}
}

// TestLongThings: a file or function over its bound is named, one at the bound is not; a function's lines are those from its
// signature to its brace, without its comment.
func TestLongThings(t *testing.T) {
	function := func(lines int) string {
		return "// F is.\n// It is.\nfunc F() {\n" + strings.Repeat("\tx++\n", lines-2) + "}\n"
	}
	for lines, want := range map[int]int{70: 0, 71: 1} {
		s, _ := tree(t, map[string]string{"p.go": "package p\n\n" + function(lines)})
		if len(s.longFuncs) != want || s.funcs[0] != lines {
			t.Errorf("%d lines: %v, long %q", lines, s.funcs, s.longFuncs)
		}
	}
	for lines, want := range map[int]int{500: 0, 501: 1} {
		s, _ := tree(t, map[string]string{"p.go": "package p\n" + strings.Repeat("\n", lines-1)})
		if len(s.longFiles) != want || s.files[0] != lines {
			t.Errorf("%d lines: %v, long %q", lines, s.files, s.longFiles)
		}
	}
}

// TestPackages: a package is documented by any of its files.
func TestPackages(t *testing.T) {
	s, root := tree(t, map[string]string{
		"a/doc.go": "// Package a is.\npackage a\n", "a/a.go": "package a\n", "b/b.go": "package b\n", "c/c.go": "// Package c is.\npackage c\n",
	})
	if got, want := undocumentedPackages(s), []string{filepath.Join(root, "b")}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestBrokenCode is an error with the file's name, not a file that does not count.
func TestBrokenCode(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "broken.go"), []byte("package p\nfunc {"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newShape().walk(dir); err == nil || !strings.Contains(err.Error(), "broken.go") {
		t.Errorf("%v", err)
	}
	if err := newShape().walk(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there has a shape")
	}
}

// TestQuantile: the value below which the share lies, also at the ends and of few.
func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[(i*37)%100] = i + 1
	}
	for _, tt := range []struct {
		v    []int
		q    float64
		want int
	}{{nil, .5, 0}, {[]int{7}, 0, 7}, {[]int{7}, 1, 7}, {[]int{3, 1, 2}, .5, 2}, {[]int{4, 1, 3, 2}, .5, 3}, {hundred, .95, 96}, {hundred, 1, 100}, {hundred, 0, 1}} {
		if got := quantile(tt.v, tt.q); got != tt.want {
			t.Errorf("%v at %v: %d, want %d", tt.v, tt.q, got, tt.want)
		}
	}
}

// good is a shape that holds every figure, just.
func good() *shape {
	s := newShape()
	s.code, s.tests, s.comments = 1000, 1000, 180
	s.files, s.funcs = []int{150, 150, 150}, []int{12, 12, 12}
	s.packages["p"], s.documented["p"] = true, true
	s.exports, s.exportsDocumented = 100, 95
	return s
}

// TestReport: at its bounds a shape holds; beyond any of them it does not, and the report says which.
func TestReport(t *testing.T) {
	var all strings.Builder
	if !good().report(&all, 18) || strings.Contains(all.String(), "not held") || !strings.Contains(all.String(), "ours") {
		t.Errorf("a good shape:\n%s", all.String())
	}
	for name, tt := range map[string]struct {
		spoil func(s *shape)
		want  string
	}{
		"median of files":  {func(s *shape) { s.files = []int{1, 151, 151} }, "files"},
		"p95 of files":     {func(s *shape) { s.files = []int{1, 1, 501} }, "files"},
		"a huge file":      {func(s *shape) { s.files = append(make([]int, 100), 1000) }, "files"},
		"median of funcs":  {func(s *shape) { s.funcs = []int{1, 13, 13} }, "functions"},
		"p95 of funcs":     {func(s *shape) { s.funcs = []int{1, 1, 51} }, "functions"},
		"a package":        {func(s *shape) { s.packages["q"] = true }, "every package"},
		"exports":          {func(s *shape) { s.exportsDocumented = 94; s.undocumented = []string{"p.go: Name"} }, "p.go: Name"},
		"too few tests":    {func(s *shape) { s.tests = 999 }, "tests"},
		"too few comments": {func(s *shape) { s.comments = 179 }, "comments"},
		"too many":         {func(s *shape) { s.comments = 301 }, "comments"},
	} {
		s := good()
		tt.spoil(s)
		var out strings.Builder
		held := s.report(&out, 18)
		_, complaint, found := strings.Cut(out.String(), "not held: ")
		if held || !found || !strings.Contains(complaint, tt.want) || strings.Count(out.String(), "not held") != 1 {
			t.Errorf("%s: held %v\n%s", name, held, out.String())
		}
	}
	s := good()
	s.undocumented, s.exportsDocumented = nil, 0
	for i := range 100 {
		s.undocumented = append(s.undocumented, fmt.Sprint("name", i))
	}
	var out strings.Builder
	if s.report(&out, 0); strings.Count(out.String(), "name") != 20 {
		t.Errorf("%d details are listed, want 20", strings.Count(out.String(), "name"))
	}
	if newShape().report(io.Discard, 0) {
		t.Error("nothing at all holds every figure")
	}
}

// TestDirectDependencies: required lines that are not marked indirect, in blocks and alone.
func TestDirectDependencies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "go.mod")
	text := "module m\n\ngo 1.26\n\nrequire a v1\n\nrequire (\n\tb v1\n\tc v2 // indirect\n\n\td v3\n)\n\nrequire (\n\te v1 // indirect\n)\n\ntool x\n\nrequire f v1 // indirect\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := directDependencies(path); got != 3 {
		t.Errorf("%d, want 3", got)
	}
	if got := directDependencies(path + ".none"); got != 0 {
		t.Errorf("no file: %d", got)
	}
}

// TestReceivers: only methods of exported types are of account.
func TestReceivers(t *testing.T) {
	for text, want := range map[string]bool{
		"func F() {}": true, "func (T) F() {}": true, "func (*T) F() {}": true, "func (t) F() {}": false, "func (*t) F() {}": false,
		"func (T[K]) F() {}": true, "func (*T[K, V]) F() {}": true, "func (*t[K, V]) F() {}": false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", "package p\n"+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := exportedReceiver(f.Decls[0].(*ast.FuncDecl)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
