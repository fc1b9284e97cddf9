package host_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
)

// TestQueueCloseReleases: everybody who waits when a queue is closed is told so, receivers after they have drained it.
func TestQueueCloseReleases(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		full, empty := host.NewQueue[int](h, 0), host.NewQueue[int](h, 3) // a capacity of 0 is one
		check(t, full.Send(ctx, 7), nil)
		g := host.NewGroup(h, 0)
		for range 5 {
			_ = g.Go(ctx, "sender", func() error { check(t, full.Send(ctx, 8), host.ErrQueueClosed); return nil })
			_ = g.Go(ctx, "receiver", func() error { _, err := empty.Recv(ctx); check(t, err, host.ErrQueueClosed); return nil })
		}
		check(t, h.Sleep(ctx, 5*time.Millisecond), nil)
		full.Close()
		full.Close()
		empty.Close()
		check(t, g.Wait(ctx), nil)
		if v, err := full.Recv(ctx); v != 7 || err != nil {
			t.Errorf("what was sent before the close: %d, %v", v, err)
		}
		if _, err := full.Recv(ctx); !errors.Is(err, host.ErrQueueClosed) || full.Len() != 0 {
			t.Errorf("after it was drained: %v", err)
		}
		if _, ok := full.TryRecv(); ok {
			t.Error("an empty queue gave something")
		}
	})
}

// TestMutexIsFifo: waiters get the lock in the order in which they came, one that gives up is passed over, and TryLock does
// not overtake them.
func TestMutexIsFifo(t *testing.T) {
	v := hosttest.NewVirtual(1)
	err := v.Run(func() {
		ctx := context.Background()
		m := host.NewMutex(v)
		check(t, m.Lock(ctx), nil)
		var order []int
		for i := range 6 {
			wait, cancel := v.WithCancel(ctx)
			defer cancel()
			v.Go("waiter", func() {
				if err := m.Lock(wait); err != nil {
					order = append(order, -i)
					return
				}
				order = append(order, i)
				_ = v.Sleep(ctx, time.Millisecond)
				m.Unlock()
			})
			_ = v.Sleep(ctx, time.Millisecond)
			if i == 3 {
				cancel()
				_ = v.Sleep(ctx, time.Millisecond)
			}
		}
		m.Unlock()
		if m.TryLock() {
			t.Error("TryLock overtook those who wait")
		}
		_ = v.Sleep(ctx, time.Second)
		if !slices.Equal(order, []int{-3, 0, 1, 2, 4, 5}) || !m.TryLock() {
			t.Errorf("the order was %v", order)
		}
	})
	check(t, err, nil)
}

// TestSemaphoreMisuse (INV-1): a release of what was not acquired panics, and the semaphore stays usable for whoever catches it.
func TestSemaphoreMisuse(t *testing.T) {
	s := host.NewSemaphore(host.NewReal(), 2)
	check(t, s.Acquire(context.Background(), 1), nil)
	func() {
		defer func() {
			if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "INV-1") {
				t.Errorf("recovered %v", r)
			}
		}()
		s.Release(2)
	}()
}

// TestGroupTaskPlaces: a place is free again when its task has ended, also when it failed; the first error stays, and one
// that came while nobody waited is not lost.
func TestGroupTaskPlaces(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ctx := context.Background()
		first, second := errors.New("first"), errors.New("second")
		g := host.NewGroup(h, 1)
		check(t, g.Wait(ctx), nil) // nothing was started
		check(t, g.Go(ctx, "fails", func() error { return first }), nil)
		check(t, g.Go(ctx, "fails later", func() error { return second }), nil)
		check(t, g.Go(ctx, "is fine", func() error { return nil }), nil)
		check(t, g.Wait(ctx), first)
		check(t, g.Wait(ctx), first)
		ended, cancel := h.WithCancel(ctx)
		cancel()
		check(t, g.Wait(ended), first) // nothing runs: there is nothing to wait for
	})
}

// TestEventsAndContexts: an event that is set is set for all, before a context's end is looked at; a context ends with the
// first cause, and with its parent.
func TestEventsAndContexts(t *testing.T) {
	bothHosts(t, func(t *testing.T, h host.Host) {
		ended, cancel := h.WithCancel(context.Background())
		e := h.NewEvent()
		cancel()
		cancel()
		check(t, e.Wait(ended), context.Canceled)
		e.Set()
		e.Set()
		check(t, e.Wait(ended), nil)
		if !e.IsSet() {
			t.Error("it is not set")
		}
		check(t, h.Sleep(ended, time.Hour), context.Canceled)
		outer, end := h.WithTimeout(context.Background(), 2*time.Millisecond)
		defer end()
		inner, cancelInner := h.WithCancel(outer)
		defer cancelInner()
		check(t, h.NewEvent().Wait(inner), context.DeadlineExceeded)
		late, cancelLate := h.WithTimeout(inner, time.Hour) // of one that has ended
		defer cancelLate()
		check(t, late.Err(), context.DeadlineExceeded)
		cancelInner()
		check(t, inner.Err(), context.DeadlineExceeded) // the first cause stays
	})
}

// TestVirtualOrder (INV-2): tasks that become ready at one moment run in the order in which they did, the clock moves only
// when all wait, and a second run of one seed is the same run.
func TestVirtualOrder(t *testing.T) {
	play := func() (trace []string) {
		v := hosttest.NewVirtual(7)
		began := v.Now()
		err := v.Run(func() {
			for i := range 5 {
				v.Go("task", func() {
					for k := range 3 {
						d := time.Duration(v.Rand().IntN(3)) * time.Millisecond
						_ = v.Sleep(context.Background(), d)
						trace = append(trace, fmt.Sprintf("%d.%d@%v", i, k, v.Now().Sub(began)))
					}
				})
			}
		})
		check(t, err, nil)
		return trace
	}
	a, b := play(), play()
	if len(a) != 15 || !slices.Equal(a, b) {
		t.Errorf("two runs differ:\n%v\n%v", a, b)
	}
	v := hosttest.NewVirtual(1)
	var order []int
	check(t, v.Run(func() {
		for i := range 10 {
			v.Go("task", func() { _ = v.Sleep(context.Background(), time.Second); order = append(order, i) })
		}
	}), nil)
	if !slices.IsSorted(order) || len(order) != 10 {
		t.Errorf("those who slept alike woke as %v", order)
	}
}

// TestTickerRate: over a long time there are as many ticks as intervals, however long each round takes below one; a clock
// that jumps costs at most one interval.
func TestTickerRate(t *testing.T) {
	for _, work := range []time.Duration{0, 30 * time.Millisecond, 99 * time.Millisecond} {
		v := hosttest.NewVirtual(1)
		check(t, v.Run(func() {
			ctx := context.Background()
			began, ticks := v.Now(), 0
			for ticker := host.NewTicker(v, 100*time.Millisecond); v.Now().Sub(began) < 10*time.Second; ticks++ {
				check(t, ticker.Wait(ctx), nil)
				_ = v.Sleep(ctx, work)
			}
			if ticks < 99 || ticks > 101 {
				t.Errorf("%d ticks in ten seconds with %v of work each", ticks, work)
			}
		}), nil)
	}
}
