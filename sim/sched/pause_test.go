package sched

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestPausedTasksGoOnLate: whatever a task waits for, it goes on when its group is resumed, and not before; one whose wait was
// longer than the pause does not notice.
func TestPausedTasksGoOnLate(t *testing.T) {
	for _, way := range waits {
		for _, resume := range []time.Duration{time.Minute, 3 * time.Hour} {
			t.Run(fmt.Sprint(way.name, " ", resume), func(t *testing.T) {
				s := New(1)
				defer s.Teardown()
				g, other := s.NewGroup("paused"), s.NewGroup("other")
				var at, otherAt time.Duration
				g.Go("task", func() {
					way.wait(s, g, func() {})
					at = s.Elapsed()
				})
				other.Go("task", func() { _ = s.Sleep(background, time.Hour); otherAt = s.Elapsed() })
				s.After(time.Second, g.Pause)
				s.After(resume, g.Resume)
				if err := s.Run(10 * time.Hour); err != nil {
					t.Fatal(err)
				}
				want := max(resume, time.Hour)
				if at < want || at > want+time.Second {
					t.Errorf("the task went on at %v, want %v", at, want)
				}
				if otherAt != time.Hour {
					t.Errorf("another group's task went on at %v", otherAt)
				}
			})
		}
	}
}

// TestPausedContextsEndLate: a context's callbacks are late as well, when its timer is the paused group's; a timer of nobody's is
// not.
func TestPausedContextsEndLate(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("paused")
	var ended, fired time.Duration
	g.Go("task", func() {
		ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Hour)
		defer cancel()
		OnDone(ctx, func() { ended = s.Elapsed() })
		s.After(time.Hour, func() { fired = s.Elapsed() })
		_ = s.Sleep(background, 3*time.Hour)
	})
	s.After(time.Minute, g.Pause)
	s.After(2*time.Hour, g.Resume)
	if err := s.Run(10 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if ended != 2*time.Hour || fired != time.Hour {
		t.Errorf("the context ended at %v, want 2h; the timer fired at %v, want 1h", ended, fired)
	}
}

// TestStartsWhilePaused: tasks that are started in a paused group start when it is resumed, and none is lost.
func TestStartsWhilePaused(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("paused")
	g.Pause()
	var got []string
	for i := range 20 {
		g.Go("task", func() { got = append(got, fmt.Sprint(i, " at ", s.Elapsed())) })
	}
	if err := s.Run(time.Hour); err != nil || len(got) != 0 || s.Elapsed() != time.Hour {
		t.Fatalf("paused, at %v: %v, %v", s.Elapsed(), got, err)
	}
	g.Resume()
	if err := s.Run(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if len(got) != 20 || got[0] != "0 at 1h0m0s" {
		t.Errorf("%d: %v", len(got), got)
	}
}

// TestPausedDies: a crash ends a paused group as any other: nothing of it happens later, also after a Resume that comes too late.
func TestPausedDies(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("paused")
	went, unwound := 0, 0
	for range 5 {
		g.Go("task", func() {
			defer func() { unwound++ }()
			ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Minute)
			defer cancel()
			_ = s.Sleep(ctx, time.Hour)
			went++
		})
	}
	s.After(time.Second, g.Pause)
	s.After(2*time.Hour, g.Kill)
	s.After(3*time.Hour, g.Resume)
	s.After(3*time.Hour, g.Pause) // of what is dead: nothing
	if err := s.Run(10 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if went != 0 || unwound != 5 || g.Paused() || g.Tasks() != 0 {
		t.Errorf("%d went on, %d unwound, paused %v, %d tasks", went, unwound, g.Paused(), g.Tasks())
	}
}

// TestStoppedWhilePaused: a timer that came up during the pause and was stopped in it does not fire on Resume.
func TestStoppedWhilePaused(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("paused")
	var err error
	canceled := func() {}
	g.Go("task", func() {
		ctx, cancel := s.WithTimeout(background, time.Unix(Epoch, 0), time.Minute)
		canceled = cancel
		_ = s.Sleep(background, time.Hour)
		err = ctx.Err()
	})
	s.After(time.Second, g.Pause)
	s.After(2*time.Minute, func() { canceled() })
	s.After(2*time.Hour, g.Resume)
	if runErr := s.Run(10 * time.Hour); runErr != nil {
		t.Fatal(runErr)
	}
	if err == nil || err.Error() != "context canceled" || s.events.stale != 0 {
		t.Errorf("%v; %d stale events are counted on an empty heap", err, s.events.stale)
	}
}

// TestDeadlockAfterResume: tasks that wait for nothing are found when nothing is held any more.
func TestDeadlockAfterResume(t *testing.T) {
	s := New(1)
	defer s.Teardown()
	g := s.NewGroup("paused")
	g.Go("waits", func() { _ = s.NewEvent().Wait(background) })
	g.Pause()
	if err := s.Run(time.Hour); err != nil {
		t.Fatalf("while paused: %v", err)
	}
	g.Resume()
	var d *Deadlock
	if err := s.Run(2 * time.Hour); !errors.As(err, &d) {
		t.Errorf("resumed: %v", err)
	}
}

// TestPausesFollowTheSeed: one seed orders what was held in one way, different seeds in different ones.
func TestPausesFollowTheSeed(t *testing.T) {
	run := func(seed uint64) (history uint64, order string) {
		s := New(seed)
		defer s.Teardown()
		g := s.NewGroup("paused")
		for i := range 8 {
			g.Go("task", func() { _ = s.Sleep(background, time.Minute); order += fmt.Sprint(i) })
		}
		s.After(time.Second, g.Pause)
		s.After(time.Hour, g.Resume)
		if err := s.Run(2 * time.Hour); err != nil {
			t.Error(err)
		}
		return s.History(), order
	}
	h, o := run(1)
	for range 3 {
		if h2, o2 := run(1); h2 != h || o2 != o {
			t.Errorf("one seed: %x %s, %x %s", h, o, h2, o2)
		}
	}
	if _, o2 := run(2); o2 == o {
		t.Errorf("two seeds, one order %s", o)
	}
}
