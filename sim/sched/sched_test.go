package sched

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var background = context.Background()

// run runs main as a task until nothing is left.
func run(t *testing.T, seed uint64, main func(s *Scheduler, g *Group)) *Scheduler {
	t.Helper()
	s := New(seed)
	g := s.NewGroup("node")
	g.Go("main", func() { main(s, g) })
	if err := s.Run(time.Hour); err != nil {
		t.Fatal(err)
	}
	s.Teardown()
	return s
}

// TestSleepOrders: tasks go on in the order of their times, and the clock shows those times exactly.
func TestSleepOrders(t *testing.T) {
	var got []time.Duration
	run(t, 1, func(s *Scheduler, g *Group) {
		for _, d := range []time.Duration{5, 1, 4, 2, 3} {
			g.Go("sleeper", func() {
				if err := s.Sleep(background, d*time.Second); err != nil {
					t.Error(err)
				}
				got = append(got, s.Elapsed())
			})
		}
	})
	want := []time.Duration{1e9, 2e9, 3e9, 4e9, 5e9}
	if !slices.Equal(got, want) {
		t.Errorf("went on at %v, want %v", got, want)
	}
}

// storm is many tasks that sleep, wait for each other and cancel each other, at random.
func storm(s *Scheduler, g *Group, seed uint64) {
	const tasks = 200
	rng := rand.New(rand.NewPCG(seed, 1))
	events := make([]*Event, tasks)
	for i := range events {
		events[i] = s.NewEvent()
	}
	for i := range tasks {
		g.Go(fmt.Sprint("task", i), func() {
			for range 20 {
				ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Duration(rng.IntN(50))*time.Millisecond)
				switch rng.IntN(4) {
				case 0:
					_ = s.Sleep(ctx, time.Duration(rng.IntN(50))*time.Millisecond)
				case 1:
					_ = events[rng.IntN(tasks)].Wait(ctx)
				case 2:
					s.Spend(time.Duration(rng.IntN(1000)))
					events[i].Set()
				case 3:
					s.After(time.Duration(rng.IntN(1000)), cancel)
					_ = s.Sleep(ctx, time.Millisecond)
				}
				cancel()
				s.Mix(rng.Uint64())
			}
		})
	}
}

// TestSameSeedSameHistory: on any number of processors, and another seed another one.
func TestSameSeedSameHistory(t *testing.T) {
	history := func(order uint64) (uint64, uint64) {
		s := run(t, order, func(s *Scheduler, g *Group) { storm(s, g, 7) })
		return s.History(), s.Events()
	}
	want, events := history(3)
	if events < 4000 {
		t.Fatalf("only %d events", events)
	}
	for _, procs := range []int{1, 2, 4} {
		before := runtime.GOMAXPROCS(procs)
		if got, _ := history(3); got != want {
			t.Errorf("history %x on %d processors, want %x", got, procs, want)
		}
		runtime.GOMAXPROCS(before)
	}
	if got, _ := history(4); got == want {
		t.Error("another seed has the same history")
	}
}

// TestTiesFollowTheSeed: what happens at one instant happens in every order, by some seed.
func TestTiesFollowTheSeed(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(100) {
		order := ""
		run(t, seed, func(_ *Scheduler, g *Group) {
			for _, name := range []string{"a", "b", "c"} {
				g.Go(name, func() { order += name })
			}
		})
		seen[order] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d orders of 6: %v", len(seen), seen)
	}
}

// TestEventReleasesAll: waiters before and after Set go on, each once; a second Set does nothing.
func TestEventReleasesAll(t *testing.T) {
	released := 0
	run(t, 1, func(s *Scheduler, g *Group) {
		e := s.NewEvent()
		for range 10 {
			g.Go("waiter", func() {
				if err := e.Wait(background); err == nil {
					released++
				}
			})
		}
		_ = s.Sleep(background, time.Second)
		if e.IsSet() || released != 0 {
			t.Error("released before it was set")
		}
		e.Set()
		e.Set()
		if err := e.Wait(background); err != nil || !e.IsSet() {
			t.Error(err)
		}
	})
	if released != 10 {
		t.Errorf("%d of 10 were released", released)
	}
}

