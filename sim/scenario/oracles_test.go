package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// inCluster runs do as a user's task in a quiet cluster with a few shared files, after it has come up.
func inCluster(t *testing.T, files int, do func(ctx context.Context, u *user)) *Report {
	t.Helper()
	s := &Scenario{Name: "quiet", Masters: 3, Workers: 2, Clients: 1, Racks: 3, Duration: 30 * time.Second, Rate: 0.001, Files: files, FileSize: 5000,
		Mix: map[string]int{"stat": 1}, Faults: []Fault{{At: 5 * time.Second, Kind: "test"}}}
	ended := false
	faultKinds["test"] = func(r *run, _ Fault, _ int) func() {
		u := newUser(r, 99, r.w.NewNode("tester", r.cluster.Place(0)))
		u.node.Go("test", func() {
			ctx, cancel := u.node.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			c, err := r.cluster.Client(u.node)
			if err != nil {
				t.Error(err)
				return
			}
			u.c = c
			do(ctx, u)
			ended = true
		})
		return func() {}
	}
	defer delete(faultKinds, "test")
	report := run1(t, s, 1)
	if !ended {
		t.Error("the test's task did not end")
	}
	return report
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOracles: each thing that must never be is noticed by the operation that looks for it, and told with its path; the same
// operation on a cluster that is well tells nothing.
func TestOracles(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(t *testing.T, ctx context.Context, u *user, p dfs.Path)
		look func(ctx context.Context, u *user) error
		want string
	}{
		{"a file of one's own is gone", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.check(ctx, u.order[0], u.own[u.order[0]]) }, "is lost"},
		{"another write's bytes", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
			ok(t, u.c.WriteFile(ctx, p, content(p, 77, 5000)))
		}, func(ctx context.Context, u *user) error { return u.check(ctx, u.order[0], u.own[u.order[0]]) }, "wrong bytes"},
		{"a shorter file", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
			ok(t, u.c.WriteFile(ctx, p, content(p, u.own[p].write, 5000)[:4999]))
		}, func(ctx context.Context, u *user) error { return u.check(ctx, u.order[0], u.own[u.order[0]]) }, "wrong bytes"},
		{"one entry too few", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.write(ctx))
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.list(ctx) }, "entries"},
		{"a rename of what is gone", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.rename(ctx) }, "done twice"},
		{"a removal of what is gone", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.remove(ctx) }, "done twice"},
		{"a shared file is gone", func(t *testing.T, ctx context.Context, u *user, _ dfs.Path) {
			ok(t, u.c.Remove(ctx, sharedPath(0), client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.stat(ctx) }, "status of"},
		{"a shared file has another length", func(t *testing.T, ctx context.Context, u *user, _ dfs.Path) {
			ok(t, u.c.Remove(ctx, sharedPath(0), client.RemoveOptions{}))
			ok(t, u.c.WriteFile(ctx, sharedPath(0), []byte("short")))
		}, func(ctx context.Context, u *user) error { return u.stat(ctx) }, "status of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, harm := range []bool{true, false} {
				r := inCluster(t, 1, func(ctx context.Context, u *user) {
					ok(t, u.write(ctx))
					if harm {
						c.harm(t, ctx, u, u.order[0])
					}
					_ = c.look(ctx, u)
				})
				if !harm && r.ViolationCount > 0 {
					t.Errorf("a cluster that is well: %q", r.Violations)
				}
				if harm && (r.ViolationCount != 1 || !strings.Contains(r.Violations[0], c.want) || !strings.Contains(r.Violations[0], "client 99")) {
					t.Errorf("%d violations: %q, want one with %q", r.ViolationCount, r.Violations, c.want)
				}
			}
		})
	}
}

