package sched

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// waits are the ways in which a task can wait, each for about an hour. begun is told when it is about to.
var waits = []struct {
	name string
	wait func(s *Scheduler, g *Group, begun func())
}{
	{"sleep", func(s *Scheduler, _ *Group, begun func()) { begun(); _ = s.Sleep(background, time.Hour) }},
	{"sleep under a context", func(s *Scheduler, _ *Group, begun func()) {
		ctx, cancel := s.WithCancel(background)
		defer cancel()
		begun()
		_ = s.Sleep(ctx, time.Hour)
	}},
	{"sleep under a deadline", func(s *Scheduler, _ *Group, begun func()) {
		ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Hour)
		defer cancel()
		begun()
		_ = s.Sleep(ctx, 2*time.Hour)
	}},
	{"event", func(s *Scheduler, _ *Group, begun func()) {
		e := s.NewEvent()
		s.After(time.Hour, e.Set)
		begun()
		_ = e.Wait(background)
	}},
	{"event under a context", func(s *Scheduler, _ *Group, begun func()) {
		ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Hour)
		defer cancel()
		begun()
		_ = s.NewEvent().Wait(ctx)
	}},
	{"event after work", func(s *Scheduler, _ *Group, begun func()) {
		s.Spend(time.Hour)
		e := s.NewEvent()
		s.After(0, e.Set)
		begun()
		_ = e.Wait(background)
	}},
	{"sleep after work", func(s *Scheduler, _ *Group, begun func()) {
		s.Spend(30 * time.Minute)
		begun()
		_ = s.Sleep(background, 30*time.Minute)
	}},
	{"a second wait", func(s *Scheduler, _ *Group, begun func()) {
		_ = s.Sleep(background, 1)
		e := s.NewEvent()
		s.After(1, e.Set)
		_ = e.Wait(background)
		begun()
		_ = s.Sleep(background, time.Hour)
	}},
}

// TestKillAtEveryWait: wherever a task waits, a kill unwinds it there with its deferred calls, nothing of it goes on later,
// its place in contexts is given back, and another group's task in the same wait goes on as if nothing had been.
func TestKillAtEveryWait(t *testing.T) {
	for _, w := range waits {
		t.Run(w.name, func(t *testing.T) {
			s := New(3)
			defer s.Teardown()
			victim, other := s.NewGroup("victim"), s.NewGroup("other")
			var unwound, went, survived bool
			victim.Go("task", func() {
				defer func() { unwound = true }()
				w.wait(s, victim, func() {})
				went = true
			})
			other.Go("task", func() {
				w.wait(s, other, func() {})
				survived = s.Elapsed() >= time.Hour && s.Elapsed() < time.Hour+time.Second
			})
			s.After(time.Minute, func() {
				victim.Kill()
				if !unwound || victim.Tasks() != 0 {
					t.Error("Kill returned before the task was unwound")
				}
			})
			if err := s.Run(3 * time.Hour); err != nil {
				t.Fatal(err)
			}
			if went || !survived {
				t.Errorf("the victim went on: %v; the other did: %v", went, survived)
			}
		})
	}
}

// TestSpendBeforeEveryWait: what a task spent is waited for in every kind of wait, by it and not by others, and nothing of
// it is left for the next wait.
func TestSpendBeforeEveryWait(t *testing.T) {
	for _, w := range waits {
		t.Run(w.name, func(t *testing.T) {
			var began, ended, second, bystander time.Duration
			s := New(5)
			defer s.Teardown()
			g := s.NewGroup("g")
			g.Go("worker", func() {
				s.Spend(10 * time.Minute)
				w.wait(s, g, func() { began = s.Elapsed() })
				ended = s.Elapsed()
				_ = s.Sleep(background, time.Minute)
				second = s.Elapsed()
			})
			g.Go("bystander", func() {
				_ = s.Sleep(background, time.Second)
				bystander = s.Elapsed()
			})
			if err := s.Run(4 * time.Hour); err != nil {
				t.Fatal(err)
			}
			// The deadlines were told by a clock that stood at the epoch, but run from the task's own time.
			if began < 10*time.Minute || ended < 70*time.Minute || ended > 70*time.Minute+time.Second || second != ended+time.Minute || bystander != time.Second {
				t.Errorf("began to wait at %v, went on at %v and %v; the bystander at %v", began, ended, second, bystander)
			}
		})
	}
}

