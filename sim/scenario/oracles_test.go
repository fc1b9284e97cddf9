package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/oracle"
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
		}, checkFirst, "is lost"},
		{"another write's bytes", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
			ok(t, u.c.WriteFile(ctx, p, oracle.Content{Name: p, Write: 77, Size: 5000}.Bytes()))
		}, checkFirst, "wrong bytes"},
		{"a shorter file", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
			ok(t, u.c.WriteFile(ctx, p, u.tree.File(p).Bytes()[:4999]))
		}, checkFirst, "wrong bytes"},
		{"one entry too few", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.write(ctx))
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.list(ctx) }, "lacks"},
		{"a rename of what is gone", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.rename(ctx) }, "done twice"},
		{"a removal of what is gone", func(t *testing.T, ctx context.Context, u *user, p dfs.Path) {
			ok(t, u.c.Remove(ctx, p, client.RemoveOptions{}))
		}, func(ctx context.Context, u *user) error { return u.remove(ctx) }, "done twice"},
		{"a shared file is gone", func(t *testing.T, ctx context.Context, u *user, _ dfs.Path) {
			ok(t, u.c.Remove(ctx, sharedPath(0), client.RemoveOptions{}))
		}, statShared, "status of"},
		{"a shared file has another length", func(t *testing.T, ctx context.Context, u *user, _ dfs.Path) {
			ok(t, u.c.Remove(ctx, sharedPath(0), client.RemoveOptions{}))
			ok(t, u.c.WriteFile(ctx, sharedPath(0), []byte("short")))
		}, statShared, "status of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, harm := range []bool{true, false} {
				r := inCluster(t, 1, func(ctx context.Context, u *user) {
					ok(t, u.write(ctx))
					if harm {
						c.harm(t, ctx, u, u.tree.Files()[0])
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

// checkFirst reads the whole of the first file of the user's own.
func checkFirst(ctx context.Context, u *user) error {
	p := u.tree.Files()[0]
	got, err := u.c.ReadFile(ctx, p)
	if dfs.IsKind(err, dfs.NotFound) {
		u.tree.Lost(p, err)
	}
	if err == nil {
		oracle.Contents{Book: u.r.book}.Read(u.id, p, u.tree.File(p).Content, got, 0, u.tree.File(p).Size)
	}
	return err
}

// statShared looks at the shared file, which stat chooses when the user has none of its own.
func statShared(ctx context.Context, u *user) error {
	u.tree = oracle.Tree{Book: u.r.book, Who: u.id}
	return u.stat(ctx)
}

// TestBookkeeping: what a user knows of its own files follows what it was told, through each operation that changes any; what
// failed is in doubt and is left alone.
func TestBookkeeping(t *testing.T) {
	r := inCluster(t, 2, func(ctx context.Context, u *user) {
		ok(t, u.write(ctx))
		if f := u.tree.File("/own/99/1"); f == nil || f.Size != 5000 || f.Name != "/own/99/1" {
			t.Fatalf("after a write: %v", u.tree.Files())
		}
		for _, name := range operationNames() {
			for range 6 {
				if err := operations[name](u, ctx); err != nil && name != "race" && name != "look" && name != "ttl" {
					t.Errorf("%s: %v", name, err)
				}
			}
			if u.tree.Len() == 0 {
				ok(t, u.write(ctx))
			}
		}
		for _, p := range u.tree.Files() {
			ok(t, u.status(ctx, p))
			ok(t, u.check(ctx, p, u.tree.File(p)))
		}
		if len(u.tree.Doubts()) > 0 {
			t.Errorf("in doubt without a fault: %+v", u.tree.Doubts())
		}
	})
	if r.ViolationCount > 0 {
		t.Errorf("%q", r.Violations)
	}
}

// TestFailuresAreDoubts: an operation whose time is over before it begins leaves each of its paths in doubt, and the tree
// without them.
func TestFailuresAreDoubts(t *testing.T) {
	for _, name := range []string{"write", "large", "overwrite", "rename", "replace", "remove", "mkdir", "movedir", "rmtree", "chmod", "xattr"} {
		r := inCluster(t, 1, func(ctx context.Context, u *user) {
			for range 3 {
				ok(t, u.write(ctx))
			}
			ok(t, u.mkdir(ctx))
			late, cancel := u.node.WithTimeout(ctx, time.Nanosecond)
			defer cancel()
			ok(t, u.node.Sleep(ctx, time.Second))
			for len(u.tree.Doubts()) == 0 {
				_ = operations[name](u, late) // replace may choose one file twice, and does nothing then
			}
			for p := range u.tree.Doubts()[0].May[0] {
				if u.tree.File(p) != nil || !u.tree.Doubtful(p) {
					t.Errorf("%s: %s is in doubt and known", name, p)
				}
			}
			ok(t, u.list(ctx))
		})
		if r.ViolationCount > 0 {
			t.Errorf("%s: %q", name, r.Violations)
		}
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

// TestHistogram: quantiles are of all durations, whatever order they came in, at most 1/64 too long and never too short, and
// the space is bounded.
func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 100, 10_000} {
		var h histogram
		var all []time.Duration
		for range n {
			d := time.Duration(rng.ExpFloat64() * float64(time.Duration(1)<<rng.IntN(36)))
			all = append(all, d)
			h.add(d)
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.99, 1} {
			exact := all[min(int(q*float64(n)), n-1)]
			if got := h.quantile(q); got < exact || float64(got) > float64(exact)*(1+1.0/subBuckets)+1 {
				t.Errorf("of %d the quantile %v is %v, want %v", n, q, got, exact)
			}
		}
		if h.most != all[n-1] || h.total != uint64(n) || len(h.counts) > 2368 {
			t.Errorf("of %d: %d counted, at most %v, %d buckets", n, h.total, h.most, len(h.counts))
		}
	}
	var h histogram
	h.add(-time.Second)
	h.add(100 * time.Hour)
	if h.quantile(0) != 0 || h.most != 100*time.Hour || len(h.counts) > 2368 || (&histogram{}).quantile(0.5) != 0 {
		t.Errorf("%v, %v, %d buckets", h.quantile(0), h.most, len(h.counts))
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
			u.r.book.Violation("test", "number %d", i)
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
		s := Swarm(seed, nil)
		if err := s.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := Swarm(seed, nil); fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", s) {
			t.Fatalf("seed %d has two scenarios", seed)
		}
		for _, f := range s.Faults {
			kinds[f.Kind]++
			if f.Every > 0 && f.Every <= f.For {
				t.Errorf("seed %d: %+v comes again before it ends", seed, f)
			}
		}
	}
	for _, kind := range swarmFaults() {
		if kinds[kind] < 80 || kinds[kind] > 180 {
			t.Errorf("%s is in %d swarms of 500", kind, kinds[kind])
		}
	}
}
