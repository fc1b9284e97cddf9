package master

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/mounttable"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
)

func opUnmount(p string) *proto.Operation {
	return &proto.Operation{Kind: &proto.Operation_Unmount{Unmount: &proto.UnmountUfs{Path: p}}}
}

// TestRefusedUnmounts: a mount stays with all of its files while some of them wait to be persisted, another mount lies
// below it, or somebody asks who may not; what waits elsewhere holds up nobody.
func TestRefusedUnmounts(t *testing.T) {
	r := mounted(t)
	r.must(opMount("/mm", "mem://b", false))
	r.must(opMkdir("/m/d"))
	r.async("/m/d/waits", "", 4)
	r.mustPut("/mm/f", "MUST_CACHE")
	unmount := func(p string, want dfs.Kind, says string) {
		t.Helper()
		before := r.tree("/")
		_, err := r.do(opUnmount(p))
		if !dfs.IsKind(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want kind %v", p, err, want)
		}
		if after := r.tree("/"); after != before {
			t.Errorf("a refusal changed something:\n%s\nwas\n%s", after, before)
		}
	}
	unmount("/m", dfs.Conflict, "/m/d/waits")
	unmount("/", dfs.Conflict, "/m/d/waits")
	unmount("/none", dfs.NotFound, "no mount begins here")
	unmount("/mm/f", dfs.NotFound, "no mount begins here")
	r.user = "bob"
	unmount("/mm", dfs.PermissionDenied, "superuser")
	r.user = "root"
	r.must(opMount("/mm/in", "mem://c", false))
	unmount("/mm", dfs.NotEmpty, "/mm/in")
	r.must(opUnmount("/mm/in"))
	r.must(opUnmount("/mm"))
	r.must(opRemove("/m/d", true))
	r.must(opUnmount("/m"))
	if all := r.m.machine.Mounts().All(); len(all) != 0 {
		t.Errorf("mounts %v", all)
	}
	r.must(opMount("/m", "mem://a", false)) // at once, at the same path
	if r.m.leader.Load().claimFree("/") != nil {
		t.Error("a claim is held for ever")
	}
}

// TestRefusedMounts: where no store can be mounted the namespace and the table stay, and no handle is left open.
func TestRefusedMounts(t *testing.T) {
	var open atomic.Int64
	r := mounted(t, withStore(func(s ufs.Store) ufs.Store { open.Add(1); return &counting{s, &open} }))
	r.must(opMkdir("/full"))
	r.must(opMkdir("/full/d"))
	r.mustPut("/f", "MUST_CACHE")
	before, handles := r.tree("/"), open.Load()
	for p, want := range map[string]dfs.Kind{
		"/m": dfs.AlreadyExists, "/full": dfs.NotEmpty, "/f": dfs.NotDirectory, "/f/x": dfs.NotDirectory, "": dfs.InvalidArgument, "m": dfs.InvalidArgument,
	} {
		if _, err := r.do(opMount(p, "mem://b", false)); !dfs.IsKind(err, want) {
			t.Errorf("%q: %v, want kind %v", p, err, want)
		}
	}
	r.down = true
	if _, err := r.do(opMount("/new", "mem://b", false)); !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "mem://b") || strings.Contains(err.Error(), "hush") {
		t.Errorf("a store that is away: %v", err)
	}
	if after := r.tree("/"); after != before || len(r.m.machine.Mounts().All()) != 1 {
		t.Errorf("a refusal changed something:\n%s\nwas\n%s", after, before)
	}
	if open.Load() != handles {
		t.Errorf("%d handles are open, before %d", open.Load(), handles)
	}
	r.down = false
	r.must(opMount("/new", "mem://b", false))
}

// counting counts the handles that are open.
type counting struct {
	ufs.Store
	open *atomic.Int64
}

func (c *counting) Close() error {
	c.open.Add(-1)
	return dfs.Errorf(dfs.Unavailable, "close", "", "a close that fails is nobody's matter")
}

// TestStoresAgainstModel: whatever mounts are used, go and come, the handles that are open are those of mounts that were
// used since they came, one for each, and at the end none.
func TestStoresAgainstModel(t *testing.T) {
	h, ctx := host.NewReal(), context.Background()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var open atomic.Int64
		fails := false
		s := newStores(h, func(_ context.Context, uri string, _ map[string]string) (ufs.Store, error) {
			if fails {
				return nil, dfs.Errorf(dfs.Unavailable, "open", uri, "refused")
			}
			open.Add(1)
			return &counting{mem.New(h), &open}, nil
		})
		var mounts []*mounttable.Mount
		used := map[dfs.MountID]ufs.Store{}
		for step := range 100 {
			switch rng.IntN(4) {
			case 0:
				mounts = append(mounts, &mounttable.Mount{ID: dfs.MountID(step + 1), Path: dfs.Path(fmt.Sprint("/", step))})
			case 1:
				if len(mounts) > 0 {
					i := rng.IntN(len(mounts))
					delete(used, mounts[i].ID)
					mounts = append(mounts[:i:i], mounts[i+1:]...)
				}
				s.retain(mounttable.New(mounts))
			default:
				if len(mounts) == 0 {
					continue
				}
				m := mounts[rng.IntN(len(mounts))]
				fails = rng.IntN(3) == 0
				got, err := s.get(ctx, m)
				if want := used[m.ID]; want != nil && (got != want || err != nil) {
					t.Fatalf("seed %d, step %d: another handle, %v", seed, step, err)
				}
				if used[m.ID] == nil && fails != dfs.IsKind(err, dfs.Unavailable) {
					t.Fatalf("seed %d, step %d: opening fails %v: %v", seed, step, fails, err)
				}
				if err == nil {
					used[m.ID] = got
				}
			}
			if int(open.Load()) != len(used) || len(s.byID) != len(used) {
				t.Fatalf("seed %d, step %d: %d handles are open and %d known, want %d", seed, step, open.Load(), len(s.byID), len(used))
			}
		}
		s.close()
		s.close()
		if open.Load() != 0 {
			t.Errorf("seed %d: %d handles are open at the end", seed, open.Load())
		}
	}
}
