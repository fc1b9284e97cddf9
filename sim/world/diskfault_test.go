package world

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// bench is a node whose disk is tried by one task.
type bench struct {
	t *testing.T
	w *World
	n *Node
}

func newBench(t *testing.T, seed uint64) *bench {
	w := New(seed)
	t.Cleanup(w.Close)
	return &bench{t, w, w.NewNode("n", NodeConfig{})}
}

func (b *bench) run(task func()) {
	b.t.Helper()
	ended := false
	b.n.Go("test", func() { task(); ended = true; b.w.Sched.Stop() })
	if err := b.w.Sched.Run(b.w.Sched.Elapsed() + time.Minute); err != nil || !ended {
		b.t.Fatalf("%v; ended: %v", err, ended)
	}
}

func (b *bench) fault(f DiskFaults) {
	b.t.Helper()
	if err := b.n.SetDiskFaults(f); err != nil {
		b.t.Error(err)
	}
}

// file makes a synced file of a content.
func (b *bench) file(name string, content []byte) vfs.File {
	b.t.Helper()
	f, err := b.n.FS().Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	dir, dirErr := b.n.FS().OpenDir("")
	if err = errors.Join(err, dirErr); err == nil {
		err = dir.Sync()
	}
	if err != nil {
		panic(err) // the run fails with it, where Fatal would leave a task
	}
	return f
}

// content is what is in a file by its two ways of reading, which must agree.
func (b *bench) content(name string) []byte {
	b.t.Helper()
	f, err := b.n.FS().Open(name)
	if err != nil {
		panic(err)
	}
	one, err := io.ReadAll(f)
	other := make([]byte, len(one))
	if _, atErr := f.ReadAt(other, 0); err != nil || atErr != nil && !errors.Is(atErr, io.EOF) || !bytes.Equal(one, other) {
		b.t.Errorf("%s: %v, %v, or the two ways of reading differ", name, err, atErr)
	}
	return one
}

func flipped(a, b []byte) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// gaps tells how near to each other the bytes are that differ, and how far.
func gaps(a, b []byte) (nearest, widest int) {
	last := -1
	for i := range a {
		if a[i] != b[i] {
			if gap := i - last; last >= 0 {
				widest = max(widest, gap)
				if nearest == 0 || gap < nearest {
					nearest = gap
				}
			}
			last = i
		}
	}
	return nearest, widest
}

// TestDiskFaultsThatCannotBe: all that is wrong is told at once, with the node's name, and the faults stay as they were.
func TestDiskFaultsThatCannotBe(t *testing.T) {
	b := newBench(t, 1)
	b.fault(DiskFaults{Full: true})
	wrong := DiskFaults{ReadErrors: -0.1, WriteErrors: 1.1, SyncErrors: math.NaN(), Slow: 0.5, RotReads: -1, RotWrites: 1<<20 + 1}
	err := b.n.SetDiskFaults(wrong)
	if err == nil {
		t.Fatal("impossible faults were taken")
	}
	for _, want := range []string{"node n", "read errors: -0.1", "write errors: 1.1", "sync errors: NaN", "slow by 0.5", "bits read wrong, a MiB: -1", "bits stored wrong"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not tell %q", err, want)
		}
	}
	for _, slow := range []float64{-1, 1e7, math.NaN(), math.Inf(1)} {
		if (DiskFaults{Slow: slow}).Check() == nil {
			t.Errorf("slow by %v was taken", slow)
		}
	}
	most := DiskFaults{Full: true, ReadErrors: 1, WriteErrors: 1, SyncErrors: 1, Slow: 1e6, RotReads: 1 << 20, RotWrites: 1 << 20}
	if err := errors.Join(most.Check(), DiskFaults{}.Check(), DiskFaults{Slow: 1}.Check()); err != nil {
		t.Error(err)
	}
	b.run(func() {
		f, _ := b.n.FS().Create("f", vfs.WriteCategoryUnspecified)
		if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("refused faults took the place of those before: %v", err)
		}
	})
}

