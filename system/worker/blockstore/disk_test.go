package blockstore_test

import (
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/tier"
)

// trouble is a disk that fails as a test says.
type trouble struct {
	mu    sync.Mutex
	fails func(op errorfs.Op) error // nil: it works
	met   int                       // errors so far
}

// on makes a disk of fs that works until set is called.
func (d *trouble) on(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.fails == nil {
			return nil
		}
		err := d.fails(op)
		if err != nil {
			d.met++
		}
		return err
	}))
}

func (d *trouble) set(fails func(op errorfs.Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails, d.met = fails, 0
}

func (d *trouble) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.met
}

// failing fails operations of the kinds, or of every kind without any, on paths that contain part.
func failing(err error, part string, kinds ...errorfs.OpKind) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		if !strings.Contains(op.Path, part) {
			return nil
		}
		for _, k := range kinds {
			if op.Kind == k {
				return err
			}
		}
		if len(kinds) == 0 {
			return err
		}
		return nil
	}
}

// nameOf is a part of the paths of a file version's pair.
func nameOf(inode dfs.InodeID) string { return fmt.Sprintf("%016x-", uint64(inode)) }

// TestFailedDisk: a disk of which everything fails is given up within a few requests. It loses only its own pages, which
// are reported as removed; the other disk takes what comes.
func TestFailedDisk(t *testing.T) {
	var disk trouble
	s := open(t, newNode(disk.on(vfs.NewMem())), tiers(20, 20))
	r := ref(1, 2*mib, 2*mib)
	fill(t, s, r, 0, r.Length)
	s.TakeChanges()
	disk.set(failing(syscall.EIO, "/MEM"))
	refused := 0
	for inode := dfs.InodeID(10); !s.Tiers()[0].Failed; inode++ {
		if fill(t, s, ref(inode, mib, mib), 0, mib) == 0 {
			refused++
		}
		if inode > 30 {
			t.Fatal("the disk is not given up")
		}
	}
	if refused > tier.MaxBadFiles {
		t.Errorf("%d requests were refused before the disk was given up", refused)
	}
	if n := readable(t, s, r); n != 0 {
		t.Errorf("%d pages from a failed disk", n)
	}
	if _, removed, _ := s.TakeChanges(); len(removed) != 1 || s.Tiers()[0].UsedBytes != 0 {
		t.Errorf("removed %+v, tiers %v", removed, s.Tiers())
	}
	if n := fill(t, s, r, 0, r.Length); n != 2 || s.TierOf(r, 0) != 1 {
		t.Errorf("%d pages on the other disk, tier %d", n, s.TierOf(r, 0))
	}
	if _, err := write(t, s, ref(3, mib, mib), false); err != nil {
		t.Errorf("a write beside a failed disk: %v", err)
	}
	met := disk.count()
	fill(t, s, ref(40, mib, mib), 0, mib)
	s.Free(1, 0)
	if n := disk.count(); n != met {
		t.Errorf("the failed disk was asked %d times more", n-met)
	}
}

// TestOneBadFile: errors of one file, however many, cost that file's page and nothing else. A cached page is dropped and can
// be filled again; one that only this worker has stays, in case that the disk gives it later.
func TestOneBadFile(t *testing.T) {
	var disk trouble
	s := open(t, newNode(disk.on(vfs.NewMem())), tiers(40))
	cached, owned, other := ref(1, 2*mib, 2*mib), ref(2, 2*mib, 2*mib), ref(3, 2*mib, 2*mib)
	fill(t, s, cached, 0, cached.Length)
	fill(t, s, other, 0, other.Length)
	if _, err := write(t, s, owned, false); err != nil {
		t.Fatal(err)
	}
	owned.Persisted = false
	s.TakeChanges()

	disk.set(failing(syscall.EIO, nameOf(2), errorfs.OpFileReadAt))
	p := make([]byte, mib)
	for range 3 * tier.MaxBadFiles {
		if _, hit, err := s.Read(t.Context(), owned, 0, p); hit || !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), nameOf(2)) {
			t.Fatalf("a page that only this worker has: hit %v, %v", hit, err)
		}
	}
	if _, err := s.Check(t.Context(), owned.File); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("check: %v", err)
	}
	disk.set(failing(syscall.EIO, nameOf(1), errorfs.OpFileReadAt))
	if _, hit, err := s.Read(t.Context(), cached, mib, p); hit || err != nil {
		t.Errorf("a cached page: hit %v, %v", hit, err)
	}
	if result, err := s.Check(t.Context(), cached.File); err != nil || result.BadPages != 1 || result.Pages != 1 {
		t.Errorf("check of the rest: %+v, %v", result, err)
	}
	disk.set(nil)
	if s.Tiers()[0].Failed {
		t.Fatal("the tier was given up for two bad files")
	}
	if n, m := readable(t, s, owned), readable(t, s, other); n != 2 || m != 2 {
		t.Errorf("%d pages of the worker's own file, %d of another one", n, m)
	}
	if n := fill(t, s, cached, 0, cached.Length); n != 2 || readable(t, s, cached) != 2 {
		t.Errorf("%d pages filled again", n)
	}
	if _, removed, _ := s.TakeChanges(); len(removed) != 0 { // removed and added again: the last word counts
		t.Errorf("removed %+v", removed)
	}
}

