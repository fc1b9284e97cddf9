package inodestoretest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

func testReopen(t *testing.T, d Driver) {
	h, _ := newDisk(t)
	s := open(t, d, h)
	a, b := File(1, 2, "a"), File(1, 3, "b")
	put(t, s, 10, a)
	must(t, s.Flush())
	wantIndexes(t, s, 10, 10)
	put(t, s, 11, b)
	wantIndexes(t, s, 11, 10)
	must(t, s.Close()) // flushes
	s = open(t, d, h)
	defer func() { must(t, s.Close()) }()
	wantIndexes(t, s, 11, 11)
	wantChild(t, s, 1, "a", a)
	wantChild(t, s, 1, "b", b)
}

// testCrash: after a crash the state is the one at AppliedIndex, as a whole, and that is at least what FlushedIndex had
// promised. Every index writes its number in several places, so that half an index would show.
func testCrash(t *testing.T, d Driver) {
	h, fs := newDisk(t)
	s := open(t, d, h)
	step := func(index uint64) {
		apply(t, s, index, func(b inodestore.Batch) {
			b.PutInode(File(1, dfs.InodeID(index), "current"))
			b.PutInode(File(dfs.InodeID(index), dfs.InodeID(index), "own"))
			b.DeleteInode(dfs.InodeID(index-3), "own")
			b.PutRecord(inodestore.TableMeta, []byte("current"), fmt.Append(nil, index))
		})
	}
	for index := uint64(5); index < 200; index++ {
		step(index)
		if index%20 == 0 {
			must(t, s.Flush())
		}
		if index%7 == 0 {
			promised := s.FlushedIndex()
			clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(index % 101), RNG: rand.New(rand.NewPCG(1, index))})
			wantCrashed(t, d, NewDisk(clone), promised, index)
		}
	}
	must(t, s.Close())
}

func wantCrashed(t *testing.T, d Driver, h Disk, promised, applied uint64) {
	t.Helper()
	s := open(t, d, h)
	defer func() { must(t, s.Close()) }()
	index := s.AppliedIndex()
	if index < promised || index > applied {
		t.Fatalf("after a crash at %d with %d promised: applied %d", applied, promised, index)
	}
	wantIndexes(t, s, index, index)
	if index == 0 {
		wantChild(t, s, 1, "current", nil)
		return
	}
	wantChild(t, s, 1, "current", File(1, dfs.InodeID(index), "current"))
	wantRecord(t, s, inodestore.TableMeta, "current", fmt.Sprint(index))
	for i := max(index, 10) - 4; i < index+4; i++ {
		var want *inodestore.Inode
		if i+3 > index && i <= index {
			want = File(dfs.InodeID(i), dfs.InodeID(i), "own")
		}
		wantChild(t, s, dfs.InodeID(i), "own", want)
	}
}

func testCheckpoint(t *testing.T, d Driver) {
	h, _ := newDisk(t)
	s := open(t, d, h)
	a, b := File(1, 2, "a"), File(1, 3, "b")
	put(t, s, 1, a)
	must(t, s.Flush())
	put(t, s, 2, b) // in memory only: a checkpoint has to flush it
	index, err := s.Checkpoint("/master/checkpoint")
	must(t, err)
	if index != 2 {
		t.Fatalf("checkpoint at %d, want 2", index)
	}
	if flushed := s.FlushedIndex(); flushed < index {
		t.Fatalf("flushed %d after a checkpoint at %d", flushed, index)
	}
	if _, err := s.Checkpoint("/master/checkpoint"); err == nil {
		t.Fatal("a checkpoint went over another one")
	}
	put(t, s, 3, File(1, 4, "c"))
	apply(t, s, 4, func(batch inodestore.Batch) { batch.DeleteInode(1, "a") })
	must(t, s.Flush())
	wantChild(t, s, 1, "a", nil)
	wantChild(t, s, 1, "c", File(1, 4, "c"))

	must(t, s.Replace("/master/checkpoint"))
	wantState := func() {
		t.Helper()
		wantIndexes(t, s, 2, 2)
		wantChild(t, s, 1, "a", a)
		wantChild(t, s, 1, "b", b)
		wantChild(t, s, 1, "c", nil)
	}
	wantState()
	must(t, s.Close())
	s = open(t, d, h)
	wantState()
	put(t, s, 3, File(1, 9, "later"))
	wantChild(t, s, 1, "later", File(1, 9, "later"))
	must(t, s.Close())
}

// testCrashAfterReplace: once Replace has returned, the new state survives a crash.
func testCrashAfterReplace(t *testing.T, d Driver) {
	h, fs := newDisk(t)
	s := open(t, d, h)
	put(t, s, 1, File(1, 2, "a"))
	_, err := s.Checkpoint("/master/checkpoint")
	must(t, err)
	put(t, s, 2, File(1, 3, "b"))
	must(t, s.Flush())
	must(t, s.Replace("/master/checkpoint"))
	clone := NewDisk(fs.CrashClone(vfs.CrashCloneCfg{}))
	must(t, s.Close())
	s = open(t, d, clone)
	wantIndexes(t, s, 1, 1)
	wantChild(t, s, 1, "a", File(1, 2, "a"))
	wantChild(t, s, 1, "b", nil)
	must(t, s.Close())
}

