package fetch

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/tier"
)

// unit is the size of a block, and so of a page: vfs.Mem is slow with large ones under the race detector.
const unit = 64 << 10

// stalls is a fetcher in virtual time with room for two readers' runs, over files of content(inode).
type stalls struct {
	t       *testing.T
	v       *hosttest.Virtual
	fetcher *Fetcher
	store   *blockstore.Store
	tasks   *host.Group
}

func content(inode uint64) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%07d\n", inode)), 8*unit/8)
}

// inVirtualTime runs main with a fetcher, and checks at its end that nothing is held, nothing flies and nobody waits.
func inVirtualTime(t *testing.T, capacity int64, main func(s *stalls)) {
	t.Helper()
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		s := &stalls{t: t, v: v, tasks: host.NewGroup(v, 0)}
		under := mem.New(v)
		for inode := uint64(1); inode <= 8; inode++ {
			w, err := under.Create(context.Background(), fmt.Sprint("f", inode), 0o644)
			if err == nil {
				_, err = w.Write(content(inode))
			}
			if err == nil {
				_, err = w.Commit(context.Background())
			}
			if err != nil {
				t.Error(err)
			}
		}
		var err error
		s.store, err = blockstore.Open(context.Background(), v, blockstore.Config{ScrubBytesPerSecond: -1, FillWait: time.Millisecond,
			Tiers: []tier.Config{{Name: "MEM", Dir: "/mem", CapacityBytes: capacity}}})
		if err != nil {
			t.Error(err)
			return
		}
		slow := ufs.Faults(v, under, ufs.FaultOptions{LatencyMin: 20 * time.Millisecond, LatencyMax: 20 * time.Millisecond})
		s.fetcher = New(v, Config{Store: s.store, MaxBytes: 4 * unit, MaxRunBytes: 2 * unit, StallTimeout: 4 * time.Second,
			Mount: func(context.Context, dfs.MountID) (ufs.Store, error) { return slow, nil }})
		main(s)
		_ = s.tasks.Wait(context.Background())
		for s.fetcher.InFlight() > 0 {
			_ = v.Sleep(context.Background(), time.Millisecond)
		}
		_ = v.Sleep(context.Background(), s.fetcher.c.StallTimeout)
		f := s.fetcher
		if f.memory.Held() != 0 || len(f.holders) != 0 || f.waiting != 0 || f.watching {
			t.Errorf("at the end: %d bytes held by %d readers, %d wait, watched: %v", f.memory.Held(), len(f.holders), f.waiting, f.watching)
		}
		f.Close()
		s.store.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

// read reads a whole file in a task of its own, calling pause before each piece is taken, and checks every byte.
func (s *stalls) read(ctx context.Context, inode uint64, pause func(piece int)) (done host.Event, result *error) {
	done, result = s.v.NewEvent(), new(error)
	_ = s.tasks.Go(context.Background(), "reader", func() error {
		want := content(inode)
		ref := &proto.FileRef{Inode: inode, Version: 1, Length: int64(len(want)), BlockSize: unit, MountId: 1, UfsPath: fmt.Sprint("f", inode), Persisted: true}
		next, pieces := int64(0), 0
		*result = s.fetcher.Read(ctx, Request{File: ref, Length: ref.Length}, func(p Piece) error {
			if pause != nil {
				pause(pieces)
			}
			if pieces++; p.Offset != next || !bytes.Equal(p.Data, want[p.Offset:p.Offset+int64(len(p.Data))]) {
				s.t.Errorf("file %d: a piece at %d, want %d, or other bytes", inode, p.Offset, next)
			}
			next += int64(len(p.Data))
			return nil
		})
		if *result == nil && next != ref.Length {
			s.t.Errorf("file %d: %d bytes", inode, next)
		}
		done.Set()
		return nil
	})
	return done, result
}

// TestStalledReadersLoseTheirHold: readers that take nothing hold all of the memory; another one gets it soon after
// StallTimeout, and theirs go on with the right bytes when they take again (INV-4). So it is with a store that has room
// for what they had under way, and with one that has none.
func TestStalledReadersLoseTheirHold(t *testing.T) {
	for _, capacity := range []int64{64 * unit, 16 * unit} {
		inVirtualTime(t, capacity, func(s *stalls) {
			goOn := s.v.NewEvent()
			stall := func(piece int) {
				if piece == 0 {
					_ = goOn.Wait(context.Background())
				}
			}
			_, first := s.read(context.Background(), 1, stall)
			_, second := s.read(context.Background(), 2, stall)
			_ = s.v.Sleep(context.Background(), time.Second)
			if free := s.fetcher.memory.TryAcquire(unit); free {
				t.Error("the stalled readers do not hold all")
				s.fetcher.memory.Release(unit)
			}
			began := s.v.Now()
			third, err := s.read(context.Background(), 3, nil)
			if waitErr := third.Wait(context.Background()); waitErr != nil || *err != nil {
				t.Errorf("a reader beside stalled ones: %v, %v", waitErr, *err)
			}
			if took := s.v.Now().Sub(began); took > 7*time.Second || took < 2*time.Second {
				t.Errorf("it took %v", took)
			}
			if n := s.fetcher.Counters.ReclaimedBytes.Load(); n != 4*unit {
				t.Errorf("%d bytes reclaimed, want all", n)
			}
			goOn.Set()
			_ = s.tasks.Wait(context.Background())
			if *first != nil || *second != nil {
				t.Errorf("the stalled readers: %v, %v", *first, *second)
			}
		})
	}
}

// TestSlowReadersKeepTheirHold: who takes a piece now and then is slow and not stalled, however many wait; and who stalls
// while nobody wants the memory keeps it.
func TestSlowReadersKeepTheirHold(t *testing.T) {
	inVirtualTime(t, 64*unit, func(s *stalls) {
		slow := func(int) { _ = s.v.Sleep(context.Background(), 3*time.Second) }
		for inode := uint64(1); inode <= 5; inode++ {
			s.read(context.Background(), inode, slow)
		}
		_ = s.tasks.Wait(context.Background())
		if n := s.fetcher.Counters.ReclaimedBytes.Load(); n != 0 {
			t.Errorf("%d bytes were taken from slow readers", n)
		}
		done, err := s.read(context.Background(), 6, func(piece int) {
			if piece == 0 {
				_ = s.v.Sleep(context.Background(), time.Hour)
			}
		})
		_ = s.v.Sleep(context.Background(), time.Minute)
		if s.fetcher.memory.Held() != 2*unit || s.fetcher.watching {
			t.Errorf("alone, a stalled reader holds %d bytes, watched: %v", s.fetcher.memory.Held(), s.fetcher.watching)
		}
		if waitErr := done.Wait(context.Background()); waitErr != nil || *err != nil {
			t.Error(waitErr, *err)
		}
	})
}

// TestWaiterGivesUp: a reader whose time is up while it waits for memory says so, and leaves nothing behind.
func TestWaiterGivesUp(t *testing.T) {
	inVirtualTime(t, 64*unit, func(s *stalls) {
		goOn := s.v.NewEvent()
		for inode := uint64(1); inode <= 2; inode++ {
			s.read(context.Background(), inode, func(int) { _ = goOn.Wait(context.Background()) })
		}
		_ = s.v.Sleep(context.Background(), time.Second)
		ctx, cancel := s.v.WithTimeout(context.Background(), time.Second)
		defer cancel()
		done, err := s.read(ctx, 3, nil)
		_ = done.Wait(context.Background())
		if !dfs.IsKind(*err, dfs.DeadlineExceeded) {
			t.Errorf("got %v", *err)
		}
		goOn.Set()
	})
}

// TestStallsAtRandom: readers that stall, hurry and give up in any order get the right bytes or their own deadline, and
// the memory is whole at the end.
func TestStallsAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		inVirtualTime(t, []int64{64, 16}[seed%2]*unit, func(s *stalls) {
			r := rand.New(rand.NewPCG(seed, 5))
			for range 12 {
				limit := time.Duration(1+r.IntN(120)) * time.Second
				ctx, cancel := s.v.WithTimeout(context.Background(), limit)
				done, err := s.read(ctx, 1+r.Uint64N(8), func(int) {
					if r.IntN(4) == 0 {
						_ = s.v.Sleep(context.Background(), time.Duration(r.Int64N(int64(10*time.Second))))
					}
				})
				_ = s.tasks.Go(context.Background(), "check", func() error {
					defer cancel()
					_ = done.Wait(context.Background())
					if *err != nil && !dfs.IsKind(*err, dfs.DeadlineExceeded) {
						t.Errorf("seed %d: %v", seed, *err)
					}
					return nil
				})
				_ = s.v.Sleep(context.Background(), time.Duration(r.Int64N(int64(2*time.Second))))
			}
		})
	}
}
