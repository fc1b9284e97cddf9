package world

import (
	"context"
	"math"
	"testing"
	"time"
)

// TestDrift: a clock that drifts gains with time, also in what it calls a second, and keeps what it gained when the drift ends; a
// jump comes on top.
func TestDrift(t *testing.T) {
	for _, rate := range []float64{-0.2, 1e-4, 0.25} {
		w := New(1)
		n, right := w.NewNode("n", NodeConfig{}), w.NewNode("right", NodeConfig{})
		if err := n.SetDrift(rate); err != nil {
			t.Fatal(err)
		}
		near := func(what string, got, want time.Duration) {
			t.Helper()
			if d := got - want; d < -time.Microsecond || d > time.Microsecond {
				t.Errorf("rate %v: %s is %v, want %v", rate, what, got, want)
			}
		}
		ahead := func() time.Duration { return n.Now().Sub(right.Now()) }
		n.Go("test", func() {
			_ = n.Sleep(background, time.Hour)
			took := w.Sched.Elapsed()
			near("an hour", took, time.Duration(float64(time.Hour)/(1+rate)))
			near("the skew", ahead(), time.Hour-took)
			ctx, cancel := n.WithTimeout(background, time.Minute)
			defer cancel()
			if at, _ := ctx.Deadline(); at.Sub(n.Now()) != time.Minute {
				t.Errorf("rate %v: a deadline in %v, want 1m", rate, at.Sub(n.Now()))
			}
			began := w.Sched.Elapsed()
			_ = n.Sleep(ctx, time.Hour)
			near("a minute's timeout", w.Sched.Elapsed()-began, time.Duration(float64(time.Minute)/(1+rate)))
			skew := ahead()
			_ = n.SetDrift(0)
			_ = n.Sleep(background, time.Hour)
			near("the skew after the drift", ahead(), skew)
			n.SetSkew(time.Second)
			near("the jump", ahead(), time.Second)
			_ = n.SetDrift(rate)
			began = w.Sched.Elapsed()
			_ = right.Sleep(background, time.Hour)
			near("a right clock's hour", w.Sched.Elapsed()-began, time.Hour)
			near("the skew after jump and drift", ahead(), time.Second+time.Duration(rate*float64(time.Hour)))
		})
		if err := w.Sched.Run(10 * time.Hour); err != nil {
			t.Error(err)
		}
		w.Close()
	}
}

// TestDriftsThatCannotBe are refused, and change nothing.
func TestDriftsThatCannotBe(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{})
	for _, rate := range []float64{-1, 0.6, math.NaN(), math.Inf(1)} {
		if err := n.SetDrift(rate); err == nil || n.clock.rate != 0 {
			t.Errorf("rate %v: %v, now %v", rate, err, n.clock.rate)
		}
	}
}

// TestFastClockMovesOn: who sleeps for what is left of a time, again and again, comes to its end on a clock that is fast.
func TestFastClockMovesOn(t *testing.T) {
	w := New(1)
	defer w.Close()
	n := w.NewNode("n", NodeConfig{})
	if err := n.SetDrift(0.1); err != nil {
		t.Fatal(err)
	}
	sleeps := 0
	n.Go("waiter", func() {
		for end := time.Second; w.Sched.Elapsed() < end && sleeps < 1000; sleeps++ {
			_ = n.Sleep(context.Background(), end-w.Sched.Elapsed())
		}
	})
	if err := w.Sched.Run(2 * time.Second); err != nil || sleeps > 20 {
		t.Errorf("%d sleeps, %v", sleeps, err)
	}
}