// TestBookkeeping: what a user remembers of its own files follows what it was told: a write adds, a rename moves with the
// content of its first name, a removal forgets, and what failed is unsure and no longer judged.
func TestBookkeeping(t *testing.T) {
	r := inCluster(t, 2, func(ctx context.Context, u *user) {
		for range 3 {
			ok(t, u.write(ctx))
		}
		if len(u.own) != 3 || len(u.order) != 3 || u.own["/own/99/2"] != (owned{2, 5000, "/own/99/2"}) {
			t.Errorf("after three writes: %v, %v", u.own, u.order)
		}
		ok(t, u.rename(ctx))
		moved := u.order[2]
		if len(u.own) != 3 || moved != "/own/99/r4" || u.own[moved].name == moved || u.own[moved].size != 5000 {
			t.Errorf("after a rename: %v, %v", u.own, u.order)
		}
		ok(t, u.check(ctx, moved, u.own[moved]))
		ok(t, u.list(ctx))
		ok(t, u.remove(ctx))
		if len(u.own) != 2 || len(u.order) != 2 {
			t.Errorf("after a removal: %v, %v", u.own, u.order)
		}
		for p := range u.own {
			if !slices.Contains(u.order, p) {
				t.Errorf("%s is owned and cannot be chosen", p)
			}
		}
		late, cancel := u.node.WithTimeout(ctx, time.Nanosecond)
		defer cancel()
		_ = u.node.Sleep(ctx, time.Second)
		u.order = u.order[:1]
		p := u.order[0]
		if err := u.rename(late); err == nil || !u.unsure[p] {
			t.Errorf("a rename that failed: %v, unsure %v", err, u.unsure)
		}
		ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		if err := u.check(ctx, p, u.own[p]); !dfs.IsKind(err, dfs.NotFound) {
			t.Errorf("%v", err)
		}
		ok(t, u.rename(ctx)) // neither of them touches it any more
		ok(t, u.remove(ctx))
		ok(t, u.list(ctx)) // the shared directory then
		u.forget("/never/there")
	})
	if r.ViolationCount > 0 {
		t.Errorf("%q", r.Violations)
	}
}

