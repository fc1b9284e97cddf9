package ufstest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// testRandom does random operations on the store and on the model, which is the one in memory, and compares what both answer: the kind of each
// error, and now and then the whole tree. Names are few, so that operations meet each other's results; some are such that
// the order of keys and of names differ ("a." sorts before "a/").
func testRandom(t *testing.T, f *fixture) {
	if f.o.Model == nil {
		return
	}
	names := []string{"a", "a.", "a-b", "b", "é"}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 77))
		top := fmt.Sprint("run", seed)
		model := f.o.Model()
		f.ok("mkdir", f.s.Mkdir(f.ctx, top, 0o755))
		f.ok("mkdir", model.Mkdir(f.ctx, top, 0o755))
		path := func() string {
			p := top
			for range 1 + r.IntN(3) {
				p = ufs.Join(p, names[r.IntN(len(names))])
			}
			return p
		}
		for step := range 120 {
			from, to, operation := path(), path(), r.IntN(9)
			content := strings.Repeat(fmt.Sprint(step, " "), r.IntN(50))
			what, do := randomStep(f, operation, from, to, content)
			if f.o.NoFileAsDirectory && crossesAnObject(f, model, operation, from, to) {
				continue // there an object and a directory of one name live side by side, which the model has not
			}
			want, got := do(model), do(f.s)
			if f.o.Retried && got == nil && dfs.IsKind(want, dfs.NotFound) && operation >= 5 && operation <= 7 {
				continue
			}
			if kindOf(want) != kindOf(got) {
				t.Fatalf("seed %d, step %d, %s: %v, in memory %v", seed, step, what, got, want)
			}
			if step%20 == 19 {
				if got, want := tree(f, f.s, top), tree(f, model, top); !slices.Equal(got, want) {
					t.Fatalf("seed %d, step %d, %s:\n%q, in memory\n%q", seed, step, what, got, want)
				}
			}
		}
	}
}

// kindOf is an error's kind; 0 for none.
func kindOf(err error) dfs.Kind {
	if err == nil {
		return 0
	}
	return dfs.KindOf(err)
}

// randomStep is one operation, for either store.
func randomStep(f *fixture, operation int, from, to, content string) (what string, do func(s ufs.Store) error) {
	switch operation {
	case 0, 1, 2, 3:
		return "write " + from, func(s ufs.Store) error {
			w, err := s.Create(f.ctx, from, 0o644)
			if err != nil {
				return err
			}
			defer w.Abort()
			if _, err = w.Write([]byte(content)); err == nil {
				_, err = w.Commit(f.ctx)
			}
			return err
		}
	case 4:
		return "mkdir " + from, func(s ufs.Store) error { return s.Mkdir(f.ctx, from, 0o755) }
	case 5, 6:
		return "remove " + from, func(s ufs.Store) error { return s.Remove(f.ctx, from) }
	case 7:
		return "rename " + from + " to " + to, func(s ufs.Store) error { return s.Rename(f.ctx, from, to) }
	}
	return "stat " + from, func(s ufs.Store) error { _, err := s.Stat(f.ctx, from); return err }
}

// crossesAnObject tells whether an operation would put a directory where an object is, or the other way round, or depends on
// directories that are there without an object below them.
func crossesAnObject(f *fixture, model ufs.Store, operation int, from, to string) bool {
	paths := []string{from}
	if operation == 7 {
		paths = append(paths, to)
	}
	for _, p := range paths {
		for dir, _ := ufs.Split(p); dir != ""; dir, _ = ufs.Split(dir) {
			if e, err := model.Stat(f.ctx, dir); err != nil || !e.Dir {
				return true
			}
		}
		e, err := model.Stat(f.ctx, p)
		if operation < 5 && err == nil && e.Dir != (operation == 4) || operation == 7 {
			return true
		}
		if operation == 5 || operation == 6 { // the last object of a directory takes the directory with it
			return true
		}
	}
	return false
}

// tree lists everything below dir with its content.
func tree(f *fixture, s ufs.Store, dir string) (all []string) {
	f.Helper()
	for e, err := range s.List(f.ctx, dir, "") {
		if err != nil {
			f.Fatalf("list %q: %v", dir, err)
		}
		path := ufs.Join(dir, e.Name)
		if e.Dir {
			all = append(all, path+"/")
			all = append(all, tree(f, s, path)...)
			continue
		}
		all = append(all, fmt.Sprintf("%s %d %q", path, e.Size, Get(f.ctx, f, s, path, 0, 1<<20)))
	}
	return all
}
