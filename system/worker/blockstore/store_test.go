package blockstore_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/tier"
)

const mib = 1 << 20

// node is a host whose disk the test can crash.
type node struct {
	*host.Real
	fs vfs.FS
}

func (n *node) FS() vfs.FS { return n.fs }

func newNode(fs vfs.FS) *node { return &node{host.NewReal(), fs} }

// tiers are MEM of the given MiB and, if there is a second number, SSD.
func tiers(sizes ...int64) blockstore.Config {
	c := blockstore.Config{WriteWait: 200 * time.Millisecond, FillWait: 50 * time.Millisecond, ScrubBytesPerSecond: -1}
	for i, size := range sizes {
		name := []string{"MEM", "SSD"}[i]
		c.Tiers = append(c.Tiers, tier.Config{Name: name, Dir: "/" + name, CapacityBytes: size * mib, High: .8, Low: .6})
	}
	return c
}

func open(t *testing.T, n host.Host, c blockstore.Config) *blockstore.Store {
	t.Helper()
	s, err := blockstore.Open(t.Context(), n, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// kilobytes are the 256 that content is made of; copying them is much faster than the sums, under the race detector.
var kilobytes = func() (k [256][1024]byte) {
	for n := range k {
		for i := range k[n] {
			k[n][i] = byte(i*31 + n)
		}
	}
	return k
}()

// content is the byte stream of a file version: a function of inode and offset.
func content(inode dfs.InodeID, offset, length int64) []byte {
	b := make([]byte, length)
	for n := 0; n < len(b); {
		at := uint64(offset) + uint64(n)
		n += copy(b[n:], kilobytes[byte(at>>10*7+at>>20*13+uint64(inode)*101)][at&1023:])
	}
	return b
}

func ref(inode dfs.InodeID, length, blockSize int64) *blockstore.Ref {
	return &blockstore.Ref{File: dfs.FileVersion{Inode: inode, Version: 1}, Length: length, BlockSize: blockSize, Persisted: true,
		Name: fmt.Sprintf("/file%d", inode)}
}

// fill puts the pages of [from, to) into the store.
func fill(t *testing.T, s *blockstore.Store, r *blockstore.Ref, from, to int64) (stored int) {
	t.Helper()
	for at := from; at < to; {
		end := min(at+mib, (at/r.BlockSize+1)*r.BlockSize, r.Length)
		if s.Fill(t.Context(), r, at, content(r.File.Inode, at, end-at)) {
			stored++
		}
		at = end
	}
	return stored
}

// write writes the whole file as a client does, in chunks of an odd size.
func write(t *testing.T, s *blockstore.Store, r *blockstore.Ref, persisted bool) ([]uint32, error) {
	t.Helper()
	w, err := s.NewWriter(*r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for at := int64(0); at < r.Length; at += 300_000 {
		if err := w.Append(t.Context(), at, content(r.File.Inode, at, min(300_000, r.Length-at))); err != nil {
			return nil, err
		}
	}
	return w.Commit(t.Context(), persisted)
}

// readable counts the pages of a file that are held, checking every byte of them.
func readable(t *testing.T, s *blockstore.Store, r *blockstore.Ref) (pages int) {
	t.Helper()
	for at := int64(0); at < r.Length; {
		end := min(at+mib, (at/r.BlockSize+1)*r.BlockSize, r.Length)
		p := make([]byte, end-at)
		crc, hit, err := s.Read(t.Context(), r, at, p)
		if err != nil {
			t.Fatalf("read at %d: %v", at, err)
		}
		if hit {
			pages++
			if want := content(r.File.Inode, at, end-at); !bytes.Equal(p, want) {
				t.Fatalf("wrong bytes at %d", at)
			}
			if crc != crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) {
				t.Fatalf("wrong checksum at %d", at)
			}
		}
		at = end
	}
	return pages
}

// TestReadFill checks pages of all shapes: block sizes that are not multiples of pages, short tails, unaligned reads.
func TestReadFill(t *testing.T) {
	for _, test := range []struct{ length, blockSize int64 }{
		{1, 64 * mib}, {100_000, 64 * mib}, {mib, mib}, {3*mib + 5, 2 * mib}, {5 * mib, 1_500_000}, {200_000, 1000}, {10*mib - 1, 4 * mib},
	} {
		t.Run(fmt.Sprintf("%d by %d", test.length, test.blockSize), func(t *testing.T) {
			s := open(t, newNode(vfs.NewMem()), tiers(100))
			r := ref(7, test.length, test.blockSize)
			if n := readable(t, s, r); n != 0 {
				t.Errorf("%d pages in an empty store", n)
			}
			n := fill(t, s, r, 0, r.Length)
			if got := readable(t, s, r); got != n || n == 0 {
				t.Errorf("%d pages filled, %d readable", n, got)
			}
			random := rand.New(rand.NewPCG(1, 1))
			for range 200 {
				at := random.Int64N(r.Length)
				pageEnd := min((at%r.BlockSize/mib+1)*mib+at/r.BlockSize*r.BlockSize, (at/r.BlockSize+1)*r.BlockSize, r.Length)
				p := make([]byte, 1+random.Int64N(pageEnd-at))
				crc, hit, err := s.Read(t.Context(), r, at, p)
				if err != nil || !hit || !bytes.Equal(p, content(7, at, int64(len(p)))) || crc != crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) {
					t.Fatalf("read %d+%d: hit %v, %v", at, len(p), hit, err)
				}
			}
			added, _, _ := s.TakeChanges()
			blocks := int((test.length + test.blockSize - 1) / test.blockSize)
			if len(added) != 1 || len(added[0].Blocks) != blocks || added[0].Unpersisted {
				t.Errorf("changes: %d files", len(added))
			}
		})
	}
}

// TestWrite checks that a write shows only when it is committed, and leaves no trace when it is not.
func TestWrite(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, newNode(fs), tiers(100))
	r := ref(1, 5*mib+77, 2*mib)
	r.Persisted = false
	w, err := s.NewWriter(*r)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < r.Length; at += mib / 2 {
		if err := w.Append(t.Context(), at, content(1, at, min(mib/2, r.Length-at))); err != nil {
			t.Fatal(err)
		}
	}
	if n := readable(t, s, r); n != 0 {
		t.Errorf("%d pages before the commit", n)
	}
	w.Abort()
	if used := s.Tiers()[0].UsedBytes; used != 0 {
		t.Errorf("%d bytes used after the abort", used)
	}
	if names := files(fs); len(names) != 0 {
		t.Errorf("left after the abort: %v", names)
	}
	blocks, err := write(t, s, r, false)
	if err != nil || len(blocks) != 3 {
		t.Fatalf("blocks %v, %v", blocks, err)
	}
	if n := readable(t, s, r); n != 6 {
		t.Errorf("%d pages after the commit, want 6", n)
	}
	if added, _, _ := s.TakeChanges(); len(added) != 1 || !added[0].Unpersisted {
		t.Errorf("changes: %+v", added)
	}
	if blocks, err = write(t, s, r, false); err != nil || len(blocks) != 3 { // a client that tries again
		t.Errorf("again: blocks %v, %v", blocks, err)
	}
	if n := readable(t, s, r); n != 6 {
		t.Errorf("%d pages after the second commit", n)
	}
	s.Free(1, 0)
	if used := s.Tiers()[0].UsedBytes; used != 0 || len(files(fs)) != 0 {
		t.Errorf("after free: %d bytes used, files %v", used, files(fs))
	}
}

