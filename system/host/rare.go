package host

import "slices"

// Rare states and rare paths, for hosts that look for faults. On a machine both are inert: a State tells nobody, and a Path is
// never taken.
//
// A State is a place in the code that must be come by in some of many simulated runs: where none does, the runs show nothing
// about what follows it (the "sometimes" of FoundationDB and Antithesis). A Path is a choice that is right and seldom made,
// such as a batch that is cut short; a simulated host makes it often, so that a small cluster meets what a large one
// meets. Both are declared once, as variables of a package, and have a name that says what happens.

// State is a rare state.
type State struct{ name string }

// Path is a rare path.
type Path struct{ name string }

// rare is a host that looks for faults.
type rare interface {
	Reached(state string)
	Take(path string) bool
}

var states, paths []string

// NewState declares a state.
func NewState(name string) State { states = append(states, name); return State{name} }

// NewPath declares a path.
func NewPath(name string) Path { paths = append(paths, name); return Path{name} }

// States lists what was declared, sorted.
func States() []string { return slices.Sorted(slices.Values(states)) }

// Paths lists what was declared, sorted.
func Paths() []string { return slices.Sorted(slices.Values(paths)) }

// Reached says that the state is there.
func (s State) Reached(h Host) {
	if r, ok := h.(rare); ok {
		r.Reached(s.name)
	}
}

// Taken tells whether to go this way now.
func (p Path) Taken(h Host) bool {
	r, ok := h.(rare)
	return ok && r.Take(p.name)
}

// Bound is usual, or small when the path is taken.
func (p Path) Bound(h Host, usual, small int) int {
	if p.Taken(h) {
		return small
	}
	return usual
}
