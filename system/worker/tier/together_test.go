package tier_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/worker/tier"
)

const mib = 1 << 20

func open(t *testing.T, capacity int64) *tier.Tier {
	t.Helper()
	tr, err := tier.Open(hosttest.NewVirtual(1), tier.Config{Name: "MEM", Dir: "/m", CapacityBytes: capacity})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestTogether reserves and releases from many tasks: never over the capacity, and nothing is left at the end (INV-1).
func TestTogether(t *testing.T) {
	tr := open(t, 10*mib)
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 1))
			var mine []int64
			for range 5000 {
				if n := r.Int64N(2 * mib); tr.Reserve(n) {
					mine = append(mine, n)
				}
				if used := tr.Used(); used < 0 || used > tr.Capacity() {
					t.Errorf("%d of %d bytes used", used, tr.Capacity())
				}
				if len(mine) > r.IntN(4) {
					tr.Release(mine[0])
					mine = mine[1:]
				}
			}
			for _, n := range mine {
				tr.Release(n)
			}
		})
	}
	wg.Wait()
	if tr.Used() != 0 {
		t.Errorf("%d bytes left", tr.Used())
	}
}

// TestSmallerCapacity finds more on the disk than the capacity is now: nothing is reserved until enough was released.
func TestSmallerCapacity(t *testing.T) {
	tr := open(t, 2*mib)
	tr.ForceReserve(5 * mib)
	if tr.Reserve(1) || !tr.OverHigh() || !tr.OverLow() || tr.BelowHigh(0) {
		t.Error("an overdrawn tier has room")
	}
	tr.Release(4 * mib)
	if !tr.Reserve(mib) || tr.Reserve(1) {
		t.Error("room is not what was released")
	}
}

// TestReleaseTooMuch panics: the accounting is broken.
func TestReleaseTooMuch(t *testing.T) {
	tr := open(t, 2*mib)
	tr.Reserve(5)
	defer func() {
		if recover() == nil {
			t.Error("it went below 0 without a word")
		}
	}()
	tr.Release(6)
}

// TestConvertTable checks which errors blame the disk (Unavailable, ReadOnly: the tier is given up) and which do not.
func TestConvertTable(t *testing.T) {
	mine := dfs.Errorf(dfs.Stale, "read", "x", "mine")
	for _, test := range []struct {
		err  error
		kind dfs.Kind
	}{
		{syscall.EIO, dfs.Unavailable}, {syscall.ENXIO, dfs.Unavailable}, {errors.New("anything"), dfs.Unavailable},
		{syscall.EROFS, dfs.ReadOnly}, {syscall.ENOSPC, dfs.NoSpace}, {syscall.EDQUOT, dfs.NoSpace}, {syscall.EFBIG, dfs.NoSpace},
		{syscall.EMFILE, dfs.ResourceExhausted}, {syscall.ENFILE, dfs.ResourceExhausted},
		{context.Canceled, dfs.Canceled}, {context.DeadlineExceeded, dfs.DeadlineExceeded}, {mine, dfs.Stale},
	} {
		for _, err := range []error{test.err, fmt.Errorf("pwrite: %w", test.err)} {
			if got := tier.Convert(err, "write page", "/m/x"); !dfs.IsKind(got, test.kind) {
				t.Errorf("%v: %v, want %v", err, got, test.kind)
			}
		}
	}
	if tier.Convert(nil, "write", "x") != nil {
		t.Error("nil became an error")
	}
}
