package blockstore_test

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

const (
	smallLength = 100_000
	smallBlock  = 64 << 10
)

// work is a fixed piece of work in which a store does everything that it does to a disk. acknowledged is what only it has,
// as its clients know; before is called at each such moment's end.
func work(t *testing.T, s *blockstore.Store, acknowledged map[dfs.InodeID]bool) {
	for inode := dfs.InodeID(1); inode <= 3; inode++ {
		fill(t, s, ref(inode, smallLength, smallBlock), 0, smallLength)
	}
	for inode := dfs.InodeID(11); inode <= 13; inode++ {
		if _, err := write(t, s, ref(inode, smallLength, smallBlock), false); err != nil {
			t.Fatal(err)
		}
		acknowledged[inode] = true
	}
	w, err := s.NewWriter(*ref(21, 0, smallBlock)) // one that is given up
	must(t, err)
	must(t, w.Append(t.Context(), 0, content(21, 0, smallLength)))
	w.Abort()
	delete(acknowledged, 12) // from here on the under store has it
	must(t, s.SetPersisted(t.Context(), 12, 1))
	must(t, s.SetPinned(t.Context(), 1, 0, true))
	delete(acknowledged, 13)
	s.Free(13, 0)
	if _, err := write(t, s, ref(13, smallLength, smallBlock), false); err != nil { // and again
		t.Fatal(err)
	}
	acknowledged[13] = true
	s.Free(2, 0)
	s.Promote(ref(3, smallLength, smallBlock), 0)
}

// TestCrashAtEveryOperation takes the disk as a power cut would leave it before each operation of a piece of work, with
// nothing, some or all of what was not synced, and starts on it. What was acknowledged is all there, no wrong byte is
// served, what is held is what is accounted for, and nothing stays on the disk when all is freed.
func TestCrashAtEveryOperation(t *testing.T) {
	for at := 1; ; at++ {
		memory := vfs.NewCrashableMem()
		acknowledged := map[dfs.InodeID]bool{}
		var expected map[dfs.InodeID]bool
		var crashed []*vfs.MemFS
		n := 0
		var disk trouble
		s := open(t, newNode(disk.on(memory)), tiers(8, 8))
		disk.set(func(errorfs.Op) error {
			if n++; n == at {
				expected = maps.Clone(acknowledged)
				for _, percent := range []int{0, 40, 100} {
					crashed = append(crashed, memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(at), 6))}))
				}
			}
			return nil
		})
		work(t, s, acknowledged)
		disk.set(nil)
		s.Close()
		if crashed == nil {
			t.Logf("%d operations", at-1)
			return
		}
		for _, fs := range crashed {
			after := open(t, newNode(fs), tiers(8, 8))
			for inode := dfs.InodeID(1); inode <= 21; inode++ {
				r := ref(inode, smallLength, smallBlock)
				r.Persisted = !expected[inode]
				if got := readable(t, after, r); expected[inode] && got != 2 {
					t.Errorf("operation %d: %d of 2 pages of file %d, which was acknowledged", at, got, inode)
				}
			}
			if lost := after.Counters.LostPages.Load(); lost > 0 {
				t.Errorf("operation %d: %d pages lost", at, lost)
			}
			for inode := dfs.InodeID(1); inode <= 21; inode++ {
				after.Free(inode, 0)
			}
			for _, ti := range after.Tiers() {
				if ti.UsedBytes != 0 || ti.Failed {
					t.Errorf("operation %d: all is freed and %v", at, ti)
				}
			}
			if left := files(fs); len(left) != 0 {
				t.Errorf("operation %d: all is freed and %v are left", at, left)
			}
			after.Close()
		}
		if t.Failed() {
			return
		}
	}
}

// TestDamageAnywhere flips a bit, or cuts a file off, at a random place of a random file of either sort, and starts on it.
// No wrong byte is served, every other file is whole, and the scrub's check counts what it drops.
func TestDamageAnywhere(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 21))
		fs := vfs.NewMem()
		s := open(t, newNode(fs), tiers(8))
		for inode := dfs.InodeID(1); inode <= 4; inode++ {
			if _, err := write(t, s, ref(inode, smallLength, smallBlock), true); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		names := files(fs)
		victim := names[random.IntN(len(names))]
		spoil(t, fs, victim, random)
		s = open(t, newNode(fs), tiers(8))
		for inode := dfs.InodeID(1); inode <= 4; inode++ {
			result, err := s.Check(t.Context(), ref(inode, 0, smallBlock).File)
			must(t, err)
			hit := strings.Contains(victim, nameOf(inode))
			n := readable(t, s, ref(inode, smallLength, smallBlock))
			if !hit && (n != 2 || result.BadPages != 0) || int64(n) != result.Pages-result.BadPages {
				t.Errorf("seed %d: %s was damaged; of file %d are %d pages readable, check found %+v", seed, victim, inode, n, result)
			}
			if n := fill(t, s, ref(inode, smallLength, smallBlock), 0, smallLength); n != 2 || readable(t, s, ref(inode, smallLength, smallBlock)) != 2 {
				t.Errorf("seed %d: file %d cannot be filled again: %d pages", seed, inode, n)
			}
		}
		s.Close()
	}
}

// spoil flips a bit of a file, or writes it anew up to a random place.
func spoil(t *testing.T, fs vfs.FS, name string, random *rand.Rand) {
	t.Helper()
	info, err := fs.Stat(name)
	must(t, err)
	at := random.Int64N(info.Size())
	data := make([]byte, info.Size())
	f, err := fs.Open(name)
	must(t, err)
	_, err = f.ReadAt(data, 0)
	must(t, err)
	must(t, f.Close())
	if random.IntN(2) == 0 {
		data = data[:at]
	} else {
		data[at] ^= 1 << random.IntN(8)
	}
	f, err = fs.Create(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write(data)
	must(t, err)
	must(t, f.Close())
}