// TestContexts: which end of a wait comes first, and with which error.
func TestContexts(t *testing.T) {
	run(t, 1, func(s *Scheduler, g *Group) {
		now := time.Unix(Epoch, 0)
		outer, cancelOuter := s.WithCancel(background)
		inner, cancelInner := s.WithTimeout(outer, now, time.Minute)
		defer cancelInner()
		if at, ok := inner.Deadline(); !ok || !at.Equal(now.Add(time.Minute)) {
			t.Errorf("deadline %v, %v", at, ok)
		}
		later, cancelLater := s.WithTimeout(inner, now, time.Hour)
		defer cancelLater()
		if at, _ := later.Deadline(); !at.Equal(now.Add(time.Minute)) {
			t.Errorf("a child's deadline is %v, after its parent's", at)
		}
		if err := s.Sleep(later, 2*time.Minute); !errors.Is(err, context.DeadlineExceeded) || s.Elapsed() != time.Minute {
			t.Errorf("%v at %v", err, s.Elapsed())
		}
		waiting, cancelWaiting := s.WithCancel(outer)
		defer cancelWaiting()
		s.After(time.Second, cancelOuter)
		if err := s.NewEvent().Wait(waiting); !errors.Is(err, context.Canceled) || s.Elapsed() != 61*time.Second {
			t.Errorf("%v at %v", err, s.Elapsed())
		}
		if err := s.Sleep(context.WithoutCancel(waiting), time.Second); err != nil {
			t.Errorf("a wait that nothing ends: %v", err)
		}
		if born, cancel := s.WithTimeout(waiting, now, time.Hour); born.Err() == nil || s.Sleep(born, 1) == nil {
			t.Error("a child of an ended context lives")
		} else {
			cancel()
		}
	})
}

// TestContextCallbacks: OnDone's functions run once, in order, and not when they were taken back; package context's
// children follow without a goroutine of their own.
func TestContextCallbacks(t *testing.T) {
	run(t, 1, func(s *Scheduler, _ *Group) {
		ctx, cancel := s.WithCancel(background)
		var got []int
		for i := range 3 {
			OnDone(ctx, func() { got = append(got, i) })
		}
		stop := OnDone(ctx, func() { got = append(got, 99) })
		if !stop() || stop() {
			t.Error("a callback was taken back twice, or never")
		}
		foreign, end := context.WithCancel(ctx) //nolint: it is what the test is about
		defer end()
		before := runtime.NumGoroutine()
		cancel()
		cancel()
		if !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("callbacks %v", got)
		}
		if foreign.Err() == nil || runtime.NumGoroutine() > before {
			t.Error("a child of package context did not follow at once")
		}
		select {
		case <-ctx.Done():
		default:
			t.Error("Done is open after the end")
		}
	})
}

// TestManyRequests: a long-lived context forgets its ended children, and stopped timers do not pile up.
func TestManyRequests(t *testing.T) {
	run(t, 1, func(s *Scheduler, _ *Group) {
		server, cancel := s.WithCancel(background)
		defer cancel()
		for range 100_000 {
			_, done := s.WithTimeout(server, time.Unix(Epoch, 0), time.Hour)
			done()
		}
		if n := len(contextOf(server).children); n > 64 {
			t.Errorf("%d ended children are kept", n)
		}
		if n := len(s.events.heap); n > 4*sweepAtLeast {
			t.Errorf("%d stopped timers are kept", n)
		}
	})
}

// TestSpend: a task's own clock runs ahead, others see its doings at that time, and it waits from there.
func TestSpend(t *testing.T) {
	run(t, 1, func(s *Scheduler, g *Group) {
		e := s.NewEvent()
		g.Go("reader", func() {
			_ = e.Wait(background)
			if s.Elapsed() != 3*time.Second {
				t.Errorf("woken at %v", s.Elapsed())
			}
		})
		_ = s.Sleep(background, time.Second)
		s.Spend(2 * time.Second)
		if s.Elapsed() != 3*time.Second {
			t.Errorf("the clock shows %v after the work", s.Elapsed())
		}
		e.Set()
		_ = s.Sleep(background, time.Second)
		if s.Elapsed() != 4*time.Second {
			t.Errorf("slept until %v", s.Elapsed())
		}
		s.Spend(time.Second)
		quick := s.NewEvent()
		s.After(-time.Second, quick.Set) // at once, which is when the work has ended
		_ = quick.Wait(background)
		if s.Elapsed() != 5*time.Second {
			t.Errorf("went on at %v, in the middle of the work", s.Elapsed())
		}
	})
}

