package oracle

// Leaks guards C6 at the end: when the load has ended and the cluster has settled, nothing is left of it but what a
// bound allows. A bound is generous: a leak grows with the load, and the load of a run is many times a bound.
type Leaks struct{ Book *Book }

// Left judges how many of something are left.
func (o Leaks) Left(what string, left, bound int) {
	if left > bound {
		o.Book.Violation("leaks", "%d %s are left, %d at most should be", left, what, bound)
	}
}
