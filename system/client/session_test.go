package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// TestSessionAckedBelow (INV-1, INV-2): whatever the order in which mutations end, the master is told to forget exactly
// those below the oldest that is still under way.
func TestSessionAckedBelow(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	s := newSession(9)
	var open []uint64
	seen := make(map[uint64]bool)
	for range 5000 {
		if len(open) == 0 || rnd.IntN(2) == 0 {
			sequence := s.begin()
			if sequence == 0 || seen[sequence] {
				t.Fatalf("sequence %d was given twice, or is 0", sequence)
			}
			seen[sequence] = true
			open = append(open, sequence)
		} else {
			i := rnd.IntN(len(open))
			s.end(open[i])
			open = slices.Delete(open, i, i+1)
		}
		want := s.next
		if len(open) > 0 {
			want = slices.Min(open)
		}
		if got := s.ackedBelow(); got != want {
			t.Fatalf("acked below %d, want %d (open: %v)", got, want, open)
		}
	}
}

// TestMutationErrors: an error says so exactly when the outcome is unknown.
func TestMutationErrors(t *testing.T) {
	tests := []struct {
		err     error
		doubt   bool
		unknown bool
	}{
		{dfs.Errorf(dfs.NotFound, "rename", "/a", "x"), true, false},
		{dfs.Errorf(dfs.SessionExpired, "rename", "/a", "x"), false, false},
		{dfs.Errorf(dfs.SessionExpired, "rename", "/a", "x"), true, true},
		{context.DeadlineExceeded, false, true},
		{context.Canceled, true, true},
	}
	for _, tt := range tests {
		got := mutationError(tt.err, "rename", "/a", tt.doubt)
		if unknown := strings.Contains(got.Error(), "outcome is unknown"); unknown != tt.unknown {
			t.Errorf("%v, doubt %v: got %q", tt.err, tt.doubt, got)
		}
		if dfs.KindOf(got) != dfs.KindOf(tt.err) || !errors.Is(got, tt.err) {
			t.Errorf("%v: the kind or the cause is lost in %v", tt.err, got)
		}
	}
}

// TestRetryBudget: a burst passes, then retries come at the refill rate, and a clock that jumps back gives none away.
func TestRetryBudget(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newRetryBudget(now)
	drain := func() (n int) {
		for b.take(now) {
			n++
		}
		return n
	}
	if got := drain(); got != budgetBurst {
		t.Errorf("a burst of %d, want %v", got, budgetBurst)
	}
	now = now.Add(2 * time.Second)
	if got := drain(); got != 2*budgetPerSecond {
		t.Errorf("%d in two seconds, want %v", got, 2*budgetPerSecond)
	}
	now = now.Add(-time.Hour)
	if got := drain(); got != 0 {
		t.Errorf("%d after the clock was set back, want none", got)
	}
	now = now.Add(24 * time.Hour)
	if got := drain(); got != budgetBurst {
		t.Errorf("%d after a day, want %v", got, budgetBurst)
	}
}

// TestMastersFollow: the guess moves to a hint, otherwise round the list, and once for all callers that saw one failure.
func TestMastersFollow(t *testing.T) {
	m := newMasters(nil, nil, Config{Masters: []string{"a:1", "b:1", "c:1"}})
	steps := []struct{ failed, hint, want string }{
		{"a:1", "", "b:1"},
		{"a:1", "", "b:1"}, // a second caller that saw the same
		{"b:1", "a:1", "a:1"},
		{"a:1", "a:1", "b:1"}, // a hint at itself helps nobody
		{"b:1", "new:1", "new:1"},
		{"new:1", "", "a:1"},
	}
	for i, s := range steps {
		m.failed(s.failed, s.hint)
		if got := m.addresses[m.current]; got != s.want {
			t.Fatalf("step %d: the guess is %s, want %s", i, got, s.want)
		}
	}
	for i := range 100 {
		m.failed(m.addresses[m.current], strings.Repeat("x", i+1))
	}
	if len(m.addresses) > maxMasters {
		t.Errorf("%d masters are known, the bound is %d", len(m.addresses), maxMasters)
	}
}
