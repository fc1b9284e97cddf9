package trace_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/trace"
)

// viewed is an entry as a viewer reads it.
type viewed struct {
	Name  string
	Ph    string
	Ts    float64
	Dur   *float64
	Pid   int
	Tid   int
	S     string
	ID    uint64
	Bp    string
	Args  map[string]any
	Other map[string]any `json:"-"`
}

// validate holds a file to what viewers need: JSON, times in order, spans of a thread that do not overlap, a name for each
// process and thread, and arrows that have both their ends within a span. It counts entries by phase.
func validate(t *testing.T, text []byte) map[string]int {
	t.Helper()
	var file struct {
		DisplayTimeUnit string
		TraceEvents     []viewed
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&file); err != nil || file.DisplayTimeUnit != "ms" {
		t.Fatalf("%v, unit %q", err, file.DisplayTimeUnit)
	}
	type place struct{ pid, tid int }
	n, named, until, last := map[string]int{}, map[place]string{}, map[place]float64{}, 0.0
	arrows := map[uint64]string{}
	for _, e := range file.TraceEvents {
		n[e.Ph]++
		at := place{e.Pid, e.Tid}
		if e.Ph == "M" {
			if name, ok := e.Args["name"].(string); ok {
				named[at] = name
			}
			continue
		}
		if e.Ts < last {
			t.Errorf("%s at %v comes after %v", e.Name, e.Ts, last)
		}
		last = e.Ts
		if named[at] == "" || named[place{e.Pid, 0}] == "" || e.Name == "" {
			t.Errorf("%+v is on a thread or a process without a name", e)
		}
		switch e.Ph {
		case "X":
			if e.Dur == nil || *e.Dur < 0 || e.Ts < until[at]-1e-6 {
				t.Errorf("%+v overlaps what is before it on its thread, which ends at %v", e, until[at])
				continue
			}
			until[at] = e.Ts + *e.Dur
		case "i":
			if e.S != "p" && e.S != "g" {
				t.Errorf("instant %q has scope %q", e.Name, e.S)
			}
		case "s", "f":
			if e.ID == 0 || e.Ts > until[at] || e.Ph == "f" && (e.Bp != "e" || arrows[e.ID] != "s") || e.Ph == "s" && arrows[e.ID] != "" {
				t.Errorf("arrow %+v: other end %q", e, arrows[e.ID])
			}
			arrows[e.ID] += e.Ph
		default:
			t.Errorf("phase %q", e.Ph)
		}
	}
	for id, ends := range arrows {
		if ends != "sf" {
			t.Errorf("arrow %d has ends %q", id, ends)
		}
	}
	return n
}

// TestChrome: what each event becomes, with the texts of viewers: processes in order, threads for what overlaps.
func TestChrome(t *testing.T) {
	r := trace.New(0, trace.Filter{})
	begin := func(kind trace.Kind, node, what string, ms int, flow uint64) *trace.Span {
		return r.Begin(trace.Event{At: time.Duration(ms) * time.Millisecond, Kind: kind, Node: node, Peer: "m1", What: what, Flow: flow})
	}
	end := func(s *trace.Span, ms int, outcome string) { s.End(time.Duration(ms)*time.Millisecond, outcome) }
	a, b := begin(trace.Call, "c10", "one", 10, 1), begin(trace.Call, "c10", "two \"quoted\"\nline", 11, 2)
	end(a, 12, "")
	end(begin(trace.Call, "c10", "three", 12, 0), 13, "Unavailable: away")
	end(b, 14, "")
	end(begin(trace.Serve, "m1", "one", 11, 1), 12, "")
	end(begin(trace.Fault, trace.RunNode, "kill", 10, 0), 20, "")
	r.Instant(trace.Event{At: 1500, Kind: trace.Leadership, Node: "c9", What: "leads term 1"})
	r.Instant(trace.Event{At: 2 * time.Millisecond, Kind: trace.Violation, Node: trace.RunNode, What: "wrong"})
	var out bytes.Buffer
	if err := trace.Chrome(&out, r.Record(time.Second), "x"); err != nil {
		t.Fatal(err)
	}
	validate(t, out.Bytes())
	for _, want := range []string{
		`{"name":"process_name","ph":"M","ts":0.000,"pid":1,"tid":0,"args":{"name":"run"}}`,
		`"pid":2,"tid":0,"args":{"name":"c9"}}`,
		`"pid":3,"tid":0,"args":{"name":"c10"}}`,
		`{"name":"thread_name","ph":"M","ts":0.000,"pid":3,"tid":2,"args":{"name":"calls 2"}}`,
		`{"name":"leads term 1","cat":"leadership","ph":"i","ts":1.500,"pid":2,"tid":1,"s":"p"}`,
		`"cat":"violation","ph":"i","ts":2000.000,"pid":1,"tid":1,"s":"g"}`,
		`{"name":"-\u003e m1  one","cat":"call","ph":"X","ts":10000.000,"dur":2000.000,"pid":3,"tid":1}`,
		`"cat":"call","ph":"X","ts":11000.000,"dur":3000.000,"pid":3,"tid":2}`,
		`"cat":"call","ph":"X","ts":12000.000,"dur":1000.000,"pid":3,"tid":1,"args":{"outcome":"Unavailable: away"}}`,
		`{"name":"call","cat":"call","ph":"s","ts":10000.000,"pid":3,"tid":1,"id":1}`,
		`{"name":"call","cat":"call","ph":"f","ts":11000.000,"pid":4,"tid":1,"id":1,"bp":"e"}`,
	} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("the file lacks %s in\n%s", want, &out)
		}
	}
}