// TestWriteWithGaps keeps only what is covered: a worker gets its share of a file's blocks.
func TestWriteWithGaps(t *testing.T) {
	s := open(t, newNode(vfs.NewMem()), tiers(100))
	r := ref(1, 8*mib, 2*mib)
	w, err := s.NewWriter(*r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, at := range []int64{0, 1, 4, 5, 7} { // blocks 0 and 2 whole, 3 in part
		if err := w.Append(t.Context(), at*mib, content(1, at*mib, mib)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Append(t.Context(), 0, []byte("x")); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("a step back: %v", err)
	}
	blocks, err := w.Commit(t.Context(), true)
	if err != nil || fmt.Sprint(blocks) != "[0 2]" {
		t.Errorf("blocks %v, %v", blocks, err)
	}
	if n := readable(t, s, r); n != 5 {
		t.Errorf("%d pages, want 5", n)
	}
}

// files lists the backing files of all tiers.
func files(fs vfs.FS) (names []string) {
	for _, root := range []string{"/MEM", "/SSD"} {
		subs, _ := fs.List(root)
		for _, sub := range subs {
			in, _ := fs.List(filepath.Join(root, sub))
			for _, name := range in {
				names = append(names, filepath.Join(root, sub, name))
			}
		}
	}
	return names
}

// damage changes one byte of a file's data, or cuts it off.
func damage(t *testing.T, fs vfs.FS, at int64, truncate bool) {
	t.Helper()
	for _, name := range files(fs) {
		if !strings.HasSuffix(name, ".data") {
			continue
		}
		if truncate {
			old, err := fs.Open(name)
			must(t, err)
			kept := make([]byte, at)
			_, err = old.ReadAt(kept, 0)
			must(t, err)
			must(t, old.Close())
			f, err := fs.OpenReadWrite(name+"x", vfs.WriteCategoryUnspecified)
			must(t, err)
			_, err = f.WriteAt(kept, 0)
			must(t, err)
			must(t, f.Close())
			must(t, fs.Rename(name+"x", name))
			return
		}
		f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
		must(t, err)
		var b [1]byte
		_, err = f.ReadAt(b[:], at)
		must(t, err)
		b[0] ^= 0x10
		_, err = f.WriteAt(b[:], at)
		must(t, err)
		must(t, f.Close())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamage flips a bit, or truncates, in cached and in unpersisted data: the page is never served. Cached pages can be
// filled again; of unpersisted data the error names the file and the block.
func TestDamage(t *testing.T) {
	for _, test := range []struct{ truncate, persisted bool }{{false, true}, {false, false}, {true, true}, {true, false}} {
		t.Run(fmt.Sprintf("truncate=%v,persisted=%v", test.truncate, test.persisted), func(t *testing.T) {
			fs := vfs.NewMem()
			s := open(t, newNode(fs), tiers(100))
			r := ref(1, 3*mib, 2*mib)
			if _, err := write(t, s, r, test.persisted); err != nil {
				t.Fatal(err)
			}
			r.Persisted = test.persisted
			s.TakeChanges()
			if test.truncate {
				s.Close()
				damage(t, fs, 2*mib+100, true)
				s = open(t, newNode(fs), tiers(100))
			} else {
				damage(t, fs, 2*mib+100, false)
			}
			p := make([]byte, mib)
			_, hit, err := s.Read(t.Context(), r, 2*mib, p)
			if hit {
				t.Error("a bad page was served")
			}
			if test.persisted && err != nil {
				t.Errorf("cached: %v", err)
			}
			if !test.persisted && (!dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), "/file1") || !strings.Contains(err.Error(), "1.1/1")) {
				t.Errorf("unpersisted: %v", err)
			}
			if n := s.Counters.BadPages.Load(); n != 1 {
				t.Errorf("%d bad pages counted", n)
			}
			if _, removed, _ := s.TakeChanges(); len(removed) != 1 || removed[0].Blocks[0] != 1 {
				t.Errorf("removed: %+v", removed)
			}
			if test.persisted {
				fill(t, s, r, 2*mib, 3*mib)
				if n := readable(t, s, r); n != 3 {
					t.Errorf("%d pages after the refill", n)
				}
			}
			if used := s.Tiers()[0].UsedBytes; used != int64(3-btoi(!test.persisted))*mib {
				t.Errorf("%d bytes used", used)
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestCheckFindsDamage checks the full verification that the doctor and the scrub run.
func TestCheckFindsDamage(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, newNode(fs), tiers(100))
	r := ref(1, 4*mib, 2*mib)
	fill(t, s, r, 0, r.Length)
	damage(t, fs, 3*mib+5, false)
	got, err := s.Check(t.Context(), r.File)
	if err != nil || got != (blockstore.CheckResult{Pages: 4, BadPages: 1, Bytes: 4 * mib}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = s.Check(t.Context(), r.File); err != nil || got.BadPages != 0 || got.Pages != 3 {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// TestRestart checks that a clean restart finds everything, with its flags.
func TestRestart(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, newNode(fs), tiers(100))
	cached, unpersisted := ref(1, 5*mib, 2*mib), ref(2, 300_000, 64*mib)
	fill(t, s, cached, mib, 5*mib) // not the first page
	if _, err := write(t, s, unpersisted, false); err != nil {
		t.Fatal(err)
	}
	must(t, s.SetPinned(t.Context(), 1, 0, true))
	used := s.Tiers()[0].UsedBytes
	s.Close()
	s = open(t, newNode(fs), tiers(100))
	if got := s.Tiers()[0].UsedBytes; got != used {
		t.Errorf("%d bytes used, %d before", got, used)
	}
	if n := readable(t, s, cached); n != 4 {
		t.Errorf("%d cached pages", n)
	}
	batch, _, more := s.HeldBatch(blockstore.Cursor{}, 100)
	if more || len(batch) != 2 || batch[0].Unpersisted || !batch[1].Unpersisted || fmt.Sprint(batch[0].Blocks) != "[1 2]" {
		t.Errorf("held: %+v", batch)
	}
}

// TestCrash crashes at random moments of random work, keeping a random part of what was not synced. Never is a wrong
// byte served, and what was committed as unpersisted is all there.
func TestCrash(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		committed := map[dfs.InodeID]*blockstore.Ref{}
		for round := range 3 {
			s := open(t, newNode(fs), tiers(20, 20))
			for _, r := range committed {
				r.Persisted = false
				want := int((r.Length + mib/4 - 1) / (mib / 4))
				if n := readable(t, s, r); n != want {
					t.Fatalf("seed %d round %d: %d of %d pages of a committed file", seed, round, n, want)
				}
			}
			for i := range 12 {
				inode := dfs.InodeID(round*100 + i + 1)
				r := ref(inode, 1+random.Int64N(mib/2), mib/4)
				switch random.IntN(4) {
				case 0:
					fill(t, s, r, 0, r.Length)
				case 1:
					if _, err := write(t, s, r, false); err == nil {
						committed[inode] = r
					}
				case 2:
					_, _ = write(t, s, r, true)
				case 3: // a write that never commits
					w, err := s.NewWriter(*r)
					must(t, err)
					must(t, w.Append(t.Context(), 0, content(inode, 0, r.Length)))
				}
			}
			crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(round)))})
			s.Close()
			fs = crashed
			check := open(t, newNode(fs), tiers(20, 20))
			for i := range 12 {
				readable(t, check, ref(dfs.InodeID(round*100+i+1), 0, mib/4))
			}
			all := []dfs.FileVersion{}
			batch, _, _ := check.HeldBatch(blockstore.Cursor{}, 1000)
			for _, h := range batch {
				all = append(all, h.File)
			}
			for _, id := range all {
				_, err := check.Check(t.Context(), id)
				must(t, err)
			}
			if n := check.Counters.LostPages.Load(); n > 0 {
				t.Fatalf("seed %d round %d: %d committed pages lost", seed, round, n)
			}
			check.Close()
		}
	}
}
