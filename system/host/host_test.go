package host_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
)

// bothHosts runs a test body as a task of the real host and of the virtual one.
func bothHosts(t *testing.T, body func(t *testing.T, h host.Host)) {
	t.Run("real", func(t *testing.T) { body(t, host.NewReal()) })
	t.Run("virtual", func(t *testing.T) {
		v := hosttest.NewVirtual(1)
		if err := v.Run(func() { body(t, v) }); err != nil {
			t.Error(err)
		}
	})
}

func check(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestQueueKeepsOrderAndBound(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		q := host.NewQueue[int](h, 2)
		h.Go("producer", func() {
			for i := range 100 {
				check(t, q.Send(ctx, i), nil)
				if n := q.Len(); n > 2 {
					t.Errorf("%d items, the bound is 2 (INV-1)", n)
				}
			}
			q.Close()
		})
		var got []int
		for {
			v, err := q.Recv(ctx)
			if err != nil {
				check(t, err, host.ErrQueueClosed)
				break
			}
			got = append(got, v)
		}
		if len(got) != 100 || !slices.IsSorted(got) {
			t.Errorf("received %v", got)
		}
		if q.TrySend(1) {
			t.Error("a closed queue took an item")
		}
	})
}

func TestQueueFullAndCancel(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		q := host.NewQueue[string](h, 1)
		if !q.TrySend("a") || q.TrySend("b") {
			t.Error("the bound of 1 does not hold")
		}
		ctx, cancel := h.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		check(t, q.Send(ctx, "b"), context.DeadlineExceeded)
		if v, ok := q.TryRecv(); !ok || v != "a" {
			t.Errorf("took %q %v", v, ok)
		}
		ctx2, cancel2 := h.WithCancel(context.Background())
		cancel2()
		_, err := q.Recv(ctx2)
		check(t, err, context.Canceled)
	})
}

// TestQueuePassesWakeOn: a receiver that is cancelled as it is woken hands the item to the next one.
func TestQueuePassesWakeOn(t *testing.T) {
	for seed := range uint64(50) {
		v := hosttest.NewVirtual(seed)
		received := 0
		err := v.Run(func() {
			q := host.NewQueue[int](v, 4)
			ctx, cancel := v.WithCancel(context.Background())
			g := host.NewGroup(v, 0)
			for _, c := range []context.Context{ctx, context.Background()} {
				_ = g.Go(context.Background(), "receiver", func() error {
					if _, err := q.Recv(c); err == nil {
						received++
					}
					return nil
				})
			}
			check(t, v.Sleep(context.Background(), time.Millisecond), nil)
			q.TrySend(1)
			cancel()
			if received == 0 {
				check(t, v.Sleep(context.Background(), time.Millisecond), nil)
			}
			q.Close()
			check(t, g.Wait(context.Background()), nil)
		})
		if err != nil || received != 1 {
			t.Fatalf("seed %d: received %d items of 1, %v", seed, received, err)
		}
	}
}

func TestMutexExcludesAndIsFair(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		m := host.NewMutex(h)
		g := host.NewGroup(h, 0)
		inside, total := 0, 0
		for range 20 {
			check(t, g.Go(ctx, "holder", func() error {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				defer m.Unlock()
				if inside++; inside != 1 {
					t.Error("two holders")
				}
				total++
				err := h.Sleep(ctx, 100*time.Microsecond) // held while waiting
				inside--
				return err
			}), nil)
		}
		check(t, g.Wait(ctx), nil)
		if total != 20 || !m.TryLock() {
			t.Errorf("%d of 20 held it", total)
		}
	})
}

func TestSemaphoreGivesBackWhatIsCancelled(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		s := host.NewSemaphore(h, 3)
		check(t, s.Acquire(ctx, 2), nil)
		short, cancel := h.WithTimeout(ctx, 2*time.Millisecond)
		defer cancel()
		check(t, s.Acquire(short, 3), context.DeadlineExceeded)
		if !s.TryAcquire(1) {
			t.Error("a cancelled heavy waiter still blocks a light one")
		}
		s.Release(1)
		s.Release(2)
		check(t, s.Acquire(ctx, 99), nil) // over the capacity: all of it
		if s.Held() != 3 {
			t.Errorf("held %d, the capacity is 3", s.Held())
		}
	})
}

func TestSemaphoreHeavyIsNotOvertaken(t *testing.T) {
	v := hosttest.NewVirtual(3)
	var order []string
	err := v.Run(func() {
		ctx := context.Background()
		s := host.NewSemaphore(v, 2)
		check(t, s.Acquire(ctx, 1), nil)
		v.Go("heavy", func() { _ = s.Acquire(ctx, 2); order = append(order, "heavy"); s.Release(2) })
		v.Go("light", func() { _ = s.Acquire(ctx, 1); order = append(order, "light"); s.Release(1) })
		check(t, v.Sleep(ctx, time.Millisecond), nil)
		s.Release(1)
	})
	if err != nil || !slices.Equal(order, []string{"heavy", "light"}) {
		t.Errorf("order %v, %v", order, err)
	}
}

func TestGroupLimitsAndKeepsFirstError(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		g := host.NewGroup(h, 2)
		sem := host.NewSemaphore(h, 2)
		boom := errors.New("boom")
		for i := range 10 {
			check(t, g.Go(ctx, "task", func() error {
				if !sem.TryAcquire(1) {
					t.Error("more than two tasks at a time")
				}
				defer sem.Release(1)
				_ = h.Sleep(ctx, 100*time.Microsecond)
				if i == 3 {
					return boom
				}
				return nil
			}), nil)
		}
		check(t, g.Wait(ctx), boom)
	})
}

func TestTickerDoesNotDrift(t *testing.T) {
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		ctx, cancel := v.WithTimeout(context.Background(), 1050*time.Millisecond)
		defer cancel()
		ticker := host.NewTicker(v, 100*time.Millisecond)
		ticks := 0
		for ticker.Wait(ctx) == nil {
			ticks++
			_ = v.Sleep(ctx, 30*time.Millisecond) // work shortens the next wait
		}
		if ticks != 10 {
			t.Errorf("%d ticks in 1.05 s of 100 ms", ticks)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx, cancel := h.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		check(t, h.Sleep(ctx, time.Hour), context.DeadlineExceeded)
		inner, stop := h.WithCancel(ctx)
		defer stop()
		check(t, h.Sleep(inner, time.Hour), context.DeadlineExceeded)
	})
}

func TestVirtualSeesDeadlock(t *testing.T) {
	v := hosttest.NewVirtual(1)
	if err := v.Run(func() { _ = v.NewEvent().Wait(context.Background()) }); err == nil {
		t.Error("a task that waits for ever was not reported")
	}
}

func TestListenNamesThePort(t *testing.T) {
	h := host.NewReal()
	s, err := h.Listen("127.0.0.1:0")
	check(t, err, nil)
	defer s.Stop(context.Background())
	if _, err := h.Listen(s.Addr()); err == nil {
		t.Error("a port in use was taken twice")
	}
}
