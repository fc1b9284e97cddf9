package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/sched"
	"github.com/forebay/forebay/sim/trace"
)

// TestRecord: a scenario that is recorded has the history of one that is not, and the record tells of operations with their paths,
// faults around what they do, and violations.
func TestRecord(t *testing.T) {
	s := small(t)
	s.Faults = []Fault{{Kind: "kill-leader", At: 8 * time.Second, For: 2 * time.Second}, {Kind: "test", At: 9 * time.Second}}
	faultKinds["test"] = func(r *run, _ Fault, _ int) func() { r.book.Violation("test", "planted"); return func() {} }
	defer delete(faultKinds, "test")
	recorder := trace.New(0, trace.Filter{})
	with, err := Run(t.Context(), s, Options{Seed: 7, Record: recorder})
	if err != nil {
		t.Fatal(err)
	}
	without, err := Run(t.Context(), s, Options{Seed: 7})
	if err != nil || with.History != without.History {
		t.Errorf("%v: history %s with a record, %s without", err, with.History, without.History)
	}
	var out bytes.Buffer
	if err := trace.Timeline(&out, recorder.Record(with.Simulated)); err != nil {
		t.Fatal(err)
	}
	after := out.String()
	for _, want := range []string{"  read /shared/", "  write /own/", "FAULT kill-leader\n", "crashes", "leads term 2", "FAULT test", "VIOLATION test: planted", "FAULT kill-leader ends\n"} {
		_, rest, ok := strings.Cut(after, want)
		if !ok && strings.Contains(out.String(), want) {
			t.Errorf("%q is told too early", want)
		} else if !ok {
			t.Errorf("the timeline does not tell %q", want)
		}
		if strings.Contains(want, "  ") { // of these there are many
			continue
		}
		after = rest
	}
	operations := 0
	for _, e := range recorder.Record(with.Simulated).Events {
		if e.Kind == trace.Operation && !e.Open {
			operations++
		}
	}
	if operations != with.Operations() {
		t.Errorf("%d operations are in the record, %d in the report", operations, with.Operations())
	}
}

// TestText: a scenario is written as it is read, whatever a seed makes of it.
func TestText(t *testing.T) {
	scenarios := []*Scenario{small(t)}
	for seed := range uint64(200) {
		scenarios = append(scenarios, Swarm(seed, nil))
	}
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		scenarios = append(scenarios, s)
	}
	for _, s := range scenarios {
		text, err := s.Text()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		back.Name = s.Name
		if len(s.WriteTypes) == 0 && len(back.WriteTypes) == 0 {
			back.WriteTypes = s.WriteTypes // empty or nil
		}
		if err := s.Check(); err != nil || !reflect.DeepEqual(s, back) {
			t.Errorf("%v:\n%+v\nwas written as\n%s\nand read as\n%+v", err, s, text, back)
		}
	}
}

// TestFailureOf: violations have the sort of their oracle, and an end of the simulation its own; an interrupted run did not fail.
func TestFailureOf(t *testing.T) {
	held, broken := &Report{}, &Report{Oracle: "contents", Violations: []string{"first", "second"}, ViolationCount: 2}
	for _, test := range []struct {
		r    *Report
		err  error
		want Failure
	}{
		{held, nil, Failure{}},
		{broken, nil, Failure{"contents", "first"}},
		{broken, context.Canceled, Failure{}},
		{held, fmt.Errorf("interrupted: %w", context.DeadlineExceeded), Failure{}},
		{broken, fmt.Errorf("run: %w", &sched.Deadlock{At: time.Second}), Failure{"deadlock", "run: " + (&sched.Deadlock{At: time.Second}).Error()}},
		{nil, errors.New("no"), Failure{"error", "no"}},
	} {
		if got := FailureOf(test.r, test.err); got != test.want {
			t.Errorf("%+v, %v: %+v, want %+v", test.r, test.err, got, test.want)
		}
	}
	if got := FailureOf(held, &sched.Fault{Task: "scrub", Reason: "panic: x"}); got.Sort != "fault of task scrub" || !strings.Contains(got.What, "panic: x") {
		t.Errorf("%+v", got)
	}
}
