package system

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/forebay/forebay/"

// layers lists packages bottom up: a package may import its own layer only when it is named in the same row's siblings,
// and every lower row. The longest prefix decides.
var layers = [][]string{
	{"system/dfs", "system/host"},
	{"system/config", "system/metrics", "system/proto"},
	{"system/rpc"},
	{"system/journal", "system/ufs", "system/master/inodestore", "system/master/mounttable", "system/master/blockmap",
		"system/master/workerregistry", "system/worker/eviction"},
	{"system/journal/raftjournal", "system/journal/memjournal", "system/journal/journaltest", "system/ufs/local", "system/ufs/s3", "system/ufs/mem",
		"system/ufs/ufstest", "system/worker/tier", "system/master/namespace", "system/master/inodestore/inodestoretest"},
	{"system/ufs/drivers", "system/worker/blockstore", "system/master/metasync"},
	{"system/client", "system/worker/dataserver"},
	{"system/master", "system/worker", "system/job"},
	{"system/gateway", "fuse"},
	{"system/node"},
	{"bench", "sim", "linearizability"},
	{"bench/fidelity"}, // compares the two below it
	{"cmd"},
}

// outside says where the research side may be linked: the production binary must not carry it.
var outside = []string{"bench", "sim", "linearizability", "workloads", "results", "paper"}

func layerOf(pkg string) (level int, row string) {
	level = -1
	for i, names := range layers {
		for _, n := range names {
			if (pkg == n || strings.HasPrefix(pkg, n+"/")) && len(n) > len(row) {
				level, row = i, n
			}
		}
	}
	return level, row
}

// imports lists each package folder of the repository with the Forebay packages that its production code imports.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(name, module); ok {
				out[pkg] = append(out[pkg], rest)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLayers: imports point down.
func TestLayers(t *testing.T) {
	all := imports(t)
	if len(all) < 15 {
		t.Fatalf("only %d packages found: the walk is broken", len(all))
	}
	for pkg, deps := range all {
		from, row := layerOf(pkg)
		if strings.HasPrefix(pkg, "system/") && from < 0 {
			t.Errorf("%s has no layer: add it to the table in this test", pkg)
		}
		for _, dep := range deps {
			to, other := layerOf(dep)
			if to > from || to == from && row != other && !strings.HasPrefix(dep, pkg) {
				t.Errorf("%s (layer %d) imports %s (layer %d): imports point down", pkg, from, dep, to)
			}
		}
	}
}

// TestProductionIsFreeOfResearch: system/ and cmd/forebay link neither the simulator nor checkers nor plots.
func TestProductionIsFreeOfResearch(t *testing.T) {
	for pkg, deps := range imports(t) {
		if !strings.HasPrefix(pkg, "system/") && !strings.HasPrefix(pkg, "cmd/forebay/") && pkg != "cmd/forebay" && pkg != "fuse" {
			continue
		}
		for _, dep := range deps {
			for _, o := range outside {
				if dep == o || strings.HasPrefix(dep, o+"/") {
					t.Errorf("%s imports %s, which belongs to forebay-lab", pkg, dep)
				}
			}
		}
	}
}