// TestDiskErrors: what fails did nothing, what is not to fail does not, and with the fault gone all goes on from what was there.
func TestDiskErrors(t *testing.T) {
	ways := map[string]func(f vfs.File) error{
		"read":    func(f vfs.File) error { _, err := f.Read(make([]byte, 1)); return err },
		"read at": func(f vfs.File) error { _, err := f.ReadAt(make([]byte, 1), 1); return err },
		"write":   func(f vfs.File) error { _, err := f.Write([]byte("new")); return err },
		"write at": func(f vfs.File) error {
			_, err := f.WriteAt([]byte("new"), 0)
			return err
		},
		"sync":      func(f vfs.File) error { return f.Sync() },
		"sync data": func(f vfs.File) error { return f.SyncData() },
	}
	for _, fault := range []struct {
		name  string
		f     DiskFaults
		fails string
		with  syscall.Errno
	}{
		{"full", DiskFaults{Full: true}, "write, write at", syscall.ENOSPC},
		{"read", DiskFaults{ReadErrors: 1}, "read, read at", syscall.EIO},
		{"write", DiskFaults{WriteErrors: 1}, "write, write at", syscall.EIO},
		{"sync", DiskFaults{SyncErrors: 1}, "sync, sync data", syscall.EIO},
		{"none", DiskFaults{}, "", 0},
	} {
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			b := newBench(t, 1)
			b.run(func() {
				b.file("f", []byte("old")).Close()
				f, err := b.n.FS().OpenReadWrite("f", vfs.WriteCategoryUnspecified)
				if err != nil {
					panic(err)
				}
				b.fault(fault.f)
				err = ways[way](f)
				if slices.Contains(strings.Split(fault.fails, ", "), way) {
					if !errors.Is(err, fault.with) {
						t.Errorf("%s with fault %s: %v, want %v", way, fault.name, err, fault.with)
					}
				} else if err != nil {
					t.Errorf("%s with fault %s: %v", way, fault.name, err)
				}
				b.fault(DiskFaults{})
				want := "old"
				if err == nil && strings.HasPrefix(way, "write") {
					want = "new"
				}
				if got := b.content("f"); string(got) != want {
					t.Errorf("%s with fault %s left %q, want %q", way, fault.name, got, want)
				}
			})
		}
	}
}

// TestFailedSync: a sync that failed synced nothing, so that a crash may lose it, and the next one that succeeds syncs
// it all.
func TestFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(20) {
		b := newBench(t, seed)
		var f vfs.File
		write := func(text string) {
			if _, err := f.WriteAt([]byte(text), 0); err != nil {
				t.Error(err)
			}
			if err := f.Sync(); !errors.Is(err, syscall.EIO) {
				t.Errorf("sync: %v", err)
			}
		}
		b.run(func() {
			f = b.file("kept", []byte("old"))
			b.fault(DiskFaults{SyncErrors: 1})
			write("new")
			b.fault(DiskFaults{})
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
			f = b.file("lost", []byte("old"))
			b.fault(DiskFaults{SyncErrors: 1})
			write("new")
		})
		b.n.Crash()
		b.n.Restart()
		b.run(func() {
			if got := b.content("kept"); string(got) != "new" {
				t.Errorf("seed %d: after the sync that succeeded: %q", seed, got)
			}
			if string(b.content("lost")) == "old" {
				lost++
			}
			f, err := b.n.FS().Open("kept")
			if err == nil {
				err = f.Sync()
			}
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("the fault did not outlive the crash: %v", err)
			}
		})
	}
	if lost == 0 {
		t.Error("no crash lost what a failed sync left")
	}
}

