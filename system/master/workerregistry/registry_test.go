package workerregistry

import (
	"fmt"
	"math/rand/v2"
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

func told(response *proto.HeartbeatResponse, _ bool) []*proto.WorkerCommand {
	return response.GetCommands()
}

func TestCommandsAreBoundedAndInOrder(t *testing.T) {
	r := New(time.Minute)
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	r.Complete("w", lease, start)
	for i := range commandsPerHeartbeat + 5 {
		r.Tell("w", &proto.WorkerCommand{Inode: uint64(i)})
	}
	r.Tell("nobody", &proto.WorkerCommand{})
	first, _ := r.Heartbeat(beat("w", lease), start)
	again, _ := r.Heartbeat(beat("w", lease), start) // the first answer was lost
	heard := beat("w", lease)
	heard.Heard = again.Answer
	got, rest := again.Commands, told(r.Heartbeat(heard, start))
	if len(first.Commands) != commandsPerHeartbeat || len(got) != commandsPerHeartbeat || len(rest) != 5 || got[1].Inode != 1 || rest[0].Inode != commandsPerHeartbeat {
		t.Fatalf("%d, %d again, then %d commands", len(first.Commands), len(got), len(rest))
	}
	for range maxCommands + 1 {
		r.Tell("w", &proto.WorkerCommand{})
	}
	if _, ok := r.Heartbeat(beat("w", lease), start); ok {
		t.Error("commands overflowed and the worker was not told to register anew")
	}
	lease = r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	if c, ok := r.Heartbeat(beat("w", lease), start); !ok || len(c.Commands) != 0 {
		t.Errorf("after registering anew: %d commands, %v", len(c.Commands), ok)
	}
}

func TestCommandsSurviveReRegistration(t *testing.T) {
	r := New(time.Minute)
	r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	r.Tell("w", &proto.WorkerCommand{Inode: 5})
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	if c := told(r.Heartbeat(beat("w", lease), start)); len(c) != 1 || c[0].Inode != 5 {
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
	r.Broken("w", first, now)
	if beat(first) || beat(0) {
		t.Error("half a registration goes on")
	}
	if r.Settled() {
		t.Error("settled with half of a worker's blocks")
	}
	second := r.Begin(info, now)
	r.Broken("w", first, now)
	if !r.Complete("w", second, now) || !beat(second) {
		t.Error("an old stream's end broke the new registration")
	}
	r.Broken("w", second, now)
	if !beat(second) {
		t.Error("the end of a stream whose registration is whole broke it")
	}
	r.Broken("nobody", 1, now)
}

// TestLostWorkersAreForgotten: after a day, so that ids that never come back do not gather.
func TestLostWorkersAreForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := New(time.Minute)
	r.Touch("w", r.Begin(&proto.WorkerInfo{Id: "w", Address: "w:1"}, now), now)
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

// TestLostWhileRegistering: a lost worker's registration cannot go on: its blocks were dropped, and what it reports
// afterwards would stay.
func TestLostWhileRegistering(t *testing.T) {
	r := New(10 * time.Second)
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	if !r.Touch("w", lease, start.Add(9*time.Second)) {
		t.Error("a live registration was ended")
	}
	if lost := r.Expire(start.Add(18 * time.Second)); len(lost) != 0 {
		t.Errorf("lost between two batches: %v", lost)
	}
	if lost := r.Expire(start.Add(20 * time.Second)); len(lost) != 1 {
		t.Errorf("lost %v", lost)
	}
	if r.Touch("w", lease, start.Add(21*time.Second)) || r.Complete("w", lease, start.Add(21*time.Second)) {
		t.Error("the registration of a lost worker goes on")
	}
	again := r.Begin(&proto.WorkerInfo{Id: "w"}, start.Add(22*time.Second))
	if !r.Live("w") || !r.Complete("w", again, start.Add(22*time.Second)) || !r.Settled() {
		t.Error("it cannot come back")
	}
	if r.Touch("never", 1, start) || r.Complete("never", 1, start) || r.Live("never") {
		t.Error("a worker that never was goes on")
	}
	r.Broken("never", 1, start)
	r.Tell("never", &proto.WorkerCommand{})
}

// TestWaitingForItsTurn: a registration that waits for a long time is of a live worker, and its end counts as the last word
// of it.
func TestWaitingForItsTurn(t *testing.T) {
	r := New(10 * time.Second)
	lease := r.Begin(&proto.WorkerInfo{Id: "w"}, start)
	later := start.Add(time.Hour)
	if lost := r.Expire(later); len(lost) != 0 || !r.Live("w") || r.Settled() {
		t.Errorf("waiting: lost %v, live %v, settled %v", lost, r.Live("w"), r.Settled())
	}
	r.Broken("w", lease, later)
	if lost := r.Expire(later.Add(10 * time.Second)); len(lost) != 0 {
		t.Errorf("lost 10 s after its stream ended: %v", lost)
	}
	if lost := r.Expire(later.Add(11 * time.Second)); len(lost) != 1 {
		t.Errorf("silent for 11 s since its stream ended, and lost are %v", lost)
	}
}

// TestRegistryAgainstModel (INV-1 to INV-3): random lives of a few workers against what a person would write down.
func TestRegistryAgainstModel(t *testing.T) {
	type life struct {
		lease    uint64
		seen     time.Time
		live     bool
		waiting  bool
		complete bool
		queued   int
		told     int // of those, by the last answer
		answer   uint64
	}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r, model, now := New(10*time.Second), map[string]*life{}, start
		for step := range 2000 {
			id := []string{"a", "b", "c"}[rng.IntN(3)]
			w, given := dfs.WorkerID(id), model[id]
			lease := uint64(rng.IntN(3)) // mostly nobody's
			if given != nil && rng.IntN(4) > 0 {
				lease = given.lease
			}
			valid := given != nil && given.live && lease == given.lease && lease != 0
			var got, want any
			op := rng.IntN(8)
			switch op {
			case 0:
				queued := 0
				if given != nil {
					queued = given.queued
				}
				lease := r.Begin(&proto.WorkerInfo{Id: id}, now)
				got, want = lease > 0, true
				model[id] = &life{lease: lease, seen: now, live: true, waiting: true, queued: queued}
			case 1:
				got, want = r.Complete(w, lease, now), valid
				if valid {
					given.complete, given.seen, given.waiting = true, now, false
				}
			case 2:
				got, want = r.Touch(w, lease, now), valid
				if valid {
					given.seen, given.waiting = now, false
				}
			case 3:
				req := beat(id, lease)
				if given != nil && rng.IntN(2) == 0 {
					req.Heard = given.answer
				}
				response, ok := r.Heartbeat(req, now)
				got, want = fmt.Sprint(ok, len(response.GetCommands())), "false 0"
				if valid {
					if req.Heard == given.answer {
						given.queued, given.told = given.queued-given.told, 0
					}
					want = fmt.Sprint(true, given.queued)
					given.seen, given.told, given.answer, given.waiting = now, given.queued, response.GetAnswer(), false
				}
			case 4:
				r.Broken(w, lease, now)
				if given != nil && lease == given.lease && !given.complete {
					given.lease = 0
					if given.waiting {
						given.seen, given.waiting = now, false
					}
				}
			case 5:
				r.Tell(w, &proto.WorkerCommand{})
				if given != nil && given.live {
					given.queued++
				}
			case 6:
				now = now.Add(time.Duration(rng.IntN(8)) * time.Second)
			case 7:
				lost := []dfs.WorkerID{}
				for _, id := range []string{"a", "b", "c"} {
					if l := model[id]; l != nil && l.live && !l.waiting && now.Sub(l.seen) > 10*time.Second {
						l.live, l.complete, l.queued, l.told = false, false, 0, 0
						lost = append(lost, dfs.WorkerID(id))
					}
				}
				got, want = fmt.Sprint(r.Expire(now)), fmt.Sprint(lost)
			}
			if got != want {
				t.Fatalf("seed %d, step %d: operation %d on %s with lease %d: %v, want %v", seed, step, op, id, lease, got, want)
			}
			settled := len(model) > 0
			for id, l := range model {
				settled = settled && (!l.live || l.complete)
				if r.Live(dfs.WorkerID(id)) != l.live {
					t.Fatalf("seed %d, step %d: %s is live: %v", seed, step, id, !l.live)
				}
			}
			if r.Settled() != settled {
				t.Fatalf("seed %d, step %d: settled %v", seed, step, !settled)
			}
		}
	}
}
