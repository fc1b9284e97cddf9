package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/cluster"
	"github.com/forebay/forebay/sim/trace"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
)

// small runs a cluster of three masters: two clients write and read, the leader dies meanwhile, and a client dies in the end.
func small(t *testing.T, r *trace.Recorder) (history uint64, end time.Duration) {
	t.Helper()
	w := world.New(3)
	defer w.Close()
	r.Observe(w)
	c := cluster.New(w, cluster.Config{Masters: 3, Workers: 2, Log: r.Logger(w.Sched.Elapsed)})
	for i := range 2 {
		n := w.NewNode(fmt.Sprintf("c%d", i+1), world.NodeConfig{Rack: "r0", Zone: "z0"})
		n.Go("user", func() {
			k, err := c.Client(n)
			if err != nil {
				t.Error(err)
				return
			}
			_ = n.Sleep(context.Background(), 3*time.Second)
			for turn := 0; ; turn++ {
				ctx, cancel := n.WithTimeout(context.Background(), 20*time.Second)
				p := dfs.Path(fmt.Sprintf("/f%d-%d", i, turn))
				span := r.Begin(trace.Event{At: w.Sched.Elapsed(), Kind: trace.Operation, Node: n.Name(), What: "write"})
				err := k.WriteFile(ctx, p, make([]byte, 3000))
				if err == nil {
					_, err = k.ReadFile(ctx, p)
				}
				outcome := ""
				if err != nil {
					outcome = err.Error()
				}
				span.End(w.Sched.Elapsed(), outcome)
				_ = n.Sleep(ctx, 300*time.Millisecond)
				cancel()
			}
		})
	}
	var leader int
	w.Sched.After(6*time.Second, func() {
		leader = c.Leader()
		fault := r.Begin(trace.Event{At: w.Sched.Elapsed(), Kind: trace.Fault, Node: trace.RunNode, What: "kill-leader"})
		c.CrashMaster(leader)
		w.Sched.After(3*time.Second, func() {
			c.Masters[leader].Restart()
			c.StartMaster(leader)
			fault.End(w.Sched.Elapsed(), "")
		})
	})
	w.Sched.After(11*time.Second, func() { w.Nodes()[len(w.Nodes())-1].Crash() })
	if err := w.Sched.Run(12 * time.Second); err != nil {
		t.Fatal(err)
	}
	return w.Sched.History(), w.Sched.Elapsed()
}

func record(t *testing.T, keep int, f trace.Filter) trace.Record {
	t.Helper()
	r := trace.New(keep, f)
	_, end := small(t, r)
	return r.Record(end)
}

// TestSameHistory: a run that is recorded is the one that is not.
func TestSameHistory(t *testing.T) {
	without, _ := small(t, nil)
	r := trace.New(0, trace.Filter{})
	with, end := small(t, r)
	if with != without {
		t.Errorf("history %x with a record, %x without", with, without)
	}
	if n := len(r.Record(end).Events); n < 500 {
		t.Errorf("only %d events were recorded", n)
	}
}

// TestWhatIsRecorded: who led, who died, each call at both ends, operations with their paths, and what dead processes left.
func TestWhatIsRecorded(t *testing.T) {
	r := record(t, 0, trace.Filter{})
	has := func(what string, match func(e *trace.Event) bool) {
		t.Helper()
		if !slices.ContainsFunc(r.Events, func(e trace.Event) bool { return match(&e) }) {
			t.Errorf("nothing tells %s", what)
		}
	}
	leads, joined := 0, map[uint64]int{}
	for i := range r.Events {
		e := &r.Events[i]
		if e.Kind == trace.Leadership && strings.HasPrefix(e.What, "leads term") && !strings.HasSuffix(e.What, "no more") {
			leads++
		}
		if e.Flow != 0 {
			joined[e.Flow]++
		}
		if e.Kind == trace.Operation && strings.Count(e.What, "/") > 1 || e.Kind == trace.Call && e.At == 0 {
			t.Errorf("%+v is more than one thing, or began before the run", e)
		}
		if e.Took < 0 || e.End() > r.End || i > 0 && e.At < r.Events[i-1].At {
			t.Errorf("%+v is out of order or of time", e)
		}
	}
	both := 0
	for _, n := range joined {
		if n > 2 {
			t.Errorf("a call has %d ends", n)
		}
		if n == 2 {
			both++
		}
	}
	if leads != 2 || both < 200 {
		t.Errorf("%d elections were won, %d calls have both ends", leads, both)
	}
	has("the master's death", func(e *trace.Event) bool { return e.Kind == trace.Process && e.Node[0] == 'm' && e.What == "crashes" })
	has("its return", func(e *trace.Event) bool { return e.Kind == trace.Process && strings.HasPrefix(e.What, "starts again") })
	has("the fault", func(e *trace.Event) bool {
		return e.Kind == trace.Fault && e.Took == 3*time.Second && e.At == 6*time.Second
	})
	has("an operation with its path", func(e *trace.Event) bool {
		return e.Kind == trace.Operation && strings.HasPrefix(e.What, "write /f0-") && e.Outcome == ""
	})
	has("a batch at the client", func(e *trace.Event) bool {
		return e.Kind == trace.Call && strings.HasPrefix(e.What, "create_file /f1-") && e.Outcome == "" && e.Took < time.Second
	})
	has("a batch at the server", func(e *trace.Event) bool {
		return e.Kind == trace.Serve && strings.Contains(e.What, "complete_file") && e.Row == "Metadata" && e.Peer[0] == 'c'
	})
	has("a read", func(e *trace.Event) bool {
		return e.Kind == trace.Call && strings.HasPrefix(e.What, "Data.Read") && strings.Contains(e.What, "length=3000")
	})
	has("a write at the worker", func(e *trace.Event) bool {
		return e.Kind == trace.Serve && e.Node[0] == 'w' && strings.HasPrefix(e.What, "Data.Write")
	})
	has("a refused connection", func(e *trace.Event) bool {
		return e.Kind == trace.Call && strings.Contains(e.Outcome, "Unavailable: ")
	})
	has("what a dead master was serving", func(e *trace.Event) bool {
		return e.Kind == trace.Serve && e.Node[0] == 'm' && e.Outcome == "its process died" && e.End() == 6*time.Second
	})
	has("what a dead client was doing", func(e *trace.Event) bool {
		return e.Node == "c2" && e.Kind == trace.Call && e.Outcome == "its process died" && e.End() == 11*time.Second
	})
	has("what is under way at the end", func(e *trace.Event) bool { return e.Open && e.End() == r.End && e.Outcome == "has not ended" })
}

