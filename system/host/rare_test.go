package host_test

import (
	"slices"
	"testing"

	"github.com/forebay/forebay/system/host"
)

// seeker is a host that looks for faults.
type seeker struct {
	host.Host
	reached []string
	take    bool
}

func (s *seeker) Reached(state string)  { s.reached = append(s.reached, state) }
func (s *seeker) Take(path string) bool { return s.take && path == "test path" }

// TestRare: states and paths are listed by their names, are told to a host that looks for them, and mean nothing on another.
func TestRare(t *testing.T) {
	state, path := host.NewState("test state"), host.NewPath("test path")
	if !slices.Contains(host.States(), "test state") || !slices.Contains(host.Paths(), "test path") || !slices.IsSorted(host.Paths()) {
		t.Errorf("declared %v, %v", host.States(), host.Paths())
	}
	real := host.NewReal()
	if state.Reached(real); path.Taken(real) || path.Bound(real, 100, 1) != 100 {
		t.Error("a machine took a rare path")
	}
	s := &seeker{Host: real}
	if state.Reached(s); len(s.reached) != 1 || path.Taken(s) || path.Bound(s, 100, 1) != 100 {
		t.Errorf("%+v", s)
	}
	if s.take = true; !path.Taken(s) || path.Bound(s, 100, 1) != 1 {
		t.Error("the path was not taken")
	}
}
