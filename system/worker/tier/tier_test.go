package tier_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/worker/tier"
)

// TestAccounting checks reservations against the capacity, the watermarks, and a failed disk.
func TestAccounting(t *testing.T) {
	const mib = 1 << 20
	tr, err := tier.Open(host.NewReal(), tier.Config{Name: "MEM", Dir: t.TempDir() + "/new", CapacityBytes: 10 * mib, High: .8, Low: .5})
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		reserve, release           int64
		ok, overHigh, overLow, big bool
	}{
		{reserve: 5 * mib, ok: true, big: true},
		{reserve: 1 * mib, ok: true, overLow: true},
		{reserve: 3 * mib, ok: true, overLow: true, overHigh: true},
		{reserve: 2 * mib, ok: false, overLow: true, overHigh: true},
		{reserve: 1 * mib, ok: true, overLow: true, overHigh: true},
		{release: 6 * mib, ok: true, big: true},
	}
	for i, s := range steps {
		ok := true
		if s.release > 0 {
			tr.Release(s.release)
		} else {
			ok = tr.Reserve(s.reserve)
		}
		if ok != s.ok || tr.OverHigh() != s.overHigh || tr.OverLow() != s.overLow || tr.BelowHigh(3*mib) != s.big {
			t.Errorf("step %d: ok %v, over high %v, over low %v, below %v", i, ok, tr.OverHigh(), tr.OverLow(), tr.BelowHigh(3*mib))
		}
	}
	if !tr.Fail(errors.New("bad")) || tr.Fail(errors.New("worse")) || tr.Reserve(1) || !tr.Info().Failed || tr.Failed().Error() != "bad" {
		t.Error("a failed tier still serves")
	}
}

// TestConfig checks that wrong configurations are refused.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []tier.Config{
		{Dir: dir, CapacityBytes: 1 << 20}, {Name: "MEM", CapacityBytes: 1 << 20}, {Name: "MEM", Dir: dir, CapacityBytes: 5},
		{Name: "MEM", Dir: dir, CapacityBytes: 1 << 20, High: .5, Low: .6}, {Name: "MEM", Dir: dir, CapacityBytes: 1 << 20, High: 1.5},
	} {
		if _, err := tier.Open(host.NewReal(), c); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestConvert checks the kinds of disk errors.
func TestConvert(t *testing.T) {
	for errno, kind := range map[error]dfs.Kind{syscall.ENOSPC: dfs.NoSpace, syscall.EROFS: dfs.ReadOnly,
		syscall.EIO: dfs.Unavailable, syscall.EMFILE: dfs.ResourceExhausted} {
		if err := tier.Convert(errno, "write", "x"); !dfs.IsKind(err, kind) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// TestBadFiles: a file counts once however often it fails, errors age, and the last one that is allowed gives the tier up.
func TestBadFiles(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	type step struct {
		after time.Duration
		file  string
		give  bool
	}
	for name, steps := range map[string][]step{
		"one file":   {{0, "a", false}, {0, "a", false}, {time.Second, "a", false}, {0, "a", false}, {0, "a", false}, {0, "a", false}, {0, "a", false}},
		"many files": {{0, "a", false}, {0, "b", false}, {time.Minute, "c", false}, {0, "d", false}, {time.Minute, "e", true}, {0, "f", true}},
		"slowly": {{0, "a", false}, {6 * time.Minute, "b", false}, {6 * time.Minute, "c", false}, {6 * time.Minute, "d", false},
			{6 * time.Minute, "e", false}, {6 * time.Minute, "f", false}},
		"an old file fails on": {{0, "a", false}, {9 * time.Minute, "a", false}, {0, "b", false}, {0, "c", false}, {0, "d", false}, {2 * time.Minute, "e", true}},
		"a clock set back":     {{0, "a", false}, {-time.Hour, "b", false}, {0, "c", false}, {0, "d", false}, {0, "e", true}},
	} {
		tr := open(t, 2*mib)
		now := start
		for i, s := range steps {
			now = now.Add(s.after)
			if got := tr.BadFile(now, s.file); got != s.give {
				t.Errorf("%s, step %d (%s): give up %v, want %v", name, i, s.file, got, s.give)
			}
		}
	}
}

// TestFreeze: a frozen tier takes no reservation and says why, is not failed, and gives back what was reserved; the first
// cause counts, and a failure outranks it.
func TestFreeze(t *testing.T) {
	tr, err := tier.Open(host.NewReal(), tier.Config{Name: "SSD", Dir: t.TempDir() + "/t", CapacityBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if !tr.Reserve(1<<20) || tr.Writable() != nil {
		t.Fatal("a new tier takes nothing")
	}
	first, second := errors.New("first"), errors.New("second")
	if !tr.Freeze(first) || tr.Freeze(second) {
		t.Error("freezing counts once")
	}
	if tr.Reserve(1) || tr.BelowHigh(1) || !errors.Is(tr.Writable(), first) || tr.Failed() != nil || !tr.Info().Failed {
		t.Errorf("frozen: writable %v, failed %v, info %v", tr.Writable(), tr.Failed(), tr.Info())
	}
	tr.Release(1 << 20)
	if tr.Used() != 0 {
		t.Errorf("%d bytes are still taken", tr.Used())
	}
	if !tr.Fail(second) || !errors.Is(tr.Writable(), second) || tr.Freeze(first) {
		t.Errorf("failed after frozen: %v", tr.Writable())
	}
}