// TestFailedWrites fails each kind of step of a client's write once. The client hears Unavailable (another worker may take
// it) with the file's name, nothing of it is visible or in use, the tier lives, and the same write works afterwards.
func TestFailedWrites(t *testing.T) {
	for _, test := range []struct {
		name      string
		kinds     []errorfs.OpKind
		part      string
		persisted bool
	}{
		{"open", []errorfs.OpKind{errorfs.OpCreate, errorfs.OpOpen}, nameOf(1), false},
		{"data", []errorfs.OpKind{errorfs.OpFileWriteAt}, ".data", false},
		{"data's sync", []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}, ".data", false},
		{"directory", []errorfs.OpKind{errorfs.OpMkdirAll}, "/MEM/", false},
		{"data of a write through", []errorfs.OpKind{errorfs.OpFileWriteAt}, ".data", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var disk trouble
			s := open(t, newNode(disk.on(vfs.NewMem())), tiers(20))
			r := ref(1, 3*mib, 2*mib)
			disk.set(failing(syscall.EIO, test.part, test.kinds...))
			_, err := write(t, s, r, test.persisted)
			if disk.count() == 0 {
				t.Fatal("nothing failed")
			}
			if !dfs.IsKind(err, dfs.Unavailable) || !strings.Contains(err.Error(), "check the disk") {
				t.Errorf("got %v", err)
			}
			disk.set(nil)
			if used := s.Tiers()[0].UsedBytes; used != 0 || readable(t, s, r) != 0 || s.Tiers()[0].Failed {
				t.Errorf("%d bytes used, %d pages, failed %v", used, readable(t, s, r), s.Tiers()[0].Failed)
			}
			if blocks, err := write(t, s, r, test.persisted); err != nil || len(blocks) != 2 || readable(t, s, r) != 3 {
				t.Errorf("again: %v, %v", blocks, err)
			}
		})
	}
}

// TestCannotErase: a disk that cannot forget is given up at once, since what it has would come back with the next start.
func TestCannotErase(t *testing.T) {
	for _, test := range []struct {
		name string
		kind errorfs.OpKind
		free func(s *blockstore.Store)
	}{
		{"records", errorfs.OpFileWriteAt, func(s *blockstore.Store) {
			w, err := s.NewWriter(*ref(1, 0, mib)) // drops one block of two: the pair stays, its records are erased
			must(t, err)
			defer w.Abort()
			_ = w.Append(t.Context(), 0, content(1, 0, mib))
		}},
		{"pair", errorfs.OpRemove, func(s *blockstore.Store) { s.Free(1, 0) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var disk trouble
			s := open(t, newNode(disk.on(vfs.NewMem())), tiers(20))
			fill(t, s, ref(1, 2*mib, mib), 0, 2*mib)
			disk.set(failing(syscall.EIO, ".meta", test.kind))
			test.free(s)
			if !s.Tiers()[0].Failed {
				t.Error("the tier goes on")
			}
		})
	}
}