// testReplaceRefuses: a Replace that fails leaves the present state.
func testReplaceRefuses(t *testing.T, d Driver) {
	h, fs := newDisk(t)
	s := open(t, d, h)
	defer func() { must(t, s.Close()) }()
	put(t, s, 1, File(1, 2, "a"))
	if err := s.Replace("/master/nothing"); err == nil {
		t.Fatal("replaced by a directory that is not there")
	}
	wantChild(t, s, 1, "a", File(1, 2, "a"))
	_, err := s.Checkpoint("/master/checkpoint")
	must(t, err)
	damage(t, fs, "/master/checkpoint")
	if err := s.Replace("/master/checkpoint"); !dfs.IsKind(err, dfs.Corrupted) {
		t.Fatalf("replaced by a damaged checkpoint: %v", err)
	}
	wantIndexes(t, s, 1, 1)
	wantChild(t, s, 1, "a", File(1, 2, "a"))
}

// testConcurrent: a reader that starts after Apply has returned sees its effects or later ones, whatever fills of caches
// were under way (run it with -race, too).
func testConcurrent(t *testing.T, d Driver) {
	s := fresh(t, d)
	const keys, rounds, readers = 8, 3000, 4
	var done [keys]atomic.Int64 // the length that key has at least
	name := func(i int) string { return fmt.Sprintf("k%d", i) }
	var stop atomic.Bool
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(r)))
			for !stop.Load() {
				k := rng.IntN(keys)
				least := done[k].Load()
				n, err := s.Child(1, name(k))
				switch {
				case err != nil:
					t.Error(err)
					return
				case n == nil && least > 0, n != nil && n.Length < least:
					t.Errorf("stale: key %d is %+v, at least %d was applied", k, n, least)
					return
				}
				_, _ = s.Child(dfs.InodeID(2+rng.IntN(2000)), "filler") // evicts
			}
		})
	}
	rng := rand.New(rand.NewPCG(7, 99))
	for i := int64(1); i <= rounds; i++ {
		k := rng.IntN(keys)
		n := File(1, 5, name(k))
		n.Length = i
		put(t, s, uint64(i), n)
		done[k].Store(i)
	}
	stop.Store(true)
	wg.Wait()
}

// testReplaceUnderReaders: readers go on while checkpoints replace the state under them, and see one state or the other,
// never an error.
func testReplaceUnderReaders(t *testing.T, d Driver) {
	s := fresh(t, d)
	var stop atomic.Bool
	var wg sync.WaitGroup
	put(t, s, 1, File(1, 2, "n"), File(1, 2, "o"))
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				if n, err := s.Child(1, "n"); n == nil || err != nil {
					t.Errorf("child: %v, %v", n, err)
					return
				}
				entries := 0
				err := s.List(1, "", func(*inodestore.Inode) bool {
					n, err := s.Child(1, "o") // a reader within a reader
					entries++
					return n != nil && err == nil
				})
				if entries != 2 || err != nil {
					t.Errorf("list: %d entries, %v", entries, err)
					return
				}
				if _, err := s.Record(inodestore.TableMeta, []byte("k")); err != nil {
					t.Error(err)
				}
				s.Stats()
				s.FlushedIndex()
			}
		})
	}
	for i := range 20 {
		_, err := s.Checkpoint("/master/checkpoint")
		must(t, err)
		put(t, s, uint64(i+2), File(1, dfs.InodeID(i+10), "n"))
		must(t, s.Replace("/master/checkpoint"))
		wantChild(t, s, 1, "n", File(1, 2, "n"))
	}
	stop.Store(true)
	wg.Wait()
}

// testDamage: a store whose files are damaged is refused with a kind and a remedy, or opens and says so in the read that
// meets the damage; it never panics.
func testDamage(t *testing.T, d Driver) {
	h, fs := newDisk(t)
	s := open(t, d, h)
	for i := range uint64(50) {
		put(t, s, i+1, File(1, dfs.InodeID(i+2), fmt.Sprintf("f%d", i)))
	}
	must(t, s.Close())
	damage(t, fs, dir)
	s, err := d.Open(h, dir)
	if err == nil {
		_, err = s.Child(1, "f7")
		_ = s.Close()
	}
	if !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("opened a damaged store: %v; want corrupted, naming %s", err, dir)
	}
}

// damage overwrites the middle of every file of data below name.
func damage(t *testing.T, fs vfs.FS, name string) {
	t.Helper()
	files, err := fs.List(name)
	must(t, err)
	for _, base := range files {
		info, err := fs.Stat(fs.PathJoin(name, base))
		must(t, err)
		if info.IsDir() {
			damage(t, fs, fs.PathJoin(name, base))
			continue
		}
		if base == "LOCK" || strings.HasPrefix(base, "OPTIONS") || strings.HasPrefix(base, "marker") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(name, base), vfs.WriteCategoryUnspecified)
		must(t, err)
		data, err := io.ReadAll(f)
		must(t, err)
		for i := len(data) / 4; i < len(data)*3/4; i++ {
			data[i] ^= 0x5a
		}
		_, err = f.WriteAt(data, 0)
		must(t, err)
		must(t, f.Close())
	}
}
