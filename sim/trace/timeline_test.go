package trace_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/trace"
)

// TestTimeline: the text of each kind of event, in the order of time, with the ends of long things where they are.
func TestTimeline(t *testing.T) {
	r := trace.New(0, trace.Filter{})
	ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
	span := func(at, end float64, e trace.Event, outcome string) {
		e.At = ms(at)
		r.Begin(e).End(ms(end), outcome)
	}
	span(4000, 10_000, trace.Event{Kind: trace.Fault, Node: trace.RunNode, What: "kill-leader"}, "")
	span(3001.5, 3003, trace.Event{Kind: trace.Operation, Node: "c12", What: "write /f"}, "")
	span(3001.6, 3002.5, trace.Event{Kind: trace.Call, Node: "c12", Peer: "m1", What: "create_file /f", Flow: 7}, "")
	span(3001.7, 3002.2, trace.Event{Kind: trace.Serve, Node: "m1", Peer: "c12", What: "create_file /f", Flow: 7}, "")
	span(3990, 4200, trace.Event{Kind: trace.Call, Node: "c12", Peer: "m1", What: "remove /g", Flow: 8}, "Unavailable: reset\nby peer")
	span(3995, 4000, trace.Event{Kind: trace.Serve, Node: "m1", Peer: "c12", What: "remove /g", Flow: 8}, "its process died")
	span(5000, 5001, trace.Event{Kind: trace.Serve, Node: "m2", Peer: "c3", What: "list_status /", Flow: 9}, "NotFound: away")
	span(6000, 27_000, trace.Event{Kind: trace.Operation, Node: "c3", What: "list"}, "")
	r.Instant(trace.Event{At: ms(4000.0001), Kind: trace.Process, Node: "m1", What: "crashes"})
	r.Instant(trace.Event{At: ms(4100), Kind: trace.Leadership, Node: "m2", What: "leads term 2"})
	r.Instant(trace.Event{At: ms(11_000), Kind: trace.Violation, Node: "c3", What: "contents: wrong"})
	r.Begin(trace.Event{At: ms(12_000), Kind: trace.Call, Node: "c3", Peer: "w1", What: "Data.Read /h"})
	log := r.Logger(func() time.Duration { return ms(13_000) })
	log.With(slog.String(trace.NodeKey, "w1"), "tier", "SSD").Warn("a disk failed", "error", "EIO")
	log.Info("nothing to tell")
	var out bytes.Buffer
	if err := trace.Timeline(&out, r.Record(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	const want = `
       seconds  node       took  what
      3.001500  c12       1.5ms  write /f
      3.001600  c12       900µs  -> m1  create_file /f (there 500µs)
      3.990000  c12              -> m1  remove /g
      4.000000  run              FAULT kill-leader
      4.000000  m1               crashes
      4.100000  m2               leads term 2
      4.200000  c12       210ms  ... -> m1  remove /g: Unavailable: reset | by peer (there 5ms)
      5.000000  m2          1ms  <- c3  list_status /: NotFound: away
      6.000000  c3               list
     10.000000  run          6s  ... FAULT kill-leader ends
     11.000000  c3               VIOLATION contents: wrong
     12.000000  c3               -> w1  Data.Read /h: has not ended
     13.000000  w1               log: a disk failed tier=SSD error=EIO
     27.000000  c3          21s  ... list: ok
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

// TestOneMoment: what happens at one moment of virtual time is told in the order in which it happened, ends included.
func TestOneMoment(t *testing.T) {
	r := trace.New(0, trace.Filter{})
	tell := func(what string) {
		r.Instant(trace.Event{At: time.Second, Kind: trace.Machine, Node: "m1", What: what})
	}
	early := r.Begin(trace.Event{Kind: trace.Fault, Node: trace.RunNode, What: "early"})
	tell("first")
	late := r.Begin(trace.Event{At: time.Second, Kind: trace.Fault, Node: trace.RunNode, What: "late"})
	tell("second")
	early.End(time.Second, "")
	tell("third")
	late.End(3*time.Second, "")
	var out bytes.Buffer
	if err := trace.Timeline(&out, r.Record(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	after := out.String()
	for _, want := range []string{"FAULT early\n", "first", "FAULT late\n", "second", "FAULT early ends", "third", "FAULT late ends"} {
		_, rest, ok := strings.Cut(after, want)
		if !ok {
			t.Fatalf("%q is missing or too early:\n%s", want, &out)
		}
		after = rest
	}
}

// TestNothingRecorded: without a recorder everything may be called, and without an event there is a timeline.
func TestNothingRecorded(t *testing.T) {
	var r *trace.Recorder
	s := r.Begin(trace.Event{})
	s.Says("x")
	s.End(0, "")
	r.Instant(trace.Event{})
	r.Logger(nil).Error("nobody hears it")
	var out bytes.Buffer
	if err := trace.Timeline(&out, r.Record(0)); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%v: %q", err, &out)
	}
	out.Reset()
	if err := trace.Chrome(&out, r.Record(0), nil); err != nil {
		t.Error(err)
	}
	validate(t, out.Bytes())
}

// TestSpanEndsOnce: a second end changes nothing.
func TestSpanEndsOnce(t *testing.T) {
	r := trace.New(0, trace.Filter{})
	other := r.Begin(trace.Event{Node: "a", What: "other"})
	s := r.Begin(trace.Event{Node: "a", What: "one"})
	s.End(1, "")
	s.End(2, "again")
	other.End(3, "")
	all := r.Record(4).Events
	if len(all) != 2 || all[1].Took != 1 || all[1].Outcome != "" || all[0].Took != 3 || all[0].Open {
		t.Errorf("%+v", all)
	}
}