// TestNothingToDo: operations that find no file to work on do nothing and succeed.
func TestNothingToDo(t *testing.T) {
	r := inCluster(t, 0, func(ctx context.Context, u *user) {
		for _, name := range []string{"stat", "read", "rename", "remove", "list"} {
			if err := operations[name](u, ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	if r.ViolationCount > 0 {
		t.Errorf("%q", r.Violations)
	}
}

// TestContent: a file's bytes follow from its path, its write and its size, and differ by the first two.
func TestContent(t *testing.T) {
	one := content("/a", 1, 100)
	if len(one) != 100 || string(one) != string(content("/a", 1, 100)) || string(one[:96]) != string(content("/a", 1, 96)) {
		t.Error("content does not follow from its path")
	}
	if string(one) == string(content("/b", 1, 100)) || string(one) == string(content("/a", 2, 100)) {
		t.Error("two files have one content")
	}
	if sharedPath(1999) != "/shared/0001/file-001999" {
		t.Errorf("%s", sharedPath(1999))
	}
}

// TestFaultEffects: each kind of fault does what its name says while it lasts, at the n-th time to the n-th victim, and
// leaves nothing behind when it ends.
func TestFaultEffects(t *testing.T) {
	alive := func(r *run) (dead []string) {
		for _, n := range r.w.Nodes() {
			if !n.Alive() {
				dead = append(dead, n.Name())
			}
		}
		return dead
	}
	for _, c := range []struct {
		kind  string
		check func(r *run, n int) string // of what is wrong while the fault lasts
	}{
		{"restart-worker", func(r *run, n int) string {
			if dead := alive(r); !slices.Equal(dead, []string{fmt.Sprint("w", n%3+1)}) {
				return fmt.Sprint("dead: ", dead)
			}
			return ""
		}},
		{"kill-leader", func(r *run, _ int) string {
			if dead := alive(r); len(dead) != 1 || !strings.HasPrefix(dead[0], "m") {
				return fmt.Sprint("dead: ", dead)
			}
			return ""
		}},
		{"cut-zone", func(r *run, _ int) string {
			return reach(r, "w2", "w1", false) + reach(r, "w2", "m2", false) + reach(r, "w1", "m2", true)
		}},
		{"cut-client", func(r *run, n int) string {
			c := fmt.Sprint("c", 2-n%2)
			return oneWay(r, "m1", c, false) + oneWay(r, c, "m1", true) + reach(r, c, "w1", true)
		}},
		{"cut-leader", func(r *run, _ int) string {
			cut := 0
			for _, m := range []string{"m1", "m2", "m3"} {
				if reach(r, m, map[string]string{"m1": "m2", "m2": "m3", "m3": "m1"}[m], true) != "" {
					cut++
				}
			}
			if cut != 2 {
				return fmt.Sprint("of the three ways between masters are cut: ", cut)
			}
			return ""
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			begin, times := faultKinds[c.kind], 0
			defer func() { faultKinds[c.kind] = begin }()
			faultKinds[c.kind] = func(r *run, f Fault, n int) func() {
				end := begin(r, f, n)
				if n != times {
					t.Errorf("the fault came as number %d, want %d", n, times)
				}
				times++
				if wrong := c.check(r, n); wrong != "" {
					t.Errorf("time %d: %s", n, wrong)
				}
				return func() {
					end()
					if dead := alive(r); len(dead) > 0 || reach(r, "w2", "m2", true) != "" || oneWay(r, "m1", "c1", true) != "" || oneWay(r, "m1", "c2", true) != "" {
						t.Errorf("after time %d: dead %v, or a way is cut", n, dead)
					}
				}
			}
			s := &Scenario{Name: "f", Masters: 3, Workers: 3, Clients: 2, Racks: 3, Duration: 30 * time.Second, Rate: 1, Files: 5, FileSize: 100,
				Mix: map[string]int{"stat": 1, "write": 1}, Faults: []Fault{{At: 5 * time.Second, Every: 6 * time.Second, For: time.Second, Kind: c.kind, Zone: "z1"}}}
			r := run1(t, s, 3)
			if r.Faults != 5 || times != 5 || r.ViolationCount > 0 {
				t.Errorf("%d faults, %d seen, violations %q", r.Faults, times, r.Violations)
			}
		})
	}
}

// TestFaultsHealTheirOwn: the end of one fault's cuts leaves those of another.
func TestFaultsHealTheirOwn(t *testing.T) {
	inCluster(t, 0, func(_ context.Context, u *user) {
		ends := map[string]func(){}
		for _, kind := range []string{"cut-zone", "cut-leader"} {
			ends[kind] = faultKinds[kind](u.r, Fault{Kind: kind, Zone: "z1"}, 0)
		}
		u.r.w.Net.Cut("c1", "store")
		ends["cut-leader"]()
		if wrong := reach(u.r, "w2", "m1", false) + oneWay(u.r, "c1", "store", false); wrong != "" {
			t.Error(wrong)
		}
		ends["cut-zone"]()
		if wrong := reach(u.r, "w2", "m1", true) + oneWay(u.r, "c1", "store", false); wrong != "" {
			t.Error(wrong)
		}
	})
}

// oneWay tells what is wrong about a way between two nodes, by what a posted message does.
func oneWay(r *run, from, to string, want bool) string {
	if got := !r.w.Net.IsCut(from, to); got != want {
		return fmt.Sprintf("%s reaches %s: %v; ", from, to, got)
	}
	return ""
}

func reach(r *run, a, b string, want bool) string {
	return oneWay(r, a, b, want) + oneWay(r, b, a, want)
}

// TestQuantiles: the report's quantiles are of all operations of a kind, whatever order they ended in.
func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		n         int
		median    int
		p99, most int
	}{{1, 1, 1, 1}, {2, 2, 2, 2}, {3, 2, 3, 3}, {100, 51, 100, 100}, {1000, 501, 991, 1000}} {
		var sorted []time.Duration
		for i := range c.n {
			sorted = append(sorted, time.Duration(i+1))
		}
		if m, p, x := at(sorted, 0.5), at(sorted, 0.99), at(sorted, 1); m != time.Duration(c.median) || p != time.Duration(c.p99) || x != time.Duration(c.most) {
			t.Errorf("of %d: %d, %d, %d", c.n, m, p, x)
		}
	}
	for d, want := range map[time.Duration]time.Duration{1234567: 1235 * time.Microsecond, 1234567890: 1230 * time.Millisecond} {
		if got := short(d); got != want {
			t.Errorf("%v is told as %v", d, got)
		}
	}
}

// TestViolationsAreBounded: all are counted, the first twenty are told.
func TestViolationsAreBounded(t *testing.T) {
	r := inCluster(t, 0, func(_ context.Context, u *user) {
		for i := range 50 {
			u.r.violation("number %d", i)
		}
	})
	if r.ViolationCount != 50 || len(r.Violations) != 20 || !strings.Contains(r.Violations[19], "number 19") {
		t.Errorf("%d, told %d: %q", r.ViolationCount, len(r.Violations), r.Violations)
	}
}

// TestSwarmIsSane: whatever the seed, a swarm's scenario can be run, and faults that come again end before they do.
func TestSwarmIsSane(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(500) {
		s := Swarm(seed)
		if err := s.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := Swarm(seed); fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", s) {
			t.Fatalf("seed %d has two scenarios", seed)
		}
		for _, f := range s.Faults {
			kinds[f.Kind]++
			if f.Every > 0 && f.Every <= f.For {
				t.Errorf("seed %d: %+v comes again before it ends", seed, f)
			}
		}
	}
	for kind := range faultKinds {
		if kinds[kind] < 150 || kinds[kind] > 350 {
			t.Errorf("%s is in %d swarms of 500", kind, kinds[kind])
		}
	}
}
