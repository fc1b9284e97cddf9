package scenario

import (
	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/sim/trace"
)

// recordTo wires a recorder to a run: the world tells of calls and processes, the book of violations.
func (r *run) recordTo(to *trace.Recorder) {
	if to == nil {
		return
	}
	r.record = to
	to.Observe(r.w)
	r.book.Heard = func(v oracle.Violation) {
		to.Instant(trace.Event{At: v.At, Kind: trace.Violation, Node: trace.RunNode, What: v.Oracle + ": " + v.What})
	}
}

// operation tells the recorder of a user's operation; what it returns ends it.
func (u *user) operation(name string) *trace.Span {
	return u.r.record.Begin(trace.Event{At: u.r.w.Sched.Elapsed(), Kind: trace.Operation, Node: u.node.Name(), What: name})
}

// outcomeOf is an error's text for a recorder, where an empty one says that all is well.
func outcomeOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// told tells the recorder of a fault that begins, and what it returns of its end.
func (r *run) told(f Fault) (ended func()) {
	what := f.Kind
	if f.Zone != "" {
		what += " " + f.Zone
	}
	span := r.record.Begin(trace.Event{At: r.w.Sched.Elapsed(), Kind: trace.Fault, Node: trace.RunNode, What: what})
	return func() { span.End(r.w.Sched.Elapsed(), "") }
}
