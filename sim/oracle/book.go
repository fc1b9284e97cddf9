package oracle

import (
	"fmt"
	"time"
)

// mostTold bounds the violations that are told in full; all are counted.
const mostTold = 20

// Book is where the oracles of one run note what must never be. A violation does not end a run: what follows from the
// first may show where it came from. It is used by the tasks of one world, one at a time, and needs no lock.
type Book struct {
	Now   func() time.Duration // virtual time
	Mix   func(text string)    // into the run's history, so that a violation is part of it
	Heard func(Violation)      // of each, also of those that are not kept; may be nil
	Told  []Violation          // the first of them
	Count int
}

// Violation is one thing that must never be.
type Violation struct {
	At     time.Duration
	Oracle string // which of the package's oracles saw it: two failures are of one sort when this is equal
	What   string
}

// String is the violation on one line.
func (v Violation) String() string { return fmt.Sprintf("at %v: %s: %s", v.At, v.Oracle, v.What) }

// Violation notes one.
func (b *Book) Violation(oracle, format string, args ...any) {
	v := Violation{At: b.Now(), Oracle: oracle, What: fmt.Sprintf(format, args...)}
	b.Count++
	if len(b.Told) < mostTold {
		b.Told = append(b.Told, v)
	}
	b.Mix("violation")
	if b.Heard != nil {
		b.Heard(v)
	}
}