// TestDiskChances: about the share that is asked for fails, and which ones follows from the seed.
func TestDiskChances(t *testing.T) {
	const tries = 4000
	draw := func(seed uint64) (failures string) {
		b := newBench(t, seed)
		b.run(func() {
			f := b.file("f", []byte("x"))
			b.fault(DiskFaults{ReadErrors: 0.25, WriteErrors: 0.05, SyncErrors: 0.5})
			count := map[string]int{}
			try := func(what string, err error) {
				if errors.Is(err, syscall.EIO) {
					count[what]++
					failures += what[:1]
				}
			}
			for i := range tries {
				if i == tries/2 { // setting it again does not begin the luck again
					b.fault(b.n.disk.faults.DiskFaults)
					failures += "|"
				}
				_, err := f.ReadAt(make([]byte, 1), 0)
				try("read", err)
				_, err = f.WriteAt([]byte("x"), 0)
				try("write", err)
				try("sync", f.Sync())
			}
			for what, share := range map[string]float64{"read": 0.25, "write": 0.05, "sync": 0.5} {
				if got := float64(count[what]) / tries; math.Abs(got-share) > 4*math.Sqrt(share*(1-share)/tries) {
					t.Errorf("seed %d: %v of the %ss failed, want %v", seed, got, what, share)
				}
			}
		})
		return failures
	}
	once, again := draw(1), draw(1)
	if once != again {
		t.Error("one seed, two sequences of failures")
	}
	if one, other, _ := strings.Cut(once, "|"); one[:100] == other[:100] {
		t.Error("the same failures came again when the fault was set again")
	}
	if once == draw(2) {
		t.Error("two seeds, one sequence of failures")
	}
}

// TestSlowDisk: every operation takes as many times as long, with its bytes, and no longer when the fault is gone.
func TestSlowDisk(t *testing.T) {
	b := newBench(t, 1)
	b.n.disk.cfg = DiskConfig{Rate: 1e6, Op: time.Millisecond, Sync: 10 * time.Millisecond}
	f := b.n.FS()
	var times [3][]time.Duration
	for i, slow := range []float64{0, 8, 1} {
		b.fault(DiskFaults{Slow: slow})
		timed := func(do func() error) {
			b.run(func() {
				began := b.w.Sched.Elapsed()
				if err := do(); err != nil && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				_ = b.n.Sleep(background, 0)
				times[i] = append(times[i], b.w.Sched.Elapsed()-began)
			})
		}
		timed(func() error {
			file, err := f.Create("f", vfs.WriteCategoryUnspecified)
			if err == nil {
				_, err = file.Write(make([]byte, 50_000))
			}
			return errors.Join(err, file.Sync())
		})
		timed(func() error {
			file, err := f.Open("f")
			_, readErr := file.ReadAt(make([]byte, 20_000), 0)
			return errors.Join(err, readErr)
		})
	}
	if want := []time.Duration{60 * time.Millisecond, 21 * time.Millisecond}; !slices.Equal(times[0], want) || !slices.Equal(times[2], want) {
		t.Errorf("a disk without fault took %v, then %v, want %v", times[0], times[2], want)
	}
	if want := []time.Duration{480 * time.Millisecond, 168 * time.Millisecond}; !slices.Equal(times[1], want) {
		t.Errorf("a disk that is slow by 8 took %v, want %v", times[1], want)
	}
}

