// Command tidy prints the shape of the code beside that of the codebases it is modelled on, and fails when a figure is
// worse than what docs say we hold. Generated files do not count.
package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// limits are the figures to hold.
var limits = struct {
	fileMedian, fileP95, fileMax, funcMedian, funcP95 int
	packagesDocumented, exportsDocumented             float64
	testRatio, commentsMin, commentsMax               float64
}{150, 500, 999, 12, 50, 1, .95, 1, .18, .30}

// models, as counted by hand on 2026-11: upspin, restic, pebble, etcd/raft.
const models = `model        files med/p95/max   funcs med/p95   packages (doc)   deps   test/code   comments   exports doc
upspin       122/817/1293        11/61           89 (97%)         8      0.65        0.19       96%
restic       81/497/1355         9/59            62 (34%)         34     0.81        0.11       69%
pebble       164/1296/3282       7/65            104 (41%)        34     0.68        0.29       92%
etcd/raft    104/557/2162        7/49            7 (29%)          3      1.49        0.33       69%`

// shape is what was measured: lines of each file and function, and sums.
type shape struct {
	files, funcs               []int
	code, comments, tests      int
	packages, documented       map[string]bool
	exports, exportsDocumented int
	longFiles, longFuncs       []string
	undocumented               []string
}

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	s := newShape()
	if err := s.walk(root); err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		os.Exit(1)
	}
	if !s.report(os.Stdout, directDependencies(filepath.Join(root, "go.mod"))) {
		os.Exit(1)
	}
}

func newShape() *shape { return &shape{packages: map[string]bool{}, documented: map[string]bool{}} }

// walk measures every Go file below root, but for generated ones and those in folders whose names begin with a dot. A file
// that cannot be read or parsed ends it.
func (s *shape) walk(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		return s.file(path)
	})
}

func (s *shape) file(path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Count(string(src), "\n")
	if strings.HasSuffix(path, "_test.go") || testOnly(path) {
		s.tests += lines
		return nil
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
	if err != nil {
		return err
	}
	s.files = append(s.files, lines)
	s.code += lines
	if lines > limits.fileP95 {
		s.longFiles = append(s.longFiles, fmt.Sprintf("%s: %d lines", path, lines))
	}
	for _, group := range f.Comments {
		s.comments += fset.Position(group.End()).Line - fset.Position(group.Pos()).Line + 1
	}
	dir := filepath.Dir(path)
	s.packages[dir] = true
	if f.Doc != nil {
		s.documented[dir] = true
	}
	for _, decl := range f.Decls {
		s.decl(fset, path, decl)
	}
	return nil
}

// testOnly tells whether a file lies in, or below, a folder whose name ends with "test".
func testOnly(path string) bool {
	for _, part := range strings.Split(filepath.ToSlash(filepath.Dir(path)), "/") {
		if strings.HasSuffix(part, "test") {
			return true
		}
	}
	return false
}

func (s *shape) decl(fset *token.FileSet, path string, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		n := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
		s.funcs = append(s.funcs, n)
		if n > 70 {
			s.longFuncs = append(s.longFuncs, fmt.Sprintf("%s: %s has %d lines", path, d.Name.Name, n))
		}
		if exportedReceiver(d) {
			s.export(path, d.Name, d.Doc != nil)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch sp := spec.(type) {
			case *ast.TypeSpec:
				s.export(path, sp.Name, d.Doc != nil || sp.Doc != nil || sp.Comment != nil)
			case *ast.ValueSpec:
				for _, name := range sp.Names {
					s.export(path, name, d.Doc != nil || sp.Doc != nil || sp.Comment != nil)
				}
			}
		}
	}
}

// exportedReceiver leaves out methods of unexported types.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch index := t.(type) {
	case *ast.IndexExpr: // of one type parameter
		t = index.X
	case *ast.IndexListExpr: // of several
		t = index.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

func (s *shape) export(path string, name *ast.Ident, documented bool) {
	if !name.IsExported() {
		return
	}
	s.exports++
	if documented {
		s.exportsDocumented++
	} else {
		s.undocumented = append(s.undocumented, path+": "+name.Name)
	}
}

// quantile is the value at the share q of the sorted values; it sorts them. Of none it is 0.
func quantile(v []int, q float64) int {
	if len(v) == 0 {
		return 0
	}
	sort.Ints(v)
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// report prints ours below the models' and what is not held, with up to 20 details each. It tells whether all is held; a tree
// without code does not, since a wrong path would otherwise be in the best of shapes.
func (s *shape) report(out io.Writer, deps int) bool {
	if s.code == 0 || len(s.packages) == 0 {
		fmt.Fprintln(out, "not held: there is no code here")
		return false
	}
	fileMed, fileP95, fileMax := quantile(s.files, .5), quantile(s.files, .95), quantile(s.files, 1)
	funcMed, funcP95 := quantile(s.funcs, .5), quantile(s.funcs, .95)
	packages := float64(len(s.documented)) / float64(len(s.packages))
	tests, comments := float64(s.tests)/float64(s.code), float64(s.comments)/float64(s.code)
	exports := float64(s.exportsDocumented) / float64(max(s.exports, 1))
	fmt.Fprintln(out, models)
	fmt.Fprintf(out, "%-12s %-19s %-15s %-16s %-6d %-11.2f %-10.2f %.0f%%\n", "ours", fmt.Sprintf("%d/%d/%d", fileMed, fileP95, fileMax),
		fmt.Sprintf("%d/%d", funcMed, funcP95), fmt.Sprintf("%d (%.0f%%)", len(s.packages), 100*packages), deps, tests, comments, 100*exports)
	fmt.Fprintf(out, "%d files, %d lines of code, %d of tests\n", len(s.files), s.code, s.tests)
	ok := true
	hold := func(good bool, what string, details []string) {
		if good {
			return
		}
		ok = false
		fmt.Fprintln(out, "not held:", what)
		for _, d := range details[:min(len(details), 20)] {
			fmt.Fprintln(out, "   ", d)
		}
	}
	hold(fileMed <= limits.fileMedian && fileP95 <= limits.fileP95 && fileMax <= limits.fileMax, "files: median <= 150, p95 <= 500, all < 1000 lines", s.longFiles)
	hold(funcMed <= limits.funcMedian && funcP95 <= limits.funcP95, "functions: median <= 12, p95 <= 50 lines", s.longFuncs)
	hold(packages >= limits.packagesDocumented, "every package is documented", undocumentedPackages(s))
	hold(exports >= limits.exportsDocumented, "exports documented >= 95%", s.undocumented)
	hold(tests >= limits.testRatio, "as many lines of tests as of code", nil)
	hold(comments >= limits.commentsMin && comments <= limits.commentsMax, "comments between 0.18 and 0.30 of the lines", nil)
	return ok
}

func undocumentedPackages(s *shape) []string {
	var out []string
	for p := range s.packages {
		if !s.documented[p] {
			out = append(out, p)
		}
	}
	sort.Strings(out)
	return out
}

// directDependencies counts what a go.mod requires and does not mark as indirect; 0 when there is none.
func directDependencies(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	n, in := 0, false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		switch {
		case strings.HasPrefix(line, "require ("):
			in = true
		case line == ")":
			in = false
		case (in || strings.HasPrefix(line, "require ")) && line != "" && !strings.HasSuffix(line, "// indirect"):
			n++
		}
	}
	return n
}