// TestKill: tasks end where they wait with their deferred calls, which reach nobody; other groups go on.
func TestKill(t *testing.T) {
	s := New(1)
	victim, other := s.NewGroup("victim"), s.NewGroup("other")
	unwound, never := 0, false
	last := s.NewEvent()
	for range 5 {
		victim.Go("worker", func() {
			defer func() {
				unwound++
				last.Set()                                 // nobody hears it
				victim.Go("heir", func() { never = true }) // nothing starts
				_ = s.Sleep(background, time.Second)       // nothing waits
				never = true                               // and so this is not reached
			}()
			_ = s.Sleep(background, time.Hour)
			never = true
		})
	}
	survived := false
	other.Go("survivor", func() {
		_ = s.Sleep(background, time.Minute)
		survived = true
	})
	s.After(time.Second, victim.Kill)
	if err := s.Run(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if unwound != 5 || never || last.IsSet() || !survived || victim.Tasks() != 0 || !victim.Dead() {
		t.Errorf("unwound %d, never %v, set %v, survived %v, tasks %d", unwound, never, last.IsSet(), survived, victim.Tasks())
	}
	victim.Retire()
	if len(s.groups) != 1 {
		t.Errorf("%d groups after one was retired", len(s.groups))
	}
	s.Teardown()
}

// TestFault: a panic names task and time, keeps its stack, and ends the run.
func TestFault(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("w7")
	g.Go("evictor", func() {
		_ = s.Sleep(background, 3*time.Second)
		panicHere()
	})
	var f *Fault
	if err := s.Run(time.Hour); !errors.As(err, &f) || f.At != 3*time.Second || f.Group != "w7" || f.Task != "evictor" ||
		!strings.Contains(err.Error(), "boom") || !strings.Contains(f.Stack, "panicHere") {
		t.Errorf("%v", err)
	}
}

func panicHere() { panic("boom") }

// TestDeadlock: a run that cannot go on says who waits.
func TestDeadlock(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("m1")
	never := s.NewEvent()
	for range 3 {
		g.Go("reader", func() { _ = never.Wait(background) })
	}
	g.Go("writer", func() { _ = never.Wait(background) })
	var d *Deadlock
	err := s.Run(time.Hour)
	if !errors.As(err, &d) || !slices.Equal(d.Waiting, []string{"m1/reader (3)", "m1/writer"}) {
		t.Errorf("%v", err)
	}
}

// TestForeignWaits: waiting outside of a task, and on contexts that virtual time does not govern, is refused loudly.
func TestForeignWaits(t *testing.T) {
	refused := func(what string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", what)
			}
		}()
		f()
	}
	s := New(1)
	defer s.Teardown()
	refused("outside of a task", func() { _ = s.Sleep(background, 1) })
	foreign, cancel := context.WithCancel(background) //nolint: it is what the test is about
	defer cancel()
	s.NewGroup("n").Go("task", func() {
		refused("sleep", func() { _ = s.Sleep(foreign, 1) })
		refused("wait", func() { _ = s.NewEvent().Wait(foreign) })
		ours, end := s.WithCancel(background)
		defer end()
		between, end2 := context.WithCancel(ours) //nolint: it is what the test is about
		defer end2()
		refused("a context in between", func() { _ = s.Sleep(between, 1) })
		refused("kill by a task", func() { s.groups[0].Kill() })
	})
	if err := s.Run(time.Hour); err != nil {
		t.Error(err)
	}
}

// TestStuck: a sync.Mutex that a waiting task holds stops the process; the watchdog says which task and which may hold it.
func TestStuck(t *testing.T) {
	before, beforeStuck := StuckAfter, onStuck
	defer func() { StuckAfter, onStuck = before, beforeStuck }()
	StuckAfter = 50 * time.Millisecond
	var mu sync.Mutex
	report := make(chan string, 1)
	onStuck = func(r string) {
		report <- r
		mu.Unlock() // a test can go on; a process could not
	}
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("w1")
	g.Go("holder", func() {
		mu.Lock()
		_ = s.Sleep(background, time.Minute)
	})
	g.Go("taker", func() {
		_ = s.Sleep(background, time.Second)
		mu.Lock()
		defer mu.Unlock()
	})
	if err := s.Run(time.Hour); err != nil {
		t.Error(err)
	}
	if r := <-report; !strings.Contains(r, `task "taker" of w1`) || !strings.Contains(r, "  holder\n") || !strings.Contains(r, "Mutex") {
		t.Errorf("the report:\n%.600s", r)
	}
}