// TestFullDisk: a disk that is full before its tier is refuses fills and writes, with a kind that says so, and costs neither
// the tier nor what is on it.
func TestFullDisk(t *testing.T) {
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		var disk trouble
		s := open(t, newNode(disk.on(vfs.NewMem())), tiers(60))
		held := ref(1, 2*mib, 2*mib)
		fill(t, s, held, 0, held.Length)
		used := s.Tiers()[0].UsedBytes
		disk.set(failing(errno, "", errorfs.OpFileWriteAt, errorfs.OpCreate))
		for inode := dfs.InodeID(2); inode < 20; inode++ {
			if n := fill(t, s, ref(inode, mib, mib), 0, mib); n != 0 {
				t.Errorf("%d pages stored on a full disk", n)
			}
			if _, err := write(t, s, ref(100+inode, mib, mib), false); !dfs.IsKind(err, dfs.NoSpace) || !strings.Contains(err.Error(), "lower the capacity") {
				t.Fatalf("a write to a full disk: %v", err)
			}
		}
		if ti := s.Tiers()[0]; ti.Failed || ti.UsedBytes != used || readable(t, s, held) != 2 {
			t.Errorf("%v: tier %v, %d bytes before", errno, ti, used)
		}
		disk.set(nil)
		if n := fill(t, s, ref(2, mib, mib), 0, mib); n != 1 {
			t.Error("the disk has room again and takes nothing")
		}
	}
}

// TestReadOnlyDisk: a disk that the kernel has mounted read-only is given up with the first write.
func TestReadOnlyDisk(t *testing.T) {
	var disk trouble
	s := open(t, newNode(disk.on(vfs.NewMem())), tiers(20, 20))
	disk.set(failing(syscall.EROFS, "/MEM", errorfs.OpFileWriteAt, errorfs.OpCreate, errorfs.OpMkdirAll))
	fill(t, s, ref(1, mib, mib), 0, mib)
	if !s.Tiers()[0].Failed || s.Tiers()[1].Failed {
		t.Errorf("tiers %v", s.Tiers())
	}
	if n := fill(t, s, ref(1, mib, mib), 0, mib); n != 1 || s.TierOf(ref(1, mib, mib), 0) != 1 {
		t.Errorf("%d pages on the other tier", n)
	}
}

// TestRecoverBesideBadFile: a pair that cannot be read at the start stays on the disk; all others are taken in. When the
// disk gives it again, so is it.
func TestRecoverBesideBadFile(t *testing.T) {
	memory := vfs.NewMem()
	s := open(t, newNode(memory), tiers(40))
	for inode := dfs.InodeID(1); inode <= 6; inode++ {
		if _, err := write(t, s, ref(inode, mib, mib), false); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	pages := func(bad ...dfs.InodeID) (n int, failed bool, err error) {
		var disk trouble
		disk.set(func(op errorfs.Op) error {
			for _, inode := range bad {
				if err := failing(syscall.EIO, nameOf(inode), errorfs.OpFileReadAt)(op); err != nil && strings.HasSuffix(op.Path, ".meta") {
					return err
				}
			}
			return nil
		})
		s, err := blockstore.Open(t.Context(), newNode(disk.on(memory)), tiers(40))
		if err != nil {
			return 0, true, err
		}
		defer s.Close()
		disk.set(nil)
		for inode := dfs.InodeID(1); inode <= 6; inode++ {
			r := ref(inode, mib, mib)
			r.Persisted = false
			n += readable(t, s, r)
		}
		return n, s.Tiers()[0].Failed, nil
	}
	if n, failed, err := pages(2, 5); n != 4 || failed || err != nil {
		t.Errorf("%d pages beside two bad files, failed %v, %v", n, failed, err)
	}
	if n, failed, err := pages(); n != 6 || failed || err != nil {
		t.Errorf("%d pages when all can be read again, failed %v, %v", n, failed, err)
	}
	if _, _, err := pages(1, 2, 3, 4, 5, 6); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("the only disk fails for every file: %v", err)
	}
}

// TestOpenBesideFailedTier: a disk that cannot be listed costs its tier; with no other one the store does not open, and
// says why.
func TestOpenBesideFailedTier(t *testing.T) {
	for _, test := range []struct {
		part   string
		fails  int // tiers
		opened bool
	}{{"/MEM", 1, true}, {"/SSD", 1, true}, {"/", 2, false}} {
		var disk trouble
		disk.set(failing(syscall.EIO, test.part, errorfs.OpList))
		s, err := blockstore.Open(t.Context(), newNode(disk.on(vfs.NewMem())), tiers(20, 20))
		if (err == nil) != test.opened || err != nil && !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("%s: %v", test.part, err)
		}
		if err != nil {
			continue
		}
		failed := 0
		for _, ti := range s.Tiers() {
			if ti.Failed {
				failed++
			}
		}
		if failed != test.fails || fill(t, s, ref(1, mib, mib), 0, mib) != 1 {
			t.Errorf("%s: tiers %v", test.part, s.Tiers())
		}
		s.Close()
	}
}

