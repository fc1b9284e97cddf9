package workerregistry

import (
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

var start = time.Unix(1000, 0)

func beat(worker string, lease uint64) *proto.HeartbeatRequest {
	return &proto.HeartbeatRequest{Worker: worker, Lease: lease}
}

func TestLifeOfAWorker(t *testing.T) {
	r := New(10 * time.Second)
	if _, ok := r.Heartbeat(beat("w", 1), start); ok {
		t.Error("an unknown worker was not told to register")
	}
	lease := r.Begin(&proto.WorkerInfo{Id: "w", Address: "a:1"}, start)
	if r.Settled() {
		t.Error("settled while a worker registers")
	}
	if !r.Complete("w", lease, start) || !r.Settled() || !r.Live("w") {
		t.Error("registered and not settled")
	}
	if lost := r.Expire(start.Add(9 * time.Second)); len(lost) != 0 {
		t.Errorf("lost too early: %v", lost)
	}
	if _, ok := r.Heartbeat(beat("w", lease), start.Add(9*time.Second)); !ok {
		t.Error("heartbeat refused")
	}
	if lost := r.Expire(start.Add(18 * time.Second)); len(lost) != 0 {
		t.Errorf("lost although it was heard: %v", lost)
	}
	if lost := r.Expire(start.Add(20 * time.Second)); len(lost) != 1 || lost[0] != "w" || r.Live("w") {
		t.Errorf("silent for 11 s and not lost: %v", lost)
	}
	if _, ok := r.Heartbeat(beat("w", lease), start.Add(21*time.Second)); ok {
		t.Error("a lost worker goes on without registering")
	}
	if w := r.List(); len(w) != 1 || w[0].Live || w[0].Address != "a:1" {
		t.Errorf("list %v", w)
	}
}

func TestSecondRegistrationEndsTheFirst(t *testing.T) {
	r := New(time.Minute)
	first := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	second := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	if r.Complete("w", first, start) || r.Touch("w", first, start) {
		t.Error("the first lease still counts")
	}
	if !r.Touch("w", second, start) || !r.Complete("w", second, start) {
		t.Error("the second lease does not count")
	}
}

func TestCommandsAreBoundedAndInOrder(t *testing.T) {
	r := New(time.Minute)
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	r.Complete("w", lease, start)
	for i := range commandsPerHeartbeat + 5 {
		r.Tell("w", &proto.WorkerCommand{Inode: uint64(i)})
	}
	r.Tell("nobody", &proto.WorkerCommand{})
	got, _ := r.Heartbeat(beat("w", lease), start)
	rest, _ := r.Heartbeat(beat("w", lease), start)
	if len(got) != commandsPerHeartbeat || len(rest) != 5 || got[1].Inode != 1 || rest[0].Inode != commandsPerHeartbeat {
		t.Fatalf("%d then %d commands", len(got), len(rest))
	}
	for range maxCommands + 1 {
		r.Tell("w", &proto.WorkerCommand{})
	}
	if _, ok := r.Heartbeat(beat("w", lease), start); ok {
		t.Error("commands overflowed and the worker was not told to register anew")
	}
	lease = r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	if c, ok := r.Heartbeat(beat("w", lease), start); !ok || len(c) != 0 {
		t.Errorf("after registering anew: %d commands, %v", len(c), ok)
	}
}

func TestCommandsSurviveReRegistration(t *testing.T) {
	r := New(time.Minute)
	r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	r.Tell("w", &proto.WorkerCommand{Inode: 5})
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	if c, _ := r.Heartbeat(beat("w", lease), start); len(c) != 1 || c[0].Inode != 5 {
		t.Errorf("commands %v", c)
	}
	r.Reset()
	if len(r.List()) != 0 || r.Live(dfs.WorkerID("w")) {
		t.Error("something is left after Reset")
	}
}

func TestHeartbeatUpdatesTiers(t *testing.T) {
	r := New(time.Minute)
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	req := beat("w", lease)
	req.Tiers = []*proto.TierInfo{{Name: "MEM", UsedBytes: 7}}
	r.Heartbeat(req, start)
	if w := r.List()[0]; len(w.Tiers) != 1 || w.Tiers[0].UsedBytes != 7 || w.LastHeartbeat != start.UnixNano() {
		t.Errorf("worker %v", w)
	}
}

// TestBrokenRegistration: a stream that ended half way makes the worker register anew; one that is whole, or newer, is
// left alone.
func TestBrokenRegistration(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := New(time.Minute)
	info := &proto.WorkerInfo{Id: "w", Address: "w:1"}
	beat := func(lease uint64) bool {
		_, ok := r.Heartbeat(&proto.HeartbeatRequest{Worker: "w", Lease: lease}, now)
		return ok
	}
	first := r.Begin(info, now)
	r.Broken("w", first)
	if beat(first) || beat(0) {
		t.Error("half a registration goes on")
	}
	if r.Settled() {
		t.Error("settled with half of a worker's blocks")
	}
	second := r.Begin(info, now)
	r.Broken("w", first)
	if !r.Complete("w", second, now) || !beat(second) {
		t.Error("an old stream's end broke the new registration")
	}
	r.Broken("w", second)
	if !beat(second) {
		t.Error("the end of a stream whose registration is whole broke it")
	}
	r.Broken("nobody", 1)
}

// TestLostWorkersAreForgotten: after a day, so that ids that never come back do not gather.
func TestLostWorkersAreForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := New(time.Minute)
	r.Begin(&proto.WorkerInfo{Id: "w", Address: "w:1"}, now)
	for _, c := range []struct {
		after time.Duration
		known int
	}{{time.Second, 1}, {2 * time.Minute, 1}, {23 * time.Hour, 1}, {25 * time.Hour, 0}} {
		r.Expire(now.Add(c.after))
		if n := len(r.List()); n != c.known {
			t.Errorf("after %v: %d workers are listed, want %d", c.after, n, c.known)
		}
	}
}