// TestRot: bits rot at the rate that is asked for, each is counted, and reads rot otherwise each time while what is stored rots
// once. What the caller gave to be written is left alone.
func TestRot(t *testing.T) {
	const size, rate = 4 << 20, 300
	b := newBench(t, 1)
	original := make([]byte, size)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(original)
	given := slices.Clone(original)
	read := func(name string) []byte {
		f, err := b.n.FS().Open(name)
		if err != nil {
			panic(err)
		}
		p := make([]byte, size)
		if _, err := f.ReadAt(p, 0); err != nil {
			t.Error(err)
		}
		return p
	}
	near := func(what string, n int) {
		t.Helper()
		if want := float64(rate * size >> 20); math.Abs(float64(n)-want) > 4*math.Sqrt(want) {
			t.Errorf("%d bits were %s wrong, want about %v", n, what, want)
		}
	}
	b.run(func() {
		b.file("f", slices.Clone(original)) // with -race Pebble's file system now and then spoils what it was given
		b.fault(DiskFaults{RotReads: rate})
		one, counted := read("f"), b.n.Rotten()
		near("read", flipped(original, one))
		if nearest, widest := gaps(original, one); nearest > size/(rate*size>>20)/2 || widest < 2*size/(rate*size>>20) {
			t.Errorf("bits rot in a pattern: %d to %d bytes apart", nearest, widest)
		}
		if int(counted) != flipped(original, one) {
			t.Errorf("%d bits were counted, %d are wrong", counted, flipped(original, one))
		}
		if bytes.Equal(read("f"), one) {
			t.Error("a second read rotted like the first")
		}
		f, err := b.n.FS().Open("f")
		if all, readErr := io.ReadAll(f); err != nil || readErr != nil || bytes.Equal(all, original) {
			t.Errorf("%v, %v, or what is read in order does not rot", err, readErr)
		}
		b.fault(DiskFaults{})
		if before := b.n.Rotten(); !bytes.Equal(read("f"), original) || b.n.Rotten() != before {
			t.Error("rot of reads reached what is stored, or went on")
		}

		b.fault(DiskFaults{RotWrites: rate})
		counted = b.n.Rotten()
		b.file("g", given)
		if !bytes.Equal(given, original) {
			t.Error("what was to be written was changed in the caller's memory")
		}
		stored := read("g")
		near("stored", flipped(original, stored))
		if !bytes.Equal(read("g"), stored) || int(b.n.Rotten()-counted) != flipped(original, stored) {
			t.Errorf("what is stored changes, or %d bits were counted", b.n.Rotten()-counted)
		}
	})
}

// TestRotTouchesAllBits: no bit of a byte and no byte of a buffer is spared.
func TestRotTouchesAllBits(t *testing.T) {
	x := diskFaults{rng: rand.New(rand.NewPCG(1, 1))}
	var seen [16]byte
	for range 2000 {
		var p [16]byte
		x.rot(p[:], 1<<18)
		for i := range p {
			seen[i] |= p[i]
		}
	}
	if seen != [16]byte(bytes.Repeat([]byte{0xff}, 16)) {
		t.Errorf("bits that rotted: %x", seen)
	}
}

// TestDiskFaultsAreApart: faults that are drawn for change neither what a crash of the disk loses, nor the node's own randomness, nor
// what happens to another node's disk.
func TestDiskFaultsAreApart(t *testing.T) {
	outcome := func(seed uint64, f DiskFaults) string {
		w := New(seed)
		t.Cleanup(w.Close)
		ill, well := w.NewNode("ill", NodeConfig{}), w.NewNode("well", NodeConfig{})
		if err := ill.SetDiskFaults(f); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, n := range []*Node{ill, well} {
			for i := range 10 { // nothing here fails by the fault: it draws for reads
				file, err := n.FS().Create(fmt.Sprint("f", i), vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = file.Write(bytes.Repeat([]byte{byte(i)}, 20_000))
				_, _ = file.ReadAt(make([]byte, 100), 0)
			}
			fmt.Fprint(&out, n.Rand().Uint64(), " ")
			n.Crash()
			n.Restart()
		}
		if err := ill.SetDiskFaults(DiskFaults{}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*Node{ill, well} {
			fmt.Fprint(&out, n.Rand().Uint64())
			for _, path := range walk(n.FS(), "") {
				fmt.Fprintf(&out, " %s:%x", path, len(read(n.FS(), path)))
			}
		}
		return out.String()
	}
	faults := DiskFaults{ReadErrors: 0.5, RotReads: 1000, Slow: 3}
	for seed := range uint64(10) {
		if with, without := outcome(seed, faults), outcome(seed, DiskFaults{}); with != without {
			t.Errorf("seed %d: with faults %s, without %s", seed, with, without)
		}
	}
}
