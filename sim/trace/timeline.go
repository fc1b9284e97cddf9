package trace

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Text is what happened, without when, where and how it ended.
func (e *Event) Text() string {
	switch e.Kind {
	case Call:
		return "-> " + e.Peer + "  " + e.What
	case Serve:
		return "<- " + e.Peer + "  " + e.What
	case Fault:
		return "FAULT " + e.What
	case Violation:
		return "VIOLATION " + e.What
	case Log:
		return "log: " + e.What
	}
	return e.What
}

// longSpan is how long a thing takes that gets a line for its end, too.
const longSpan = 100 * time.Millisecond

// line is one line of a timeline: the begin of an event, or its end.
type line struct {
	at    time.Duration
	seq   uint64
	event int
	ends  bool
}

// Timeline writes a record for people, in the order of time: when, where, how long it took, what. The server's end of a call is
// told with the client's, in brackets, unless only the server's is there.
func Timeline(w io.Writer, r Record) error {
	width := len("node")
	for i := range r.Events {
		width = max(width, len(r.Events[i].Node))
	}
	b := bufio.NewWriter(w)
	if r.Dropped > 0 {
		fmt.Fprintf(b, "# %d earlier events were dropped: choose a part of the run to see them, or keep more\n", r.Dropped)
	}
	fmt.Fprintf(b, "%14s  %-*s  %9s  what\n", "seconds", width, "node", "took")
	there := served(r.Events)
	for _, l := range lines(r.Events, there) {
		e := &r.Events[l.event]
		server := ""
		if s, ok := there[e.Flow]; ok && e.Kind == Call {
			server = " (there " + brief(r.Events[s].Took) + ")"
		}
		took, text := l.text(e, server)
		fmt.Fprintf(b, "%14.6f  %-*s  %9s  %s\n", l.at.Seconds(), width, e.Node, took, oneLine(text))
	}
	return b.Flush()
}

// text is the last two columns of a line. How a long thing ended is told at its end only.
func (l line) text(e *Event, server string) (took, text string) {
	outcome := e.Outcome
	if outcome != "" {
		outcome = ": " + outcome
	}
	switch {
	case l.ends && e.Kind == Fault && outcome == "":
		return brief(e.Took), "... " + e.Text() + " ends"
	case l.ends:
		return brief(e.Took), "... " + e.Text() + cmp.Or(outcome, ": ok") + server
	case e.long():
		return "", e.Text()
	case e.Span && !e.Open:
		return brief(e.Took), e.Text() + outcome + server
	}
	return "", e.Text() + outcome
}

// long tells whether a span's end gets a line of its own.
func (e *Event) long() bool { return e.Span && !e.Open && e.Took >= longSpan }

// served finds the servers' ends of calls whose clients' ends are there, by flow.
func served(all []Event) map[uint64]int {
	calls, out := map[uint64]bool{}, map[uint64]int{}
	for i := range all {
		if all[i].Kind == Call && all[i].Flow != 0 {
			calls[all[i].Flow] = true
		}
	}
	for i := range all {
		if all[i].Kind == Serve && calls[all[i].Flow] {
			out[all[i].Flow] = i
		}
	}
	return out
}

func lines(all []Event, there map[uint64]int) (out []line) {
	for i := range all {
		e := &all[i]
		if at, ok := there[e.Flow]; ok && e.Kind == Serve && at == i {
			continue
		}
		out = append(out, line{at: e.At, seq: e.seq, event: i})
		if e.long() {
			out = append(out, line{at: e.End(), seq: e.ended, event: i, ends: true})
		}
	}
	slices.SortFunc(out, func(a, b line) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
	return out
}

// brief is a duration with three or four digits.
func brief(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}

// oneLine keeps an error's text from breaking the columns.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " | ") }
