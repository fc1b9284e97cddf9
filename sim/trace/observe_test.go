package trace

import (
	"errors"
	"testing"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/proto"
)

func batch(id uint64, paths ...string) *proto.OperationBatch {
	b := &proto.OperationBatch{BatchId: id}
	for _, p := range paths {
		b.Operations = append(b.Operations, &proto.Operation{Kind: &proto.Operation_GetStatus{GetStatus: &proto.GetStatus{Path: p}}})
	}
	return b
}

// TestBatchesOfOneStream: batches are calls of their own, answered in any order; what a stream leaves unanswered ends with it, at
// each end by itself, and nothing is remembered of what is over.
func TestBatchesOfOneStream(t *testing.T) {
	now := time.Duration(0)
	o := &observer{r: New(0, Filter{}), now: func() time.Duration { now++; return now }, open: map[end]*Span{}, flows: map[end]uint64{}}
	step := func(s world.Step, server bool, m any, err error) {
		o.Call(world.CallStep{Step: s, ID: 9, From: "c1", To: "m1", Method: "/forebay.v1.Metadata/Stream", AtServer: server, Message: m, Err: err})
	}
	user := o.r.Begin(Event{Kind: Operation, Node: "c1", What: "stat"})
	step(world.CallBegan, false, nil, nil)
	step(world.CallArrived, true, nil, nil)
	for id := range uint64(3) {
		step(world.CallSent, false, batch(id+1, "/a", "/b", "/c", "/d", "/e"), nil)
		step(world.CallTook, true, batch(id+1, "/a", "/b", "/c", "/d", "/e"), nil)
	}
	step(world.CallSent, true, &proto.ResultBatch{BatchId: 2}, nil)
	step(world.CallTook, false, &proto.ResultBatch{BatchId: 2, Results: []*proto.Result{{Error: &proto.Error{Kind: 1, Detail: "one"}}, {}, {Error: &proto.Error{Detail: "two"}}}}, nil)
	step(world.CallEnded, false, nil, errors.New("broken"))
	step(world.CallAnswered, true, nil, nil)
	user.End(now, "")
	ends := map[string]int{}
	for _, e := range o.r.Record(now).Events {
		if e.Kind == Operation && e.What != "stat /a" {
			t.Errorf("the operation is %q", e.What)
		}
		if e.Kind != Operation && e.What != "Metadata.Stream" && e.What != "get_status /a, get_status /b, get_status /c, and 2 more" {
			t.Errorf("a batch is %q", e.What)
		}
		ends[e.Node+": "+e.Outcome]++
	}
	if ends["c1: Unknown: broken"] != 3 || ends["m1: the stream ended"] != 2 || ends["m1: "] != 2 || ends["c1: : not found: one, and 1 more errors"] != 1 {
		t.Errorf("%v", ends)
	}
	if len(o.open)+len(o.flows)+len(o.r.open)+len(o.r.users) > 0 {
		t.Errorf("%v, %v, %d spans and %d operations are still known", o.open, o.flows, len(o.r.open), len(o.r.users))
	}
}

// TestDeath: what a process had under way ends with it, and is remembered no longer; others' goes on.
func TestDeath(t *testing.T) {
	o := &observer{r: New(0, Filter{}), now: func() time.Duration { return 5 }, open: map[end]*Span{}, flows: map[end]uint64{}}
	for id := range uint64(4) {
		s := world.CallStep{Step: world.CallBegan, ID: id + 1, From: []string{"c1", "c2"}[id%2], To: "m1", Method: "/x.Y/Z"}
		o.Call(s)
		s.Step, s.AtServer = world.CallArrived, true
		o.Call(s)
	}
	for kind, want := range map[string]Kind{"disk": Machine, "network": Machine, "leadership": Leadership, "process": Process} {
		o.Note("c2", kind, "is as it is")
		if got := o.r.kept[len(o.r.kept)-1].Kind; got != want {
			t.Errorf("a note of %s has kind %d, want %d", kind, got, want)
		}
	}
	o.r.kept = nil
	o.Note("c2", "process", "crashes")
	if len(o.open) != 6 || len(o.flows) != 2 || len(o.r.open) != 6 || len(o.r.kept) != 3 {
		t.Errorf("%d ends, %d flows and %d spans are open, %d events", len(o.open), len(o.flows), len(o.r.open), len(o.r.kept))
	}
	o.Note("m1", "process", "crashes")
	if len(o.open) != 2 || len(o.flows) != 2 || len(o.r.open) != 2 {
		t.Errorf("%d ends, %d flows and %d spans are open", len(o.open), len(o.flows), len(o.r.open))
	}
}

// TestNames: services and methods, with and without a package.
func TestNames(t *testing.T) {
	for full, want := range map[string]string{"/forebay.v1.Data/Read": "Data.Read", "/Data/Read": "Data.Read"} {
		if got := methodName(full); got != want {
			t.Errorf("%s is %s, want %s", full, got, want)
		}
	}
	head := &proto.WriteRequest{Header: &proto.WriteHeader{File: &proto.FileRef{Inode: 7, Version: 2, UfsPath: "d/f"}}, Offset: 4}
	if got := describe(head); got != "inode=7 version=2 d/f offset=4" {
		t.Errorf("a write is %q", got)
	}
	if describe(nil) != "" || describe(&proto.WriteRequest{Data: []byte("x")}) != "" {
		t.Error("something is told of nothing")
	}
}
