package blockstore_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/worker/blockstore"
)

// References come from the network: these tests hold the store to what they may not do.

// TestRefLimits checks which references are refused. Behind the limits, offsets of pages and records would overflow.
func TestRefLimits(t *testing.T) {
	for _, test := range []struct {
		length, blockSize int64
		ok                bool
	}{
		{0, 1, true}, {1 << 30, 64 << 20, true}, {1 << 60, 1 << 40, true}, {math.MaxUint32, 1, true},
		{-1, 1, false}, {1, 0, false}, {1, -5, false}, {math.MaxUint32 + 1, 1, false}, {math.MaxInt64, 1 << 20, false},
		{1<<60 + 1, 1 << 40, false}, {1, 1<<40 + 1, false}, {1, math.MaxInt64, false},
	} {
		r := blockstore.Ref{File: dfs.FileVersion{Inode: 1, Version: 1}, Length: test.length, BlockSize: test.blockSize}
		if err := r.Check("read"); (err == nil) != test.ok || (err != nil && !dfs.IsKind(err, dfs.InvalidArgument)) {
			t.Errorf("length %d by %d: %v", test.length, test.blockSize, err)
		}
	}
}

// TestHostileAppend sends chunks at absurd places: they are refused, nothing panics, and the tier goes on.
func TestHostileAppend(t *testing.T) {
	s := open(t, newNode(vfs.NewMem()), tiers(20))
	for _, blockSize := range []int64{1, 1000, mib, 1 << 40} {
		for _, offset := range []int64{-1, math.MinInt64, min(1<<60, blockSize<<(62-40)<<10) + 1<<60, math.MaxInt64, math.MaxInt64 - 5, 1<<60 + 1} {
			w, err := s.NewWriter(*ref(1, 0, blockSize))
			must(t, err)
			if err := w.Append(t.Context(), offset, make([]byte, 100)); !dfs.IsKind(err, dfs.InvalidArgument) {
				t.Errorf("blocks of %d: a chunk at %d: %v", blockSize, offset, err)
			}
			w.Abort()
		}
	}
	if ti := s.Tiers()[0]; ti.Failed || ti.UsedBytes != 0 {
		t.Errorf("the tier: %v", ti)
	}
}

// FuzzAppend writes chunks anywhere, of any size, for any block size; what is committed reads back, and Abort leaves
// nothing.
func FuzzAppend(f *testing.F) {
	f.Add(int64(1000), int64(0), uint16(5000), int64(9000), uint16(30000), true)
	f.Add(int64(1), int64(1)<<32, uint16(10), int64(3), uint16(10), true)
	f.Add(int64(1)<<40, int64(math.MaxInt64-3), uint16(10), int64(math.MinInt64), uint16(10), false)
	f.Add(int64(math.MaxInt64), int64(5), uint16(10), int64(70), uint16(10), false)
	f.Fuzz(func(t *testing.T, blockSize, at1 int64, n1 uint16, at2 int64, n2 uint16, commit bool) {
		if blockSize > 0 && blockSize < 500 {
			blockSize += 500 // tinier blocks only take time
		}
		s := open(t, newNode(vfs.NewMem()), tiers(20))
		r := ref(1, 0, blockSize)
		w, err := s.NewWriter(*r)
		if err != nil {
			return
		}
		defer w.Abort()
		taken := int64(0)
		for _, c := range []struct {
			at int64
			n  uint16
		}{{at1, n1}, {at2, n2}} {
			if c.at >= 0 && c.at < math.MaxInt64-1<<20 { // content() has to be able to make it
				if w.Append(t.Context(), c.at, content(1, c.at, int64(c.n))) == nil {
					taken = w.Length()
				}
			} else if err := w.Append(t.Context(), c.at, make([]byte, c.n)); err == nil {
				t.Errorf("a chunk at %d was taken", c.at)
			}
		}
		if commit && taken < 1<<40 {
			if _, err := w.Commit(t.Context(), true); err == nil && taken > 0 {
				r.Length = taken
				for _, at := range []int64{at1, at2} {
					if at >= 0 && at < taken {
						start, end := r.PageSpan(at)
						p := make([]byte, end-start)
						if _, hit, err := s.Read(t.Context(), r, start, p); err != nil || hit && !bytes.Equal(p, content(1, start, end-start)) {
							t.Errorf("read at %d: %v, %v", start, hit, err)
						}
					}
				}
			}
		}
		w.Abort()
		s.Free(1, 0)
		if ti := s.Tiers()[0]; ti.Failed || ti.UsedBytes != 0 {
			t.Errorf("the tier: %v", ti)
		}
	})
}

