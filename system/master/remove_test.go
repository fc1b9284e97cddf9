package master

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

// failsAt is a store that fails its n-th listing or removal, counted from 0, once.
type failsAt struct {
	ufs.Store
	n, calls int
	removed  []string
}

func (s *failsAt) call(what, path string) error {
	s.calls++
	if s.calls-1 == s.n {
		return dfs.Errorf(dfs.Unavailable, what, path, "the store refuses")
	}
	return nil
}

func (s *failsAt) List(ctx context.Context, dir, after string) iter.Seq2[ufs.Entry, error] {
	if err := s.call("list", dir); err != nil {
		return func(yield func(ufs.Entry, error) bool) { yield(ufs.Entry{}, err) }
	}
	return s.Store.List(ctx, dir, after)
}

func (s *failsAt) Remove(ctx context.Context, path string) error {
	if err := s.call("remove", path); err != nil {
		return err
	}
	err := s.Store.Remove(ctx, path)
	if err == nil {
		s.removed = append(s.removed, path)
	}
	return err
}

// someTree is a store with files and directories in t, and beside it.
func someTree(t *testing.T, h host.Host) *mem.Store {
	t.Helper()
	s := mem.New(h)
	for _, p := range []string{"t", "t/a", "t/a/deep", "t/a/deep/er", "t/b", "tt", "s"} {
		if err := s.Mkdir(context.Background(), p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"t/1", "t/a/2", "t/a/deep/er/3", "tt/4", "z"} {
		w, err := s.Create(context.Background(), p, 0o644)
		if err == nil {
			_, err = w.Commit(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// there tells whether a store has something at a path.
func there(s ufs.Store, path string) bool {
	_, err := s.Stat(context.Background(), path)
	return err == nil
}

// TestRemoveTreeFailsAtEachCall: whichever call to the store fails, its error is told, no directory went before what is in
// it and nothing beside the tree went; running it again takes the rest.
func TestRemoveTreeFailsAtEachCall(t *testing.T) {
	h, ctx := host.NewReal(), context.Background()
	for n := 0; ; n++ {
		s := &failsAt{Store: someTree(t, h), n: n}
		err := removeTree(ctx, h, s, "t")
		failed := s.calls > n
		if failed != dfs.IsKind(err, dfs.Unavailable) || !failed && err != nil {
			t.Fatalf("call %d failed %v: %v", n, failed, err)
		}
		if failed != there(s, "t") {
			t.Errorf("call %d failed %v, and the top is there %v", n, failed, !failed)
		}
		if failed {
			if err := removeTree(ctx, h, s, "t"); err != nil {
				t.Errorf("after call %d: again: %v", n, err)
			}
		}
		for i, p := range s.removed {
			if slices.ContainsFunc(s.removed[i:], func(later string) bool { return strings.HasPrefix(later, p+"/") }) {
				t.Errorf("after call %d: %s went before what it holds: %v", n, p, s.removed)
			}
		}
		if len(s.removed) != 8 || s.removed[7] != "t" {
			t.Errorf("after call %d: removed %v", n, s.removed)
		}
		for _, p := range []string{"tt", "tt/4", "s", "z"} {
			if !there(s, p) {
				t.Errorf("after call %d: %s, beside the tree, is gone", n, p)
			}
		}
		if !failed {
			if n < 13 { // five listings and eight removals
				t.Errorf("only %d calls", n)
			}
			return
		}
	}
}

// TestRemoveTreePace: a directory that never empties is tried so often, with a pause between, and given up; a caller that
// goes away ends it earlier. A tree that is not there is NotFound, which tells the caller that it has gone.
func TestRemoveTreePace(t *testing.T) {
	for name, c := range map[string]struct {
		limit    time.Duration
		want     dfs.Kind
		min, max time.Duration
	}{
		"gives up": {time.Hour, dfs.NotEmpty, (removeTries - 1) * removePause, (removeTries-1)*removePause + removePause/2},
		"ends":     {3*removePause + removePause/2, dfs.DeadlineExceeded, 3 * removePause, 4 * removePause},
	} {
		v := hosttest.NewVirtual(1)
		err := v.Run(func() {
			s := &refusing{Store: mem.New(v), op: "remove", path: "d", kind: dfs.NotEmpty}
			if err := s.Mkdir(context.Background(), "d", 0o755); err != nil {
				t.Error(err)
			}
			ctx, cancel := v.WithTimeout(context.Background(), c.limit)
			defer cancel()
			began := v.Now()
			err := removeTree(ctx, v, s, "d")
			if took := v.Now().Sub(began); !dfs.IsKind(err, c.want) || took < c.min || took > c.max {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			if err := removeTree(context.Background(), v, s, "none"); !dfs.IsKind(err, dfs.NotFound) {
				t.Errorf("%s: a tree that is not there: %v", name, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestWhoMayRemoveTrees: a recursive removal needs the right on each directory that holds anything, and a refusal takes
// nothing from either tree. An empty directory needs none of its own.
func TestWhoMayRemoveTrees(t *testing.T) {
	for name, c := range map[string]struct {
		modes map[string]uint32
		want  dfs.Kind
	}{
		"all open":             {map[string]uint32{}, 0},
		"empty one shut":       {map[string]uint32{"/m/d/empty": 0o700}, 0},
		"files shut":           {map[string]uint32{"/m/d/f": 0o600, "/m/d/sub/g": 0o400}, 0},
		"full one shut":        {map[string]uint32{"/m/d/sub": 0o700}, dfs.PermissionDenied},
		"full one read-only":   {map[string]uint32{"/m/d/sub": 0o755}, dfs.PermissionDenied},
		"full one not search":  {map[string]uint32{"/m/d/sub": 0o776}, dfs.PermissionDenied},
		"top shut":             {map[string]uint32{"/m/d": 0o755}, dfs.PermissionDenied},
		"parent shut":          {map[string]uint32{"/m": 0o755}, dfs.PermissionDenied},
		"sticky parent":        {map[string]uint32{"/m": 0o1777}, dfs.PermissionDenied},
		"write without read":   {map[string]uint32{"/m/d/sub": 0o773}, 0},
		"deep inside one shut": {map[string]uint32{"/m/d/sub/deep": 0o711}, dfs.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			r := mounted(t)
			dirs := []string{"/m/d", "/m/d/empty", "/m/d/sub", "/m/d/sub/deep"}
			for _, p := range dirs {
				r.must(opMkdir(p))
			}
			for _, p := range []string{"/m/d/f", "/m/d/sub/g", "/m/d/sub/deep/h"} {
				r.mustPut(p, "THROUGH")
			}
			for _, p := range append([]string{"/m"}, dirs...) {
				r.must(opMode(p, 0o777, false))
			}
			for p, mode := range c.modes {
				r.must(opMode(p, mode, false))
			}
			before := r.tree("/m")
			r.user = "bob"
			_, err := r.do(opRemove("/m/d", true))
			if err != nil && !dfs.IsKind(err, c.want) || err == nil && c.want != 0 {
				t.Errorf("%v, want kind %v", err, c.want)
			}
			r.user = "root"
			if after := r.tree("/m"); (after == before) != (c.want != 0) {
				t.Errorf("afterwards:\n%s", after)
			}
			for _, p := range []string{"d", "d/f", "d/empty", "d/sub/deep/h"} {
				if got := r.inStore(p); (got == "nothing") != (c.want == 0) {
					t.Errorf("the store has a %s at %s", got, p)
				}
			}
		})
	}
}

// TestRefusedRemovals: what is told before anything is removed anywhere, and what a removal of the cache alone leaves.
func TestRefusedRemovals(t *testing.T) {
	r := mounted(t)
	r.must(opMkdir("/m/d"))
	r.mustPut("/m/d/f", "THROUGH")
	r.must(opMkdir("/m/empty"))
	before := r.tree("/")
	for name, c := range map[string]struct {
		path      string
		recursive bool
		want      dfs.Kind
	}{
		"a full directory": {"/m/d", false, dfs.NotEmpty},
		"nothing":          {"/m/none", false, dfs.NotFound},
		"nothing, all":     {"/m/none", true, dfs.NotFound},
		"below a file":     {"/m/d/f/x", true, dfs.NotDirectory},
	} {
		if _, err := r.do(opRemove(c.path, c.recursive)); !dfs.IsKind(err, c.want) {
			t.Errorf("%s: %v, want kind %v", name, err, c.want)
		}
	}
	for _, p := range []string{"/", "/m"} { // a root and a mount point stay, whatever is asked
		if _, err := r.do(opRemove(p, true)); err == nil {
			t.Errorf("%s was removed", p)
		}
	}
	if after := r.tree("/"); after != before || r.inStore("d/f") != "file" {
		t.Errorf("something went:\n%s\nwas\n%s", after, before)
	}
	cached := opRemove("/m/d", true)
	cached.GetRemove().CacheOnly = true
	r.must(cached)
	if r.inStore("d/f") != "file" {
		t.Error("a removal of what is cached reached the store")
	}
	r.must(opStatNow("/m/d/f"))
	r.must(opRemove("/m/empty", false))
	if got := r.inStore("empty"); got != "nothing" {
		t.Errorf("the store has a %s", got)
	}
}