// TestContextEndsDuringWork: a context that ends while a task's work takes time ends the wait when the work is done, not in
// the middle of it.
func TestContextEndsDuringWork(t *testing.T) {
	run(t, 1, func(s *Scheduler, g *Group) {
		for _, wait := range []func(Context) error{
			func(ctx Context) error { return s.Sleep(ctx, time.Hour) },
			func(ctx Context) error { return s.NewEvent().Wait(ctx) },
		} {
			began := s.Elapsed()
			ctx, cancel := s.WithCancel(background)
			s.After(time.Second, cancel)
			s.Spend(time.Minute)
			if err := wait(ctx); !errors.Is(err, context.Canceled) || s.Elapsed() != began+time.Minute {
				t.Errorf("%v after %v", err, s.Elapsed()-began)
			}
		}
	})
}

// TestSpendOutside: outside of tasks, and of no or negative work, Spend charges nobody.
func TestSpendOutside(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	s.Spend(time.Hour)
	s.After(time.Second, func() { s.Spend(time.Hour) })
	s.NewGroup("g").Go("task", func() {
		s.Spend(0)
		s.Spend(-time.Hour)
		if s.Elapsed() != 0 {
			t.Errorf("at %v", s.Elapsed())
		}
		_ = s.Sleep(background, 2*time.Second)
		if s.Elapsed() != 2*time.Second {
			t.Errorf("at %v", s.Elapsed())
		}
	})
	if err := s.Run(time.Hour); err != nil {
		t.Error(err)
	}
}

// TestTheDyingReachNobody: what a killed task's deferred calls do has no effect: no event, timer, context or task of theirs
// is heard of, and they cannot end what others wait under.
func TestTheDyingReachNobody(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	victim, other := s.NewGroup("victim"), s.NewGroup("other")
	shared, cancelShared := s.WithCancel(background)
	event := s.NewEvent()
	var heard []string
	victim.Go("task", func() {
		defer func() {
			event.Set()
			cancelShared()
			s.After(time.Second, func() { heard = append(heard, "timer") }).Stop()
			s.After(time.Second, func() { heard = append(heard, "timer") })
			_, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Second)
			cancel()
			other.Go("ghost", func() { heard = append(heard, "task") })
			s.Spend(time.Hour)
		}()
		_ = s.Sleep(background, time.Hour)
	})
	other.Go("waiter", func() {
		ctx, cancel := s.WithTimeout(shared, time.Unix(Epoch, 0), time.Minute)
		defer cancel()
		if err := event.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || s.Elapsed() != time.Minute {
			t.Errorf("the waiter heard %v at %v", err, s.Elapsed())
		}
	})
	s.After(time.Second, victim.Kill)
	if err := s.Run(time.Hour); err != nil {
		t.Error(err)
	}
	if len(heard) > 0 || event.IsSet() || shared.Err() != nil {
		t.Errorf("heard %v, set %v, ended %v", heard, event.IsSet(), shared.Err())
	}
}

// TestKillBeforeTheFirstTurn: a task that never ran is not run by its kill, on a fresh coroutine and on one that had another
// task before.
func TestKillBeforeTheFirstTurn(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	first := s.NewGroup("first")
	for range 3 {
		first.Go("gone soon", func() {})
	}
	if err := s.Run(time.Second); err != nil || len(s.idle) != 3 {
		t.Fatalf("%v, %d coroutines are idle, want 3", err, len(s.idle))
	}
	victim := s.NewGroup("victim")
	ran := false
	for range 5 { // three on old coroutines
		victim.Go("task", func() { ran = true })
	}
	victim.Kill()
	victim.Go("late", func() { ran = true })
	if err := s.Run(time.Minute); err != nil || ran || victim.Tasks() != 0 {
		t.Errorf("%v, ran %v, %d tasks", err, ran, victim.Tasks())
	}
}

// TestPanicOfTheDying: a deferred call that panics during a kill ends the run with its name.
func TestPanicOfTheDying(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("w1")
	g.Go("task", func() {
		defer func() { panic("in the end") }()
		_ = s.Sleep(background, time.Hour)
	})
	s.After(time.Second, g.Kill)
	var f *Fault
	if err := s.Run(time.Minute); !errors.As(err, &f) || f.Task != "task" || !strings.Contains(f.Reason, "in the end") || f.At != time.Second {
		t.Errorf("%v", err)
	}
	if err := s.Run(time.Hour); !errors.As(err, &f) {
		t.Errorf("a run went on after a fault: %v", err)
	}
}

// TestCoroutinesAreReused: many short tasks, one after the other, need as many coroutines as run at a time.
func TestCoroutinesAreReused(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("g")
	g.Go("main", func() {
		for range 1000 {
			for range 3 {
				g.Go("short", func() {})
			}
			_ = s.Sleep(background, time.Second)
		}
	})
	before := runtime.NumGoroutine()
	if err := s.Run(time.Hour); err != nil {
		t.Fatal(err)
	}
	if len(s.idle) > 4 || runtime.NumGoroutine() > before+8 || g.Tasks() != 0 {
		t.Errorf("%d idle coroutines, %d goroutines more, %d tasks", len(s.idle), runtime.NumGoroutine()-before, g.Tasks())
	}
}

