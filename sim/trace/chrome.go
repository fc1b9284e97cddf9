package trace

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Chrome trace is the JSON object of "Trace Event Format", which Perfetto and chrome://tracing open. Nodes are processes, and
// rows of things that do not overlap are threads: X events of one thread must nest, and calls of one node do overlap. Arrows
// lead from a call to its server's end.

// chromeEvent is one entry of traceEvents. Times are microseconds.
type chromeEvent struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	At    microseconds   `json:"ts"`
	Took  *microseconds  `json:"dur,omitempty"`
	Pid   int            `json:"pid"`
	Tid   int            `json:"tid"`
	Scope string         `json:"s,omitempty"`  // of an instant: t, p or g
	ID    uint64         `json:"id,omitempty"` // of an arrow
	Bind  string         `json:"bp,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// microseconds are written with the nanoseconds behind the point.
type microseconds time.Duration

// MarshalJSON implements json.Marshaler.
func (m microseconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%03d", m/1000, m%1000), nil
}

// Chrome writes a record as a trace file. origin is put into it under the key "forebay", before everything else, so that a
// reader finds it without reading all.
func Chrome(w io.Writer, r Record, origin any) error {
	b := bufio.NewWriter(w)
	head, err := json.Marshal(origin)
	if err != nil {
		return fmt.Errorf("trace's origin: %w", err)
	}
	fmt.Fprintf(b, "{\"forebay\": %s,\n\"displayTimeUnit\": \"ms\",\n\"otherData\": {\"droppedEvents\": %d},\n\"traceEvents\": [", head, r.Dropped)
	separator := "\n"
	for e := range chromeEvents(r) {
		text, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("trace event: %w", err)
		}
		fmt.Fprintf(b, "%s%s", separator, text) // an error stays with b
		separator = ",\n"
	}
	fmt.Fprint(b, "\n]}\n")
	return b.Flush()
}

// chromeEvents gives the names of processes and threads first, then the events in the order of their times.
func chromeEvents(r Record) func(yield func(chromeEvent) bool) {
	return func(yield func(chromeEvent) bool) {
		l := place(r.Events)
		for _, e := range l.names {
			if !yield(e) {
				return
			}
		}
		there := served(r.Events)
		for i := range r.Events {
			for _, e := range l.events(&r.Events[i], l.at[i], there) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// thread is where an event is shown.
type thread struct{ pid, tid int }

// layout places events on threads.
type layout struct {
	at    []thread // of each event
	names []chromeEvent
}

// row is what is shown together: as many threads as things of it were under way at once.
type row struct {
	node, name string
	order      int
	lanes      []time.Duration // until when each is taken
}

// place gives each event, in the order of their begins, the first lane of its row that is free: rows of a process stand in the
// order of kinds, and processes in that of their names, the run first.
func place(all []Event) layout {
	rows := map[[2]string]*row{}
	of := make([]*row, len(all))
	lane := make([]int, len(all))
	for i := range all {
		e := &all[i]
		name, order := rowOf(e)
		r := rows[[2]string{e.Node, name}]
		if r == nil {
			r = &row{node: e.Node, name: name, order: order}
			rows[[2]string{e.Node, name}] = r
		}
		of[i], lane[i] = r, r.take(e)
	}
	sorted := make([]*row, 0, len(rows))
	for _, r := range rows { // sorted below
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b *row) int {
		return cmp.Or(compareNodes(a.node, b.node), cmp.Compare(a.order, b.order), strings.Compare(a.name, b.name))
	})
	return number(sorted, of, lane)
}

// number gives rows their processes' and threads' numbers.
func number(rows []*row, of []*row, lane []int) layout {
	l := layout{at: make([]thread, len(of))}
	first := map[*row]thread{}
	pid, tid := 0, 0
	for i, r := range rows {
		if i == 0 || rows[i-1].node != r.node {
			pid, tid = pid+1, 0
			l.names = append(l.names, metadata("process_name", pid, 0, "name", r.node), metadata("process_sort_index", pid, 0, "sort_index", pid))
		}
		first[r] = thread{pid, tid + 1}
		for n := range max(len(r.lanes), 1) {
			tid++
			name := r.name
			if n > 0 {
				name = fmt.Sprint(name, " ", n+1)
			}
			l.names = append(l.names, metadata("thread_name", pid, tid, "name", name), metadata("thread_sort_index", pid, tid, "sort_index", tid))
		}
	}
	for i, r := range of {
		l.at[i] = thread{first[r].pid, first[r].tid + lane[i]}
	}
	return l
}

func metadata(name string, pid, tid int, key string, value any) chromeEvent {
	return chromeEvent{Name: name, Phase: "M", Pid: pid, Tid: tid, Args: map[string]any{key: value}}
}

// take is the lane for an event.
func (r *row) take(e *Event) int {
	if !e.Span {
		return 0
	}
	i := slices.IndexFunc(r.lanes, func(until time.Duration) bool { return until <= e.At })
	if i < 0 {
		i, r.lanes = len(r.lanes), append(r.lanes, 0)
	}
	r.lanes[i] = max(e.End(), e.At+1)
	return i
}

// rowOf names the row of an event, and its place among those of its node.
func rowOf(e *Event) (name string, order int) {
	switch e.Kind {
	case Operation:
		return "operations", 1
	case Call:
		return "calls", 2
	case Serve:
		return "serves " + e.Row, 3
	case Fault:
		return "faults", 1
	}
	return "events", 0
}

// categories are the kinds' names in a trace file.
var categories = map[Kind]string{Operation: "operation", Call: "call", Serve: "serve", Fault: "fault", Process: "process", Machine: "machine",
	Leadership: "leadership", Violation: "violation", Log: "log"}

// events are what the viewer gets of one event: itself, and its end of an arrow.
func (l *layout) events(e *Event, at thread, there map[uint64]int) []chromeEvent {
	self := chromeEvent{Name: oneLine(e.Text()), Cat: categories[e.Kind], Phase: "i", At: microseconds(e.At), Pid: at.pid, Tid: at.tid}
	if e.Outcome != "" {
		self.Args = map[string]any{"outcome": e.Outcome}
	}
	if !e.Span {
		self.Scope = "p"
		if e.Node == RunNode {
			self.Scope = "g"
		}
		return []chromeEvent{self}
	}
	took := microseconds(e.Took)
	self.Phase, self.Took = "X", &took
	if _, both := there[e.Flow]; !both {
		return []chromeEvent{self}
	}
	arrow := chromeEvent{Name: "call", Cat: "call", Phase: "s", At: self.At, Pid: at.pid, Tid: at.tid, ID: e.Flow}
	if e.Kind == Serve {
		arrow.Phase, arrow.Bind = "f", "e"
	}
	return []chromeEvent{self, arrow}
}

// compareNodes orders names as people do: the run first, then by letters, then by number.
func compareNodes(a, b string) int {
	if a == b || a == RunNode || b == RunNode {
		return cmp.Compare(b2i(b == RunNode), b2i(a == RunNode))
	}
	one, other := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	return cmp.Or(strings.Compare(one, other), cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
