package ufs

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host/hosttest"
)

// inVirtualTime runs main on a virtual host.
func inVirtualTime(t *testing.T, main func(v *hosttest.Virtual)) {
	t.Helper()
	v := hosttest.NewVirtual(1)
	if err := v.Run(func() { main(v) }); err != nil {
		t.Error(err)
	}
}

// TestPaceNeverGivesMore: whatever is asked for and when, what was granted up to a moment is at most a burst, what the time
// allows and one call more, and nothing is owed further ahead than INV-1 says.
func TestPaceNeverGivesMore(t *testing.T) {
	const rate, most, largest = 100, 2 * time.Second, 50
	for seed := range uint64(20) {
		inVirtualTime(t, func(v *hosttest.Virtual) {
			r := rand.New(rand.NewPCG(seed, 1))
			p := newPace(v, rate, most)
			began, granted, refused := v.Now(), 0.0, 0
			for range 300 {
				_ = v.Sleep(context.Background(), time.Duration(r.Int64N(int64(400*time.Millisecond))))
				n := float64(1 + r.IntN(largest))
				switch err := p.take(context.Background(), "read", "o", n); {
				case dfs.IsKind(err, dfs.ResourceExhausted):
					refused++
					continue
				case err != nil:
					t.Error(err)
				}
				granted += n
				if bound := rate*(v.Now().Sub(began)+burst).Seconds() + largest; granted > bound {
					t.Errorf("seed %d: %v units after %v, at most %v", seed, granted, v.Now().Sub(began), bound)
					return
				}
				if ahead := p.next.Sub(v.Now()); ahead < -burst || ahead > most+p.cost(largest) {
					t.Errorf("seed %d: %v ahead of the clock", seed, ahead)
					return
				}
			}
			if refused > 0 {
				t.Errorf("seed %d: %d refusals of one caller, which never owes more than its last call", seed, refused)
			}
		})
	}
}

// TestPaceCharge: what was used already is owed by whoever comes next, a refused turn costs nothing, and a turn alone waits
// for what is owed without owing more.
func TestPaceCharge(t *testing.T) {
	inVirtualTime(t, func(v *hosttest.Virtual) {
		ctx, p := context.Background(), newPace(v, 10, 3*time.Second)
		waited := func(call func() error) time.Duration {
			began := v.Now()
			if err := call(); err != nil {
				t.Error(err)
			}
			return v.Now().Sub(began).Round(time.Millisecond)
		}
		turn := func() error { return p.turn(ctx, "open", "o") }
		p.charge(10) // the burst
		if w := waited(turn); w != 0 {
			t.Errorf("within the burst: %v", w)
		}
		p.charge(20)
		p.charge(0)
		p.charge(-5)
		if w := waited(turn); w != 2*time.Second {
			t.Errorf("behind two seconds' worth: %v", w)
		}
		if w := waited(turn); w != 0 {
			t.Errorf("a turn owes %v itself", w)
		}
		p.charge(31)
		for range 5 {
			if err := p.take(ctx, "read", "o", 1000); !dfs.IsKind(err, dfs.ResourceExhausted) {
				t.Errorf("3.1 seconds ahead: %v", err)
			}
		}
		_ = v.Sleep(ctx, 100*time.Millisecond)
		if w := waited(func() error { return p.take(ctx, "read", "o", 1) }); w != 3*time.Second {
			t.Errorf("after refusals: %v, want 3s, the most that is waited for", w)
		}
	})
}

// TestPaceCost: cost is in proportion to what is asked for, and bounded where the product would not fit a Duration.
func TestPaceCost(t *testing.T) {
	inVirtualTime(t, func(v *hosttest.Virtual) {
		for _, test := range []struct {
			rate, n float64
			want    time.Duration
		}{
			{1000, 1000, time.Second}, {1000, 1, time.Millisecond}, {.5, 1, 2 * time.Second}, {1e-9, 1, maxCost}, {1e-300, 1e300, maxCost},
			{0, 1e9, 0}, {-1, 1e9, 0},
		} {
			if got := newPace(v, test.rate, time.Second).cost(test.n); got.Round(time.Microsecond) != test.want {
				t.Errorf("%v at %v a second cost %v, want %v", test.n, test.rate, got, test.want)
			}
		}
	})
}

// TestBudgetStaysInBounds: any history of successes and failures leaves the budget between nothing and all of it, and a
// failure is retried just while more than half is left.
func TestBudgetStaysInBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	s := &retry{o: RetryOptions{Budget: 6}, budget: 6}
	for range 20_000 {
		if r.IntN(12) > 0 {
			s.earn()
		} else if ok := s.spend(); ok != (s.budget > 3) {
			t.Fatalf("retried: %v, with %v of 6 left", ok, s.budget)
		}
		if s.budget < 0 || s.budget > 6 {
			t.Fatalf("the budget is %v", s.budget)
		}
	}
	for range 100 {
		s.spend()
	}
	if s.budget != 0 || s.spend() {
		t.Errorf("after a hundred failures %v is left", s.budget)
	}
}