// TestWrongLength reads a file that only this worker has with references that disagree on its length, as old or forged
// ones do. Before this test, the last page failed its checksum under such a length, was taken for damaged, and was
// dropped for good; with a longer one the scrub did that, and a restart lost it.
func TestWrongLength(t *testing.T) {
	for _, delta := range []int64{-200_000, -65536, -1, 1, 100, 65536, mib, 10 * mib} {
		t.Run(fmt.Sprint(delta), func(t *testing.T) {
			fs := vfs.NewMem()
			s := open(t, newNode(fs), tiers(100))
			r := ref(1, 2*mib+mib/2+33, 2*mib)
			r.Persisted = false
			_, err := write(t, s, r, false)
			must(t, err)
			wrong := *r
			wrong.Length += delta
			for at := int64(0); at < wrong.Length; {
				start, end := wrong.PageSpan(at)
				p := make([]byte, end-start)
				_, hit, err := s.Read(t.Context(), &wrong, start, p)
				if err != nil {
					t.Errorf("read at %d: %v", start, err)
				}
				if hit != s.Has(&wrong, start) {
					t.Errorf("at %d: hit %v, but Has says otherwise: a reader would turn in a circle", start, hit)
				}
				if hit && !bytes.Equal(p, content(1, start, end-start)) {
					t.Errorf("wrong bytes at %d", start)
				}
				at = end
			}
			wrong.Persisted = true
			if start, end := wrong.PageSpan(wrong.Length - 1); s.Fill(t.Context(), &wrong, start, make([]byte, end-start)) {
				t.Error("a page of another length was taken")
			}
			if got, err := s.Check(t.Context(), r.File); err != nil || got.Pages != 3 || got.BadPages != 0 {
				t.Errorf("check: %+v, %v", got, err)
			}
			must(t, s.SetPinned(t.Context(), 1, 0, true)) // writes the header anew
			s.Close()
			s = open(t, newNode(fs), tiers(100))
			if n := readable(t, s, r); n != 3 {
				t.Errorf("%d of 3 pages after a restart", n)
			}
		})
	}
}

// TestSpill writes a block that the fastest tier cannot hold, as many writers that began at once make of it: the block
// goes on on the next tier. Before this test the write was refused, with the other tier empty.
func TestSpill(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, newNode(fs), tiers(2, 40))
	r := ref(1, 9*mib+5, 8*mib)
	r.Persisted = false
	blocks, err := write(t, s, r, false)
	if err != nil || len(blocks) != 2 {
		t.Fatalf("blocks %v, %v", blocks, err)
	}
	if n := readable(t, s, r); n != 10 || s.TierOf(r, 0) != 1 {
		t.Errorf("%d pages, the first on tier %d", n, s.TierOf(r, 0))
	}
	if a, b := s.Tiers()[0].UsedBytes, s.Tiers()[1].UsedBytes; a+b != 9*mib+4096 || b < 8*mib {
		t.Errorf("%d and %d bytes used", a, b)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	s.Close()
	s = open(t, newNode(crashed), tiers(2, 40))
	if n := readable(t, s, r); n != 10 {
		t.Errorf("%d of 10 pages after a crash", n)
	}
	w, err := s.NewWriter(*ref(2, 0, 8*mib))
	must(t, err)
	for at := int64(0); at < 6*mib; at += mib {
		must(t, w.Append(t.Context(), at, content(2, at, mib)))
	}
	w.Abort()
	s.Free(1, 0)
	if a, b := s.Tiers()[0].UsedBytes, s.Tiers()[1].UsedBytes; a != 0 || b != 0 || len(files(crashed)) != 0 {
		t.Errorf("%d and %d bytes used, files %v", a, b, files(crashed))
	}
}

