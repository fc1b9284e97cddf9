package system

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// forbidden lists, by import path, what production code takes from system/host instead. "*" is every function.
var forbidden = map[string][]string{
	"time":         {"Now", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Since", "Until"},
	"context":      {"WithTimeout", "WithDeadline", "WithTimeoutCause", "WithDeadlineCause", "WithCancel", "WithCancelCause", "AfterFunc"},
	"math/rand":    {"*"},
	"math/rand/v2": {"Int", "IntN", "Int64", "Int64N", "Uint32", "Uint64", "Uint64N", "Float64", "Perm", "Shuffle", "N"},
	"crypto/rand":  {"*"},
	"net":          {"Listen", "Dial", "DialTimeout"},
	"os":           {"Open", "OpenFile", "Create", "ReadFile", "WriteFile", "Remove", "RemoveAll", "Rename", "Mkdir", "MkdirAll", "ReadDir", "Stat", "Exit"},
	"sync":         {"NewCond"},
}

// exempt lists packages that touch the world by nature, and why.
var exempt = map[string]string{
	"system/host":                "it is the seam",
	"system/journal/raftjournal": "hashicorp/raft has its own time, tasks and network; the simulator has a journal of its own",
	"system/ufs/local":           "the under store is the machine's file system, reached as os.Root confines it",
	"system/ufs/s3":              "the under store is another system, reached by a library with its own connections",
	"system/config":              "configuration is read from files and the environment before there is a host",
	"system/metrics":             "the HTTP server for probes serves the machine's operators, not the simulated world",
	"system/proto":               "generated",
	"system/node":                "it builds processes on the machine: signals, lock files, HTTP",
}

func isExempt(pkg string) bool {
	for p := range exempt {
		if pkg == p {
			return true
		}
	}
	return false
}

// testOnly tells whether a package serves tests alone, by its name: conformance suites and what they start.
func testOnly(pkg string) bool {
	for part := range strings.SplitSeq(pkg, "/") {
		if strings.HasSuffix(part, "test") {
			return true
		}
	}
	return false
}

// TestSeam: time, tasks, randomness, network and disk only through system/host.
func TestSeam(t *testing.T) {
	files := 0
	for _, root := range []string{".", "../fuse"} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // a folder that does not exist yet
			}
			pkg := strings.TrimPrefix(filepath.ToSlash(filepath.Join("system", filepath.Dir(path))), "../")
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				isExempt(pkg) || testOnly(pkg) {
				return nil
			}
			files++
			src, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				return nil
			}
			for _, fault := range aroundTheSeam(src) {
				t.Errorf("%s: %s: take it from system/host", path, fault)
			}
			return nil
		})
	}
	if files < 30 {
		t.Fatalf("only %d files looked at: the walk is broken", files)
	}
}

// aroundTheSeam names what a file does past the host.
func aroundTheSeam(f *ast.File) []string {
	names := map[string]string{} // local name -> import path
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if path == "math/rand/v2" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	var faults []string
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			faults = append(faults, "a bare go statement")
		case *ast.SelectStmt:
			faults = append(faults, "a select statement")
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok && refuses(names[id.Name], n.Sel.Name) {
				faults = append(faults, fmt.Sprintf("%s.%s", id.Name, n.Sel.Name))
			}
		}
		return true
	})
	return faults
}

func refuses(path, name string) bool {
	for _, f := range forbidden[path] {
		if f == name || f == "*" {
			return true
		}
	}
	return false
}

// TestSeamSees: the lint finds each kind of bypass.
func TestSeamSees(t *testing.T) {
	const source = `package p
import ("context"; "time"; clock "time"; "math/rand/v2"; "os")
func f(c chan int) {
	go f(c)
	select { case <-c: default: }
	_ = time.Now()
	clock.Sleep(1)
	context.WithTimeout(nil, 1)
	_ = rand.IntN(3)
	os.Open("x")
	_ = rand.New(nil)
	_ = time.Second
}`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := aroundTheSeam(f); len(got) != 7 {
		t.Errorf("found %d of 7 bypasses: %q", len(got), got)
	}
}