// TestTeardownLeavesNothing: no goroutine is left of ten thousand tasks, whatever they waited for.
func TestTeardownLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	s := New(1)
	g := s.NewGroup("n")
	for i := range 10_000 {
		g.Go("task", func() {
			if i%2 == 0 {
				_ = s.Sleep(background, time.Duration(i)*time.Hour)
			}
			_ = s.NewEvent().Wait(background)
		})
	}
	if err := s.Run(time.Minute); err != nil {
		t.Fatal(err)
	}
	s.Teardown()
	settled(t, before)
}

// settled waits for the goroutines that a run leaves behind for a moment: the coroutines' last steps, and the watchdog.
func settled(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestRunGoesOn: a run ends at its limit with the clock there, and the next one goes on; Stop ends it earlier.
func TestRunGoesOn(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	ticks := 0
	g := s.NewGroup("n")
	g.Go("ticker", func() {
		for {
			_ = s.Sleep(background, time.Second)
			if ticks++; ticks == 7 {
				s.Stop()
			}
		}
	})
	for _, step := range []struct {
		limit time.Duration
		ticks int
		at    time.Duration
	}{{3500 * time.Millisecond, 3, 3500 * time.Millisecond}, {5 * time.Second, 5, 5 * time.Second}, {time.Minute, 7, 7 * time.Second}} {
		if err := s.Run(step.limit); err != nil || ticks != step.ticks || s.Elapsed() != step.at {
			t.Errorf("until %v: %v, %d ticks at %v, want %d at %v", step.limit, err, ticks, s.Elapsed(), step.ticks, step.at)
		}
	}
}

// TestTrace: every turn of a task is told with its names; telling changes nothing.
func TestTrace(t *testing.T) {
	quiet := run(t, 5, func(s *Scheduler, g *Group) { storm(s, g, 5) })
	lines := 0
	s := New(5)
	s.Trace(func(_ time.Duration, group, task string) {
		if group != "node" || task == "" {
			t.Errorf("a turn of %q/%q", group, task)
		}
		lines++
	})
	g := s.NewGroup("node")
	g.Go("main", func() { storm(s, g, 5) })
	if err := s.Run(time.Hour); err != nil {
		t.Fatal(err)
	}
	s.Teardown()
	if lines < 1000 || s.History() != quiet.History() {
		t.Errorf("%d turns, history %x, without a trace %x", lines, s.History(), quiet.History())
	}
}

// TestHeapProperty: events come out by time, tie and id, whatever went in and whatever turned stale meanwhile.
func TestHeapProperty(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 9))
		h := &eventHeap{}
		var timers []*Timer
		s := &Scheduler{}
		live, last := 0, event{}
		for id := uint64(1); id < 3000; id++ {
			tm := &Timer{s: s, fire: func() {}}
			h.push(event{at: last.at + int64(rng.IntN(100)), tie: rng.Uint32N(4), id: id, timer: tm})
			timers = append(timers, tm)
			live++
			if rng.IntN(3) == 0 {
				if victim := timers[rng.IntN(len(timers))]; victim.fire != nil {
					victim.fire = nil
					live--
				}
			}
			if rng.IntN(500) == 0 {
				h.sweep()
			}
			for rng.IntN(3) == 0 && len(h.heap) > 0 {
				e := h.pop()
				if e.at < last.at {
					t.Fatalf("seed %d: %d came after %d", seed, e.at, last.at)
				}
				last = e
				if !e.stale() {
					e.timer.fire = nil
					live--
				}
			}
		}
		for len(h.heap) > 0 {
			e := h.pop()
			if before(&e, &last) && e.at <= last.at && e.at != last.at {
				t.Fatalf("seed %d: out of order", seed)
			}
			if !e.stale() {
				live--
			}
			last = e
		}
		if live != 0 {
			t.Errorf("seed %d: %d live events were lost", seed, live)
		}
	}
}

// BenchmarkSwitch is one task that sleeps: an event and two switches of a coroutine.
func BenchmarkSwitch(b *testing.B) {
	s := New(1)
	defer s.Teardown()
	s.NewGroup("n").Go("task", func() {
		for range b.N {
			_ = s.Sleep(background, time.Microsecond)
		}
	})
	b.ReportAllocs()
	if err := s.Run(time.Duration(b.N+1) * time.Microsecond); err != nil {
		b.Fatal(err)
	}
}