// TestSpillIsNotRecorded crashes after a spill and before the commit: nothing of the write is there (INV-2).
func TestSpillIsNotRecorded(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, newNode(fs), tiers(2, 40))
	r := ref(1, 6*mib, 8*mib)
	w, err := s.NewWriter(*r)
	must(t, err)
	defer w.Abort()
	for at := int64(0); at < 6*mib; at += mib {
		must(t, w.Append(t.Context(), at, content(1, at, mib)))
	}
	again := open(t, newNode(fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})), tiers(2, 40))
	if n := readable(t, again, r); n != 0 || again.Tiers()[1].UsedBytes != 0 {
		t.Errorf("%d pages of a write that was never committed", n)
	}
}

// FuzzMeta gives the store a meta file of any bytes: it opens, and serves the right bytes or none.
func FuzzMeta(f *testing.F) {
	f.Add(0, []byte{1}, 1, []byte{1})
	f.Add(512, []byte("Forebay1"), 1024, bytes.Repeat([]byte{0}, 72))
	f.Add(28, []byte{3}, 40, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, at1 int, change1 []byte, at2 int, change2 []byte) {
		fs := vfs.NewMem()
		s := open(t, newNode(fs), tiers(20))
		r := ref(1, mib+500, 300_000)
		fill(t, s, r, 0, r.Length)
		s.Close()
		for _, name := range files(fs) {
			if name[len(name)-5:] != ".meta" {
				continue
			}
			file, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
			must(t, err)
			for _, c := range []struct {
				at int
				b  []byte
			}{{at1, change1}, {at2, change2}} {
				if len(c.b) > 0 {
					_, err = file.WriteAt(c.b, int64(uint(c.at)%8192))
					must(t, err)
				}
			}
			must(t, file.Close())
		}
		s = open(t, newNode(fs), tiers(20))
		readable(t, s, r)
		if used := s.Tiers()[0].UsedBytes; used < 0 || used > 2*mib {
			t.Errorf("%d bytes used", used)
		}
		s.Free(1, 0)
		if used := s.Tiers()[0].UsedBytes; used != 0 {
			t.Errorf("%d bytes used after Free", used)
		}
	})
}

// TestShorterAttempt writes a version again with less content, as after a crash that brought an earlier attempt back: the
// last writer's short page is kept, and what lay behind it is gone. Before this test the page was left out of a write
// that was acknowledged.
func TestShorterAttempt(t *testing.T) {
	s := open(t, newNode(vfs.NewMem()), tiers(40))
	long, short := ref(1, 9*mib+7, 2*mib), ref(1, 3*mib+100, 2*mib)
	for _, r := range []*blockstore.Ref{long, short} {
		r.Persisted = false
		blocks, err := write(t, s, r, false)
		if want := int((r.Length + r.BlockSize - 1) / r.BlockSize); err != nil || len(blocks) != want {
			t.Errorf("length %d: blocks %v, %v", r.Length, blocks, err)
		}
	}
	if n := readable(t, s, short); n != 4 || s.Has(long, 4*mib) {
		t.Errorf("%d pages, block 2 held: %v", n, s.Has(long, 4*mib))
	}
	if used := s.Tiers()[0].UsedBytes; used != 3*mib+4096 {
		t.Errorf("%d bytes used", used)
	}
}
