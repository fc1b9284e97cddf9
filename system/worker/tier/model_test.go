package tier_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/worker/tier"
)

// TestWatermarks: what is not configured takes the defaults, a high watermark below the default low one takes the low one with
// it, and each mark is met just where it says.
func TestWatermarks(t *testing.T) {
	for _, test := range []struct{ high, low, wantHigh, wantLow float64 }{
		{0, 0, tier.DefaultHigh, tier.DefaultLow}, {.5, 0, .5, .5}, {0, .1, tier.DefaultHigh, .1}, {1, 1, 1, 1}, {.9, .2, .9, .2},
	} {
		tr, err := tier.Open(hosttest.NewVirtual(1), tier.Config{Name: "SSD", Dir: "/d", CapacityBytes: 100 * mib, High: test.high, Low: test.low})
		if err != nil {
			t.Fatal(err)
		}
		high, low := int64(test.wantHigh*100*mib), int64(test.wantLow*100*mib)
		at := func(used int64) {
			tr.Release(tr.Used())
			if !tr.Reserve(used) {
				t.Fatalf("%+v: %d bytes are too many", test, used)
			}
		}
		for _, step := range []struct {
			used              int64
			overHigh, overLow bool
		}{{low, false, false}, {high, false, high > low}} {
			if at(step.used); tr.OverHigh() != step.overHigh || tr.OverLow() != step.overLow {
				t.Errorf("%+v at %d: over high %v, over low %v", test, step.used, tr.OverHigh(), tr.OverLow())
			}
		}
		if at(low); low < tr.Capacity() && (!tr.Reserve(1) || !tr.OverLow()) {
			t.Errorf("%+v: a byte over the low mark does not count", test)
		}
		if at(high); !tr.BelowHigh(0) || tr.BelowHigh(1) || high < tr.Capacity() && (!tr.Reserve(1) || !tr.OverHigh()) {
			t.Errorf("%+v: a byte over the high mark does not count", test)
		}
	}
}

// TestBadFilesModel compares which error is one too many with the plain rule, over random histories: as soon as MaxBadFiles
// files had an error within BadWindow.
func TestBadFilesModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		tr, now, last := open(t, 2*mib), time.Unix(1_700_000_000, 0), map[string]time.Time{}
		for step := range 200 {
			now = now.Add(time.Duration(r.Int64N(int64(4 * time.Minute))))
			file := fmt.Sprint("f", r.IntN(8))
			for name, at := range last {
				if now.Sub(at) > tier.BadWindow {
					delete(last, name)
				}
			}
			last[file] = now
			want := len(last) >= tier.MaxBadFiles
			if got := tr.BadFile(now, file); got != want {
				t.Fatalf("seed %d, step %d: %v with %d bad files", seed, step, got, len(last))
			}
			if want { // the tier is given up; what it says from here on nobody asks
				break
			}
		}
	}
}

// failingDir is a file system in which no directory can be made.
type failingDir struct {
	vfs.FS
	err error
}

func (f failingDir) MkdirAll(string, os.FileMode) error { return f.err }

// failingHost has that file system.
type failingHost struct {
	*hosttest.Virtual
	err error
}

func (h failingHost) FS() vfs.FS { return failingDir{h.Virtual.FS(), h.err} }

// TestOpenOnABadDisk: a directory that cannot be made is an error with the kind of its cause, and no tier.
func TestOpenOnABadDisk(t *testing.T) {
	for cause, kind := range map[error]dfs.Kind{
		errors.New("broken"): dfs.Unavailable, context.Canceled: dfs.Canceled, dfs.Errorf(dfs.NoSpace, "mkdir", "/d", "full"): dfs.NoSpace,
	} {
		tr, err := tier.Open(failingHost{hosttest.NewVirtual(1), cause}, tier.Config{Name: "SSD", Dir: "/d", CapacityBytes: mib})
		if tr != nil || !dfs.IsKind(err, kind) {
			t.Errorf("%v: %v, %v, want %v", cause, tr, err, kind)
		}
	}
}

// TestInfo: what is reported is what was configured and reserved, also of a tier that holds more than it may.
func TestInfo(t *testing.T) {
	tr := open(t, 10*mib)
	tr.ForceReserve(12 * mib)
	if i := tr.Info(); i.Name != "MEM" || i.CapacityBytes != 10*mib || i.UsedBytes != 12*mib || i.Failed {
		t.Errorf("reported %v", i)
	}
	if tr.Reserve(0) || tr.BelowHigh(0) || !tr.OverHigh() {
		t.Error("an overdrawn tier has room")
	}
	if tr.Release(2 * mib); !tr.Reserve(0) || tr.Reserve(1) {
		t.Error("a tier that is just full has no room for nothing, or for more")
	}
}
