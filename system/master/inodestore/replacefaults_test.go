package inodestore_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/inodestore/inodestoretest"
)

// replacing is a store with a state of its own (index 2) and a checkpoint of an earlier one (index 1) to replace it by,
// on a disk that can refuse and crash.
type replacing struct {
	t    *testing.T
	open func(host.Host) (inodestore.Store, error)
	fs   *vfs.MemFS
	f    *fault
	s    inodestore.Store
}

func newReplacing(t *testing.T, open func(host.Host) (inodestore.Store, error)) *replacing {
	t.Helper()
	r := &replacing{t: t, open: open, fs: vfs.NewCrashableMem(), f: &fault{}}
	s, err := open(inodestoretest.NewDisk(errorfs.Wrap(r.fs, r.f)))
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	putFile(t, s, 1, "old")
	if _, err := s.Checkpoint("/copy"); err != nil {
		t.Fatal(err)
	}
	putFile(t, s, 2, "newer")
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	return r
}

// present holds the state that a failed Replace must have left.
func (r *replacing) present() {
	r.t.Helper()
	if r.s.AppliedIndex() != 2 || !has(r.t, r.s, "old") || !has(r.t, r.s, "newer") {
		r.t.Errorf("the present state is at %d, newer there: %v", r.s.AppliedIndex(), has(r.t, r.s, "newer"))
	}
}

// crashed opens what is left of the disk when the machine loses power now, with nothing of what was not synced or with
// all of it: what was promised to be durable is there, and the store goes on.
func (r *replacing) crashed(promised uint64) {
	r.t.Helper()
	for _, kept := range []int{0, 100} {
		left := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(1, 1))})
		again, err := r.open(inodestoretest.NewDisk(left))
		if err != nil {
			r.t.Fatalf("after a crash that kept %d%%: %v", kept, err)
		}
		if again.AppliedIndex() < promised || !has(r.t, again, "old") {
			r.t.Errorf("after a crash that kept %d%% the store is at %d, %d was promised; old there: %v",
				kept, again.AppliedIndex(), promised, has(r.t, again, "old"))
		}
		putFile(r.t, again, 9, "goes on")
		if err := again.Close(); err != nil {
			r.t.Errorf("after a crash that kept %d%%: %v", kept, err)
		}
	}
}

// replaceStep tells the writing operations of a Replace in the directories that both drivers are answerable for;
// what Pebble does within a database that it opens is Pebble's.
func replaceStep(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !strings.Contains(op.Path, "/00000")
}

// TestReplaceFailsAtEveryStep: whichever step of a Replace the disk refuses, alone or with all that follow, the present
// state stays, also over a second Replace that gets no further than its first renaming and a crash at any of these
// moments; the next Replace that the disk allows does all of it.
func TestReplaceFailsAtEveryStep(t *testing.T) {
	for name, open := range faultDrivers {
		probe := newReplacing(t, open)
		n := 0
		probe.f.set(nil, func(op errorfs.Op) bool {
			if replaceStep(op) {
				n++
			}
			return false
		})
		if err := probe.s.Replace("/copy"); err != nil || n < 2 {
			t.Fatalf("%d steps, %v", n, err)
		}
		_ = probe.s.Close()
		for i := range n {
			for _, lasting := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/step %d lasting %v", name, i, lasting), func(t *testing.T) {
					testReplaceFailsAt(t, newReplacing(t, open), i, lasting)
				})
			}
		}
	}
}

func testReplaceFailsAt(t *testing.T, r *replacing, i int, lasting bool) {
	step := -1
	r.f.set(syscall.EIO, func(op errorfs.Op) bool {
		if replaceStep(op) {
			step++
			return step == i || lasting && step > i
		}
		return false
	})
	err := r.s.Replace("/copy")
	r.f.set(nil, nil)
	if err == nil || r.s.AppliedIndex() == 1 {
		_ = r.s.Close() // a step that no promise rests on, such as removing what was used
		return
	}
	r.present()
	r.crashed(r.s.FlushedIndex())
	if _, err := r.s.Checkpoint("/copy2"); err != nil {
		t.Fatal(err)
	}
	r.crashed(2)
	r.f.set(syscall.EIO, func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpRename && strings.HasPrefix(op.Path, "/copy2")
	})
	if err := r.s.Replace("/copy2"); err == nil {
		t.Fatal("a Replace without its renaming succeeded")
	}
	r.f.set(nil, nil)
	r.present()
	r.crashed(2)
	putFile(t, r.s, 3, "dropped")
	if err := r.s.Replace("/copy2"); err != nil {
		t.Fatalf("the next replace: %v", err)
	}
	r.present()
	r.crashed(2)
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
	names, err := r.fs.List("/s")
	if err != nil || slices.ContainsFunc(names, func(s string) bool { return strings.HasSuffix(s, ".new") }) {
		t.Errorf("left behind: %q, %v", names, err)
	}
}