// TestStaleEventsAreCounted: the count on which sweeping depends is exact: of stopped timers, of sleeps that a context or a
// kill ended, and of events that were woken twice; it ends at zero when the heap is empty.
func TestStaleEventsAreCounted(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("g")
	for i := range 200 {
		g.Go("sleeper", func() {
			ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Duration(i)*time.Second)
			defer cancel()
			_ = s.Sleep(ctx, 100*time.Second)
			timer := s.After(time.Hour, func() { t.Error("a stopped timer fired") })
			timer.Stop()
			timer.Stop() // counts once
		})
		e := s.NewEvent()
		g.Go("waiter", func() {
			ctx, cancel := s.WithCancel(background)
			s.After(time.Second, func() { e.Set(); cancel() }) // woken twice
			if err := e.Wait(ctx); err != nil {
				t.Error("an event that was set lost against the context that ended later")
			}
		})
	}
	killed := s.NewGroup("killed")
	for range 50 {
		killed.Go("sleeper", func() { _ = s.Sleep(background, 1000*time.Second) })
	}
	s.After(time.Minute, killed.Kill)
	for at := time.Duration(0); at < 2*time.Hour; at += 7 * time.Second {
		if err := s.Run(at); err != nil {
			t.Fatal(err)
		}
		stale := 0
		for i := range s.events.heap {
			if e := &s.events.heap[i]; e.stale() && (e.timer != nil || e.sleep) {
				stale++
			}
		}
		if s.events.stale != stale {
			t.Fatalf("at %v: %d stale events are counted, there are %d", at, s.events.stale, stale)
		}
	}
	if len(s.events.heap) != 0 || s.events.stale != 0 {
		t.Errorf("%d events, %d stale", len(s.events.heap), s.events.stale)
	}
}

// TestSweepAfterShortSleeps: sleeps that are always cut short leave no events behind that grow without bound, and neither
// do timers that are stopped meanwhile.
func TestSweepAfterShortSleeps(t *testing.T) {
	run(t, 1, func(s *Scheduler, _ *Group) {
		most := 0
		for range 50_000 {
			ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Millisecond)
			_ = s.Sleep(ctx, 1000*time.Hour)
			cancel()
			s.After(500*time.Hour, func() {}).Stop()
			most = max(most, len(s.events.heap))
		}
		if most > 4*sweepAtLeast {
			t.Errorf("%d events were on the heap", most)
		}
	})
}

// TestCallbacksAreBounded: a long-lived context forgets the callbacks that were taken back, keeps those that were not, in
// their order, and a stop for one never takes back another.
func TestCallbacksAreBounded(t *testing.T) {
	run(t, 1, func(s *Scheduler, _ *Group) {
		ctx, cancel := s.WithCancel(background)
		var got []int
		for i := range 10_000 {
			stop := OnDone(ctx, func() { got = append(got, i) })
			if i%1000 != 0 && (!stop() || stop()) {
				t.Fatalf("callback %d was not taken back once", i)
			}
		}
		if n := len(contextOf(ctx).after); n > 64 {
			t.Errorf("%d callbacks are kept", n)
		}
		late := OnDone(ctx, func() { got = append(got, -1) })
		cancel()
		if late() {
			t.Error("a callback that ran was taken back")
		}
		if len(got) != 11 || got[1] != 1000 || got[10] != -1 {
			t.Errorf("callbacks %v", got)
		}
		ran := false
		if stop := OnDone(ctx, func() { ran = true }); !ran || stop() {
			t.Error("of an ended context a callback runs at once")
		}
		if stop := OnDone(background, func() { t.Error("background ended") }); !stop() {
			t.Error("a callback that can never run was not taken back")
		}
	})
}

// TestEventForgetsThoseWhoGaveUp: an event that is never set keeps no more entries than twice those who wait.
func TestEventForgetsThoseWhoGaveUp(t *testing.T) {
	run(t, 1, func(s *Scheduler, g *Group) {
		e := s.NewEvent()
		patient := 0
		for range 3 {
			g.Go("patient", func() {
				if e.Wait(background) == nil {
					patient++
				}
			})
		}
		for range 5000 {
			ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Second)
			_ = e.Wait(ctx)
			cancel()
		}
		if len(e.more) > 16 {
			t.Errorf("%d entries are kept", len(e.more))
		}
		e.Set()
		_ = s.Sleep(background, time.Second)
		if patient != 3 {
			t.Errorf("%d of 3 who waited all along were woken", patient)
		}
	})
}

