package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// rotten is a cluster whose workers' disks rot, with files of each write type and what must be in them.
type rotten struct {
	*bed
	rng   *rand.Rand
	types map[dfs.Path]dfs.WriteType
	want  map[dfs.Path][]byte
	paths []dfs.Path
	lost  int // reads of what only a worker had that told so
	right int
	bad   int64 // pages whose checksum failed, of workers that died since
}

func newRotten(t *testing.T, seed uint64, faults world.DiskFaults) *rotten {
	r := &rotten{bed: newBed(t, seed, Config{Workers: 3, Racks: 3, WorkerBytes: 24 << 20}), rng: rand.New(rand.NewPCG(seed, 0x207)),
		types: map[dfs.Path]dfs.WriteType{}, want: map[dfs.Path][]byte{}}
	for _, n := range r.c.Workers {
		if err := n.SetDiskFaults(faults); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// writeAll writes files of up to 3 pages, which a worker's disk holds many of and its cache not all.
func (r *rotten) writeAll(prefix string, n int, as dfs.WriteType) {
	r.t.Helper()
	r.step("write", func(ctx context.Context) error {
		for i := range n {
			p := dfs.Path(fmt.Sprintf("/%s%d", prefix, i))
			data := make([]byte, 1+r.rng.IntN(3<<20))
			for at := range data {
				data[at] = byte(at>>8) ^ byte(at) ^ byte(i*31)
			}
			if err := r.k.WriteFile(ctx, p, data, client.WithWriteType(as)); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			r.paths, r.types[p], r.want[p] = append(r.paths, p), as, data
		}
		return nil
	})
}

// check judges one read: right, or an error that is told, which only data may have that no under store had.
func (r *rotten) check(p dfs.Path, got, want []byte, err error) error {
	switch {
	case err == nil && bytes.Equal(got, want):
		r.right++
	case err == nil:
		return fmt.Errorf("%s: %d WRONG bytes of %d without an error", p, len(got), len(want))
	case r.types[p] != dfs.WriteCacheThrough && r.types[p] != dfs.WriteThrough && (dfs.IsKind(err, dfs.Corrupted) || dfs.IsKind(err, dfs.DataLost)):
		r.lost++
	default:
		return fmt.Errorf("%s (%v): %w", p, r.types[p], err)
	}
	return nil
}

// readAll reads every file, as a whole or a range of it.
func (r *rotten) readAll() {
	r.t.Helper()
	r.step("read", func(ctx context.Context) error {
		for _, p := range r.paths {
			want := r.want[p]
			if r.rng.IntN(2) == 0 {
				got, err := r.k.ReadFile(ctx, p)
				if err := r.check(p, got, want, err); err != nil {
					return err
				}
				continue
			}
			if err := r.readRange(ctx, p, want); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *rotten) readRange(ctx context.Context, p dfs.Path, want []byte) error {
	f, err := r.k.Open(ctx, p)
	if err != nil {
		return r.check(p, nil, want, err)
	}
	defer func() { _ = f.Close() }()
	from := r.rng.IntN(len(want))
	got := make([]byte, 1+r.rng.IntN(len(want)-from))
	n, err := f.ReadAt(got, int64(from))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return r.check(p, got[:n], want[from:from+len(got)], err)
}

// badPages counts checksums that failed, also of workers that died since.
func (r *rotten) badPages() int64 {
	n := r.bad
	for _, w := range r.c.workers {
		n += w.Store().Counters.BadPages.Load()
	}
	return n
}

func (r *rotten) restart(i int) {
	r.t.Helper()
	r.bad += r.c.workers[i].Store().Counters.BadPages.Load()
	r.c.Workers[i].Crash()
	r.pass(100 * time.Millisecond)
	r.c.Workers[i].Restart()
	r.c.StartWorker(i)
	r.pass(3 * time.Second)
}

func (r *rotten) bits() (n uint64) {
	for _, w := range r.c.Workers {
		n += w.Rotten()
	}
	return n
}

// TestRot: with bits rotting on workers' disks no read ever gives a wrong byte. What the under store has is read right all
// the same; what only a worker had is right, or its loss is told, and it is lost only when its bits are stored wrong: a
// wrong read is followed by a right one. Workers die and come back in between.
func TestRot(t *testing.T) {
	for _, kind := range []struct {
		name   string
		faults world.DiskFaults
		loses  bool
	}{
		{"reads", world.DiskFaults{RotReads: 0.1}, false},
		{"writes", world.DiskFaults{RotWrites: 0.2}, true},
		{"both, heavily", world.DiskFaults{RotReads: 5, RotWrites: 5}, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			var bits uint64
			var bad int64
			var right, lost int
			for seed := range uint64(3) {
				r := newRotten(t, seed, kind.faults)
				r.writeAll("through", 4, dfs.WriteThrough)
				r.writeAll("both", 8, dfs.WriteCacheThrough)
				r.writeAll("async", 3, dfs.WriteAsyncThrough)
				r.writeAll("cache", 3, dfs.WriteMustCache)
				for round := range 3 {
					r.readAll()
					r.restart(round)
				}
				r.readAll()
				bits, bad, right, lost = bits+r.bits(), bad+r.badPages(), right+r.right, lost+r.lost
			}
			t.Logf("%d bits rotted, %d checksums failed, %d reads were right and %d told a loss", bits, bad, right, lost)
			// Checksums fail without rot, too: a crash tears pages that were cached and not synced.
			if bits == 0 || right == 0 || bad == 0 && kind.loses || (lost > 0) != kind.loses {
				t.Error("that is not what such a disk does to these reads")
			}
		})
	}
}
