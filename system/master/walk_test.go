package master

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/proto"
)

// fill makes n empty directories in p, named by number.
func (r *rig) fill(p string, n int) {
	r.t.Helper()
	var ops []*proto.Operation
	for i := range n {
		ops = append(ops, opMkdir(fmt.Sprintf("%s/%05d", p, i)))
	}
	for i, res := range r.batch(ops...) {
		if res.Error != nil {
			r.t.Fatalf("%d: %v", i, res.Error)
		}
	}
}

// visits is what a walk of p visits, in order.
func (r *rig) visits(ctx context.Context, p dfs.Path) (out []string, err error) {
	err = r.m.leader.Load().walk(ctx, p, func(at dfs.Path, _ walked) error { out = append(out, string(at)); return nil })
	return out, err
}

// TestWalkInPages: directories as large as a page, one less, one more and of several pages are visited whole, in order,
// each name once, also when the visit removes what it visits.
func TestWalkInPages(t *testing.T) {
	r := newRig(t)
	l := r.m.leader.Load()
	for _, n := range []int{0, 1, walkPage - 1, walkPage, walkPage + 1, 2*walkPage + 3} {
		dir := fmt.Sprint("/", n)
		r.must(opMkdir(dir))
		r.fill(dir, n)
		want := []string{dir}
		for i := range n {
			want = append(want, fmt.Sprintf("%s/%05d", dir, i))
		}
		if got, err := r.visits(context.Background(), dfs.Path(dir)); err != nil || !slices.Equal(got, want) {
			t.Errorf("of %d entries %d were visited, %v", n, len(got)-1, err)
		}
		var got []string
		err := l.walk(context.Background(), dfs.Path(dir), func(at dfs.Path, _ walked) error {
			got = append(got, string(at))
			if string(at) == dir {
				return nil
			}
			_, err := r.do(opRemove(string(at), false))
			return err
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("while they were removed %d of %d were visited, %v", len(got)-1, n, err)
		}
		if left, _ := r.visits(context.Background(), dfs.Path(dir)); len(left) != 1 {
			t.Errorf("%d of %d are left", len(left)-1, n)
		}
	}
}

// TestWalkEnds: the end of the caller, an error of the visit, and a path where nothing is, at any step.
func TestWalkEnds(t *testing.T) {
	r := newRig(t)
	for _, p := range []string{"/d", "/d/a", "/d/a/x", "/d/b"} {
		r.must(opMkdir(p))
	}
	l := r.m.leader.Load()
	mine := errors.New("enough")
	for steps := range 4 {
		ctx, cancel := context.WithCancel(context.Background())
		seen := 0
		err := l.walk(ctx, "/d", func(dfs.Path, walked) error {
			if seen++; seen == steps+1 {
				cancel()
			}
			return nil
		})
		if seen != steps+1 || steps < 3 && !dfs.IsKind(err, dfs.Canceled) || steps == 3 && err != nil { // after the last there is nothing to end
			t.Errorf("ended at step %d: %d visits, %v", steps, seen, err)
		}
		seen = 0
		err = l.walk(context.Background(), "/d", func(dfs.Path, walked) error {
			if seen++; seen == steps+1 {
				return mine
			}
			return nil
		})
		if !errors.Is(err, mine) || seen != steps+1 {
			t.Errorf("an error at step %d: %d visits, %v", steps, seen, err)
		}
		cancel()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for p, want := range map[dfs.Path]dfs.Kind{"/none": dfs.NotFound, "/d/none/x": dfs.NotFound, "/d": dfs.Canceled} {
		ctx := context.Background()
		if p == "/d" {
			ctx = ended
		}
		if got, err := r.visits(ctx, p); !dfs.IsKind(err, want) || len(got) != 0 {
			t.Errorf("%s: visited %v, %v", p, got, err)
		}
	}
}

// TestWalkSeesWhatAVisitAdds: entries that a visit of the directory itself makes are visited, as load relies on.
func TestWalkSeesWhatAVisitAdds(t *testing.T) {
	r := newRig(t)
	r.must(opMkdir("/d"))
	var got []string
	err := r.m.leader.Load().walk(context.Background(), "/d", func(at dfs.Path, _ walked) error {
		got = append(got, string(at))
		if len(at) < len("/d/n/n/n") {
			_, err := r.do(opMkdir(string(at) + "/n"))
			return err
		}
		return nil
	})
	if want := []string{"/d", "/d/n", "/d/n/n", "/d/n/n/n"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("visited %v, %v", got, err)
	}
}

// TestWalkAgainstModel: on random trees with random modes, a walk for somebody visits in order what lies before the first
// entry that it may not see, and is refused there; a walk for the superuser visits everything.
func TestWalkAgainstModel(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 17))
		r := newRig(t)
		modes := map[string]uint32{"/d": 0o755}
		r.must(opMkdir("/d"))
		dirs := []string{"/d"}
		for range 25 {
			p := dirs[rng.IntN(len(dirs))] + "/" + string(rune('a'+rng.IntN(6)))
			if modes[p] != 0 {
				continue
			}
			if rng.IntN(3) > 0 {
				r.must(opMkdir(p))
				dirs = append(dirs, p)
				modes[p] = 0o755
			} else {
				s := r.must(opCreate(p, dfs.WriteMustCache)).Status
				r.must(opComplete(s, dfs.WriteMustCache, 0, "", ""))
				modes[p] = 0o646
			}
			if rng.IntN(8) == 0 {
				modes[p] = []uint32{0o700, 0o744, 0o711, 0o640}[rng.IntN(4)]
			}
			r.must(opMode(p, modes[p], false))
		}
		var want []string
		for p := range modes {
			want = append(want, p)
		}
		slices.SortFunc(want, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
		if got, err := r.visits(context.Background(), "/d"); err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: visited %v, %v; want %v", seed, got, err, want)
		}
		allowed := slices.IndexFunc(want, func(p string) bool {
			need := uint32(namespace.RightWrite)
			if slices.Contains(dirs, p) {
				need = namespace.RightRead | namespace.RightSearch
			}
			return modes[p]&need != need
		})
		refused := allowed >= 0
		if refused {
			want = want[:allowed]
		}
		var got []string
		who := &namespace.Request{Identity: dfs.Identity{User: "bob"}, Superuser: "root"}
		err := r.m.leader.Load().walkAs(context.Background(), who, "/d", namespace.RightWrite, "test", func(at dfs.Path, _ walked) error {
			got = append(got, string(at))
			return nil
		})
		if !slices.Equal(got, want) || dfs.IsKind(err, dfs.PermissionDenied) != refused || !refused && err != nil {
			t.Fatalf("seed %d: visited %v, %v; want %v, refused %v", seed, got, err, want, refused)
		}
	}
}