// TestFilter: each way to choose gives a part of all, and exactly the right one.
func TestFilter(t *testing.T) {
	all := record(t, 0, trace.Filter{})
	for _, test := range []struct {
		name     string
		from, to time.Duration
		nodes    string
		match    string
		right    func(e *trace.Event) bool
	}{
		{"time", 5 * time.Second, 7 * time.Second, "", "", func(e *trace.Event) bool {
			return e.End() >= 5*time.Second && e.At <= 7*time.Second
		}},
		{"nodes", 0, 0, "c1, w2", "", func(e *trace.Event) bool {
			return e.Node == trace.RunNode || slices.Contains([]string{"c1", "w2"}, e.Node) || slices.Contains([]string{"c1", "w2"}, e.Peer)
		}},
		{"text", 0, 0, "", `write|^-> m\d  create_file /f0`, func(e *trace.Event) bool {
			text := e.Text()
			return strings.Contains(text, "write") || strings.HasPrefix(text, "-> m") && strings.Contains(text, "  create_file /f0")
		}},
		{"outcome", 0, 0, "", "not leader|process died", func(e *trace.Event) bool {
			return strings.Contains(e.Outcome, "not leader") || strings.Contains(e.Outcome, "process died") || strings.Contains(e.Text(), "not leader")
		}},
		{"all of it", 4 * time.Second, 0, "c2", "f1-", func(e *trace.Event) bool {
			return e.End() >= 4*time.Second && (e.Node == "c2" || e.Peer == "c2") && strings.Contains(e.Text(), "f1-")
		}},
	} {
		f, err := trace.ParseFilter(test.from, test.to, test.nodes, test.match)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range all.Events {
			if test.right(&all.Events[i]) {
				want = append(want, fmt.Sprint(all.Events[i].At, all.Events[i].Node, all.Events[i].Text()))
			}
		}
		var got []string
		for _, e := range record(t, 0, f).Events {
			got = append(got, fmt.Sprint(e.At, e.Node, e.Text()))
		}
		if !slices.Equal(got, want) || len(want) == 0 || len(want) == len(all.Events) {
			t.Errorf("%s: %d events, want %d of %d", test.name, len(got), len(want), len(all.Events))
		}
	}
}

// TestFiltersThatCannotBe: all mistakes at once.
func TestFiltersThatCannotBe(t *testing.T) {
	_, err := trace.ParseFilter(3*time.Second, time.Second, "", "a(")
	if err == nil || !strings.Contains(err.Error(), "from 3s to 1s") || !strings.Contains(err.Error(), `"a("`) {
		t.Errorf("%v", err)
	}
	if _, err := trace.ParseFilter(-1, 0, "", ""); err == nil {
		t.Error("a time before the run was taken")
	}
}

// TestBound: the last events are kept, and those dropped are counted and told.
func TestBound(t *testing.T) {
	all := record(t, 0, trace.Filter{})
	some := record(t, 50, trace.Filter{})
	open := 0
	for _, e := range all.Events {
		if e.Open {
			open++
		}
	}
	if len(some.Events) != 50+open || some.Dropped != len(all.Events)-open-50 {
		t.Errorf("%d events kept of %d, %d of them open, and %d dropped", len(some.Events), len(all.Events), open, some.Dropped)
	}
	first := slices.MinFunc(some.Events, func(a, b trace.Event) int { return int(a.End() - b.End()) })
	later := 0
	for _, e := range all.Events {
		if e.End() > first.End() {
			later++
		}
	}
	if later > len(some.Events) {
		t.Errorf("%d events ended after the first of %d that were kept", later, len(some.Events))
	}
	var out bytes.Buffer
	if err := trace.Timeline(&out, some); err != nil || !strings.HasPrefix(out.String(), fmt.Sprintf("# %d earlier events were dropped", some.Dropped)) {
		t.Errorf("%v: %.100s", err, &out)
	}
}

// TestChromeOfRun holds a whole run's file to the format's rules.
func TestChromeOfRun(t *testing.T) {
	r := record(t, 0, trace.Filter{})
	var out bytes.Buffer
	if err := trace.Chrome(&out, r, map[string]any{"seed": 3}); err != nil {
		t.Fatal(err)
	}
	n := validate(t, out.Bytes())
	if n["X"]+n["i"] != len(r.Events) || n["s"] != n["f"] || n["s"] < 200 || n["B"]+n["E"] > 0 {
		t.Errorf("%v of %d events", n, len(r.Events))
	}
	var top struct{ Forebay struct{ Seed int } }
	if err := json.Unmarshal(out.Bytes(), &top); err != nil || top.Forebay.Seed != 3 {
		t.Errorf("%v, %+v", err, top)
	}
}