// TestSurvivesEveryFailure fails one operation of the disk after the other, in a fixed piece of work, and checks at each
// that nothing hangs or panics, no wrong byte is served, nothing acknowledged is lost, and room is not leaked.
func TestSurvivesEveryFailure(t *testing.T) {
	for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
		for at := 0; ; at++ {
			var disk trouble
			memory := vfs.NewMem()
			c := tiers(4, 4)
			c.FillWait, c.WriteWait = 1, 1
			s := open(t, newNode(disk.on(memory)), c)
			n, reached := 0, false
			disk.set(func(op errorfs.Op) error {
				if n++; n <= at {
					return nil
				}
				if reached || errno == syscall.ENOSPC && op.Kind == errorfs.OpRemove { // which takes no space
					return nil
				}
				reached = true
				return errno
			})
			acknowledged := map[dfs.InodeID]*blockstore.Ref{}
			for inode := dfs.InodeID(1); inode <= 2; inode++ {
				r := ref(inode, 100_000, 64<<10)
				fill(t, s, r, 0, r.Length)
				if _, err := write(t, s, ref(10+inode, 100_000, 64<<10), false); err == nil {
					acknowledged[10+inode] = ref(10+inode, 100_000, 64<<10)
				}
				_ = s.SetPinned(t.Context(), inode, 0, true)
				_ = s.SetPinned(t.Context(), inode, 0, false)
				if inode == 2 {
					_ = s.SetPersisted(t.Context(), 11, 1)
				}
			}
			s.Free(1, 0)
			s.Free(12, 0)
			delete(acknowledged, 12)
			failed := s.Tiers()[0].Failed || s.Tiers()[1].Failed
			disk.set(nil)
			check := func(s *blockstore.Store, when string) {
				for inode := dfs.InodeID(1); inode <= 12; inode++ {
					r := ref(inode, 100_000, 64<<10)
					r.Persisted = acknowledged[inode] == nil
					if n := readable(t, s, r); acknowledged[inode] != nil && n != 2 && !failed {
						t.Errorf("operation %d (%v), %s: %d pages of an acknowledged write", at, errno, when, n)
					}
				}
				if bad := s.Counters.BadPages.Load(); bad > 0 && errno == syscall.ENOSPC {
					t.Errorf("operation %d: %d bad pages on a full disk", at, bad)
				}
			}
			check(s, "afterwards")
			for inode := dfs.InodeID(1); inode <= 12; inode++ {
				s.Free(inode, 0)
			}
			for _, ti := range s.Tiers() {
				if ti.UsedBytes != 0 {
					t.Errorf("operation %d (%v): %d bytes left in use on %s", at, errno, ti.UsedBytes, ti.Name)
				}
			}
			s.Close()
			if !failed && !t.Failed() {
				left := files(memory)
				for _, name := range left {
					t.Errorf("operation %d (%v): %s is left", at, errno, filepath.Base(name))
				}
			}
			if !reached {
				t.Logf("%d operations", at)
				break
			}
			if t.Failed() {
				return
			}
		}
	}
}

// TestMisread: what a disk reads wrong once and holds right is no bad page. It may be the only copy there is.
func TestMisread(t *testing.T) {
	const at = 1*mib + 70_000
	for _, persisted := range []bool{false, true} {
		var disk trouble
		fs := vfs.NewMem()
		s := open(t, newNode(disk.on(fs)), tiers(40))
		r := ref(1, 2*mib, 2*mib)
		if _, err := write(t, s, r, persisted); err != nil {
			t.Fatal(err)
		}
		r.Persisted = persisted
		for wrong := range 5 {
			reads := 0
			disk.set(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".data") {
					if reads++; reads == 1 && wrong > 0 || reads == wrong+1 && wrong > 0 {
						damage(t, fs, at, false) // the second time, it is right again
					}
				}
				return nil
			})
			p := make([]byte, 100)
			crc, hit, err := s.Read(t.Context(), r, at-50, p)
			disk.set(nil)
			if wrong < 3 {
				if want := content(1, at-50, 100); !hit || err != nil || string(p) != string(want) || crc != crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)) {
					t.Errorf("persisted %v, read wrong %d times: hit %v, %v", persisted, wrong, hit, err)
				}
				continue
			}
			if hit || dfs.IsKind(err, dfs.Corrupted) == persisted || s.Counters.BadPages.Load() != 1 {
				t.Errorf("persisted %v, read wrong %d times: hit %v, %v, %d bad pages", persisted, wrong, hit, err, s.Counters.BadPages.Load())
			}
			break
		}
	}
}
