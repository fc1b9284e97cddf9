package client

import (
	"context"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// TestStallWatch (INV-1): a step is given up after patience intervals and before one more has passed, wherever in an interval
// it began; steps that are shorter, time between steps, and streams that have ended are left alone.
func TestStallWatch(t *testing.T) {
	const interval = time.Second
	for name, tt := range map[string]struct {
		patience int64
		idle     time.Duration // before the step
		steps    []time.Duration
		stalls   bool
	}{
		"short steps":             {1, 0, []time.Duration{900 * time.Millisecond, 900 * time.Millisecond, 900 * time.Millisecond}, false},
		"nothing asked":           {1, time.Minute, nil, false},
		"idle, then short":        {1, time.Minute, []time.Duration{time.Second / 2}, false},
		"hangs at once":           {1, 0, []time.Duration{time.Hour}, true},
		"hangs after idle":        {1, 3*time.Second + 700*time.Millisecond, []time.Duration{time.Hour}, true},
		"hangs after others":      {1, 0, []time.Duration{300 * time.Millisecond, 900 * time.Millisecond, time.Hour}, true},
		"patience is not used up": {5, 0, []time.Duration{4900 * time.Millisecond, 4900 * time.Millisecond}, false},
		"patience ends":           {5, 1500 * time.Millisecond, []time.Duration{time.Hour}, true},
	} {
		inVirtualTime(t, Config{Timeout: 2 * interval}, scripts{nil}, func(h host.Host, c *Client, _ []*fakeMaster) {
			ctx, cancel := h.WithCancel(context.Background())
			defer cancel()
			w := c.core.newStallWatch(ctx, cancel)
			w.patience.Store(tt.patience)
			_ = h.Sleep(ctx, tt.idle)
			for i, d := range tt.steps {
				spent := took(h, func() { _ = w.during(func() error { return h.Sleep(ctx, d) }) })
				least, most := time.Duration(tt.patience)*interval, time.Duration(tt.patience+1)*interval
				if last := i == len(tt.steps)-1; last && tt.stalls && (spent < least || spent > most) {
					t.Errorf("%s: given up after %v, want %v to %v", name, spent, least, most)
				}
			}
			if w.stalled.Load() != tt.stalls {
				t.Errorf("%s: stalled %v, want %v", name, w.stalled.Load(), tt.stalls)
			}
		})
	}
}

// TestStallWatchEnds: the watch's task ends with its stream, also in the middle of an interval (a virtual host sees a task
// that stays), and a stream that ended by itself is no stall.
func TestStallWatchEnds(t *testing.T) {
	inVirtualTime(t, Config{Timeout: time.Hour}, scripts{nil}, func(h host.Host, c *Client, _ []*fakeMaster) {
		spent := took(h, func() {
			ctx, cancel := h.WithCancel(context.Background())
			w := c.core.newStallWatch(ctx, cancel)
			_ = h.Sleep(ctx, time.Minute)
			cancel()
			_ = h.Sleep(context.Background(), time.Minute)
			if w.stalled.Load() {
				t.Error("a stream that ended counts as a stall")
			}
		})
		if spent != 2*time.Minute {
			t.Errorf("it took %v", spent)
		}
	})
}

// TestStalledErrors: the error is one that another worker may help, and tells the address, the time and where to look.
func TestStalledErrors(t *testing.T) {
	w := &stallWatch{interval: 15 * time.Second}
	w.patience.Store(2)
	err := stalledError("write to worker", "w:1", "took no data", w)
	want := `write to worker "w:1": unavailable: it took no data for 30s: look whether it is paused, at its disks and at the under store`
	if !worthRetry(err) || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// newSearcher is an upload that has lost its worker, for tests of beginSearch alone.
func newSearcher(c *Client, ctx context.Context) *upload {
	return &upload{c: c.core, ctx: ctx, path: "/f"}
}

// TestSearches (INV-2 of upload): failures in quick succession belong to one search, which ends with Config.Timeout; a worker
// that served for longer than that begins another one, a stall never does, and their number is bounded.
func TestSearches(t *testing.T) {
	const timeout = 10 * time.Second
	failure := dfs.Errorf(dfs.Unavailable, "write", "w:1", "x")
	inVirtualTime(t, Config{Timeout: timeout}, scripts{nil}, func(h host.Host, c *Client, _ []*fakeMaster) {
		ctx := context.Background()
		u := newSearcher(c, ctx)
		fails := func(after time.Duration, stalled bool) error {
			u.watch = &stallWatch{}
			u.watch.stalled.Store(stalled)
			u.steady = h.Now()
			_ = h.Sleep(ctx, after)
			return u.beginSearch(failure)
		}
		for i, step := range []struct {
			after    time.Duration
			stalled  bool
			searches int
			expired  bool
		}{
			{time.Hour, false, 1, false},
			{3 * time.Second, false, 1, false},
			{6 * time.Second, false, 1, false},
			{2 * time.Second, false, 1, true}, // eleven seconds in quick succession
			{11 * time.Second, true, 1, true}, // a stall of whatever length renews nothing
			{11 * time.Second, false, 2, false},
		} {
			if err := fails(step.after, step.stalled); err != nil || u.searches != step.searches || u.search.expired() != step.expired {
				t.Fatalf("step %d: %v, %d searches, expired %v; want %+v", i, err, u.searches, u.search.expired(), step)
			}
		}
		for range maxSearches - 2 {
			if err := fails(time.Hour, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := fails(time.Hour, false); !dfs.IsKind(err, dfs.Unavailable) {
			t.Errorf("search %d: got %v, want the end", u.searches, err)
		}
	})
}
