package world

import "maps"

// pathOdds: one in so many times a path that the run chose is taken.
const pathOdds = 4

// rareRun is what a run has of package host's rare states and paths.
type rareRun struct {
	reached map[string]int
	paths   map[string]bool // those of this run; nil: none
	taken   map[string]int
}

// TakePaths has the run take the given rare paths (package host), each now and then.
func (w *World) TakePaths(paths []string) {
	w.rare.paths = map[string]bool{}
	for _, p := range paths {
		w.rare.paths[p] = true
	}
	w.pathRand = w.stream("rare paths")
}

// Reached is how often each rare state was reached, and each rare path taken.
func (w *World) Reached() (states, paths map[string]int) {
	return maps.Clone(w.rare.reached), maps.Clone(w.rare.taken)
}

// Reached is called by package host's State.
func (n *Node) Reached(state string) {
	if n.w.rare.reached == nil {
		n.w.rare.reached = map[string]int{}
	}
	n.w.rare.reached[state]++
}

// Take is called by package host's Path. Runs without paths draw nothing.
func (n *Node) Take(path string) bool {
	if !n.w.rare.paths[path] || n.w.pathRand.IntN(pathOdds) != 0 {
		return false
	}
	if n.w.rare.taken == nil {
		n.w.rare.taken = map[string]int{}
	}
	n.w.rare.taken[path]++
	return true
}