// TestDeadlineValues: deadlines, values and errors are seen through contexts of package context that lie above and below.
func TestDeadlineValues(t *testing.T) {
	type key struct{}
	run(t, 1, func(s *Scheduler, _ *Group) {
		now := time.Unix(Epoch, 0)
		above := context.WithValue(background, key{}, "v")
		ctx, cancel := s.WithTimeout(above, now, time.Minute)
		defer cancel()
		below := context.WithValue(ctx, key{}, "w")
		if ctx.Value(key{}) != "v" || below.Value(key{}) != "w" || contextOf(below) != contextOf(ctx) {
			t.Error("values")
		}
		free, end := s.WithCancel(background)
		defer end()
		if _, ok := free.Deadline(); ok {
			t.Error("a deadline out of nothing")
		}
		if free.Err() != nil {
			t.Error(free.Err())
		}
		// A wait under a context of values only is a wait under ours.
		if err := s.Sleep(below, time.Hour); !errors.Is(err, context.DeadlineExceeded) || s.Elapsed() != time.Minute {
			t.Errorf("%v at %v", err, s.Elapsed())
		}
		if err := s.NewEvent().Wait(below); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait under an ended context: %v", err)
		}
		expired, end2 := s.WithTimeout(background, now, -time.Second)
		defer end2()
		if err := s.Sleep(expired, time.Hour); !errors.Is(err, context.DeadlineExceeded) || s.Elapsed() != time.Minute {
			t.Errorf("under a deadline in the past: %v at %v", err, s.Elapsed())
		}
	})
}

// TestWatchdogLetsWorkersWork: a run whose events go on is not stuck, however long it takes; the watchdog ends with the run.
func TestWatchdogLetsWorkersWork(t *testing.T) {
	before, beforeStuck := StuckAfter, onStuck
	defer func() { StuckAfter, onStuck = before, beforeStuck }()
	StuckAfter = 40 * time.Millisecond
	reports := make(chan string, 100)
	onStuck = func(r string) { reports <- r }
	goroutines := runtime.NumGoroutine()
	s := New(1)
	g := s.NewGroup("g")
	began := time.Now()
	g.Go("busy", func() {
		for time.Since(began) < 4*StuckAfter { // of real time: it is what the watchdog looks at
			_ = s.Sleep(background, time.Second)
		}
	})
	if err := s.Run(1 << 60); err != nil {
		t.Error(err)
	}
	s.Teardown()
	if len(reports) > 0 {
		t.Errorf("a run that went on was called stuck:\n%.300s", <-reports)
	}
	settled(t, goroutines)
}

// TestStuckInACallback: the report says so when no task runs at all.
func TestStuckInACallback(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	if r := s.stuckReport(); !strings.Contains(r, "timer's callback") {
		t.Errorf("%.100s", r)
	}
}

// TestMix: histories tell apart what was mixed in, its order, and runs in which nothing was.
func TestMix(t *testing.T) {
	seen := map[uint64]string{}
	for name, mix := range map[string]func(s *Scheduler){
		"nothing":     func(*Scheduler) {},
		"1":           func(s *Scheduler) { s.Mix(1) },
		"1, 2":        func(s *Scheduler) { s.Mix(1); s.Mix(2) },
		"2, 1":        func(s *Scheduler) { s.Mix(2); s.Mix(1) },
		"ab":          func(s *Scheduler) { s.MixText("ab") },
		"ba":          func(s *Scheduler) { s.MixText("ba") },
		"a, b":        func(s *Scheduler) { s.MixText("a"); s.MixText("b") },
		"empty":       func(s *Scheduler) { s.MixText("") },
		"0":           func(s *Scheduler) { s.Mix(0) },
		"another run": func(s *Scheduler) { *s = *New(2) },
	} {
		s := New(1)
		mix(s)
		if other, ok := seen[s.History()]; ok {
			t.Errorf("%q and %q have one history", name, other)
		}
		seen[s.History()] = name
	}
}

// TestRunOfNothing: a run without events ends at once; one that was stopped by a task ends after its turn.
func TestRunOfNothing(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	if err := s.Run(time.Hour); err != nil || s.Elapsed() != 0 || s.Events() != 0 {
		t.Errorf("%v at %v after %d events", err, s.Elapsed(), s.Events())
	}
	s.After(time.Second, func() {}).Stop()
	if err := s.Run(time.Hour); err != nil || s.Events() != 0 || s.Elapsed() != 0 {
		t.Errorf("a stopped timer moved the clock to %v: %v", s.Elapsed(), err)
	}
	s.NewGroup("g").Go("forever", func() {
		s.Stop()
		_ = s.NewEvent().Wait(background)
	})
	if err := s.Run(time.Hour); err != nil {
		t.Errorf("a stopped run with a task that waits: %v", err)
	}
	var d *Deadlock
	if err := s.Run(time.Hour); !errors.As(err, &d) || !strings.Contains(err.Error(), "g/forever") {
		t.Errorf("and the next: %v", err)
	}
}
