package trace

import (
	"cmp"
	"slices"
	"time"
)

// Kind is what sort of thing an event is. It decides the row in which a viewer shows it.
type Kind uint8

// The kinds.
const (
	Operation  Kind = iota // of a user, from its begin to its outcome
	Call                   // at the client
	Serve                  // the same call at the server
	Fault                  // from its begin to its end
	Process                // crashes, starts again, is paused, goes on
	Machine                // what changes of a node's disk, card or network
	Leadership             // elections and who leads
	Violation              // an oracle's
	Log                    // a warning or an error of production code
)

// RunNode stands for the run where no node does something: faults and violations.
const RunNode = "run"

// Event is one thing that happened.
type Event struct {
	At      time.Duration // when it began
	Took    time.Duration // of a span
	Span    bool
	Open    bool // a span that had not ended with the run
	Kind    Kind
	Node    string
	Peer    string // the other end of a call
	Row     string // of a Serve: the service
	What    string
	Outcome string // empty: it went well
	Flow    uint64 // of both ends of one call; 0: none
	seq     uint64 // in which they began
	ended   uint64 // a span: its end's place in the same order
}

// End is when it was over.
func (e *Event) End() time.Duration { return e.At + e.Took }

// DefaultKeep is how many events a Recorder keeps that is told nothing else; each takes about 250 bytes.
const DefaultKeep = 1_000_000

// Recorder keeps what happened. All methods may be called on nil, and then do nothing. It is used by the tasks and timers of
// one world, one at a time, and needs no lock.
type Recorder struct {
	filter  Filter
	keep    int
	kept    []Event // a ring once it is full
	oldest  int
	dropped int
	seq     uint64
	open    []*Span
	users   map[string]*Span // a user's operation under way, by node
}

// New makes a recorder of what passes f. keep 0 means DefaultKeep.
func New(keep int, f Filter) *Recorder {
	if keep <= 0 {
		keep = DefaultKeep
	}
	return &Recorder{filter: f, keep: keep, users: map[string]*Span{}}
}

// Span is a thing under way; nil when nothing is recorded.
type Span struct {
	r     *Recorder
	e     Event
	place int // in r.open
	ended bool
}

// Begin begins a span: e tells all but how it ends.
func (r *Recorder) Begin(e Event) *Span {
	if r == nil {
		return nil
	}
	r.seq++
	e.seq, e.Span = r.seq, true
	s := &Span{r: r, e: e, place: len(r.open)}
	r.open = append(r.open, s)
	if e.Kind == Operation {
		r.users[e.Node] = s
	}
	return s
}

// End ends a span, once. An empty outcome says that all is well.
func (s *Span) End(at time.Duration, outcome string) {
	if s == nil || s.ended {
		return
	}
	r := s.r
	s.ended = true
	last := r.open[len(r.open)-1]
	r.open[s.place], last.place = last, s.place
	r.open = r.open[:len(r.open)-1]
	if r.users[s.e.Node] == s {
		delete(r.users, s.e.Node)
	}
	r.seq++
	s.e.Took, s.e.Outcome, s.e.ended = at-s.e.At, outcome, r.seq
	r.add(s.e)
}

// Says adds to what a span is, once more is known of it.
func (s *Span) Says(what string) {
	if s != nil && what != "" {
		s.e.What += " " + what
	}
}

// Instant records something that takes no time.
func (r *Recorder) Instant(e Event) {
	if r == nil {
		return
	}
	r.seq++
	e.seq = r.seq
	r.add(e)
}

// died ends what a node had under way. The order is that in which things began: open's own changes with every end.
func (r *Recorder) died(node string, at time.Duration) {
	all := slices.DeleteFunc(slices.Clone(r.open), func(s *Span) bool { return s.e.Node != node })
	slices.SortFunc(all, func(a, b *Span) int { return cmp.Compare(a.e.seq, b.e.seq) })
	for _, s := range all {
		s.End(at, "its process died")
	}
}

// add keeps an event that passes the filter.
func (r *Recorder) add(e Event) {
	if !r.filter.passes(&e) {
		return
	}
	if len(r.kept) < r.keep {
		r.kept = append(r.kept, e)
		return
	}
	r.kept[r.oldest] = e
	r.oldest = (r.oldest + 1) % r.keep
	r.dropped++
}

// Record is what a Recorder kept, in the order in which it began.
type Record struct {
	Events  []Event
	Dropped int // events that ended before those kept
	End     time.Duration
}

// Record ends the recording at the end of a run: what is under way is told as that.
func (r *Recorder) Record(end time.Duration) Record {
	if r == nil {
		return Record{End: end}
	}
	all := slices.Clone(r.kept)
	for _, s := range r.open {
		e := s.e
		e.Open, e.Took, e.Outcome = true, max(end-e.At, 0), "has not ended"
		if r.filter.passes(&e) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.seq, b.seq))
	})
	return Record{Events: all, Dropped: r.dropped, End: end}
}
