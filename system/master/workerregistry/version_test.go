package workerregistry

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	gproto "google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/proto"
)

// TestVersion: the version changes exactly when a worker comes, goes, or offers something else.
func TestVersion(t *testing.T) {
	r := New(10 * time.Second)
	now := time.Unix(1000, 0)
	last := r.Version()
	changed := func(what string, want bool) {
		t.Helper()
		if v := r.Version(); (v != last) != want {
			t.Errorf("%s: changed %v, want %v", what, v != last, want)
		}
		last = r.Version()
	}
	tiers := func(capacity, used int64, failed bool) []*proto.TierInfo {
		return []*proto.TierInfo{{Name: "SSD", CapacityBytes: capacity, UsedBytes: used, Failed: failed}}
	}
	lease := r.Begin(&proto.WorkerInfo{Id: "w", Tiers: tiers(100, 0, false)}, now)
	changed("a worker comes", true)
	beat := func(t []*proto.TierInfo) {
		now = now.Add(time.Second)
		r.Heartbeat(&proto.HeartbeatRequest{Worker: "w", Lease: lease, Tiers: t}, now)
	}
	r.Complete("w", lease, now)
	changed("it is whole", false)
	beat(tiers(100, 50, false))
	changed("it is used", false)
	beat(nil)
	changed("it lives", false)
	beat(tiers(80, 50, false))
	changed("it offers less", true)
	beat(tiers(80, 50, true))
	changed("its disk fails", true)
	beat(append(tiers(80, 50, true), tiers(10, 0, false)...))
	changed("it has another disk", true)
	r.Tell("w", &proto.WorkerCommand{})
	changed("it is told something", false)
	r.Expire(now.Add(5 * time.Second))
	changed("nobody is lost", false)
	r.Expire(now.Add(time.Minute))
	changed("it is lost", true)
	r.Expire(now.Add(time.Minute))
	changed("it still is", false)
	r.Expire(now.Add(2 * forgetAfter))
	changed("it is forgotten", false)
	r.Begin(&proto.WorkerInfo{Id: "w"}, now)
	changed("it comes back with nothing", true)
	r.Reset()
	changed("everything is forgotten", true)
	if last == 0 {
		t.Error("version 0 means that nothing is known")
	}
}

// TestPlacement (INV-4): registries that know the same live workers give the same version and the same bytes, however they
// came to know them; the bytes are encoded anew only when the version changes.
func TestPlacement(t *testing.T) {
	now := time.Unix(1000, 0)
	info := func(id string, capacity int64) *proto.WorkerInfo {
		return &proto.WorkerInfo{Id: id, Address: id + ":1", Tiers: []*proto.TierInfo{
			{Name: "SSD", CapacityBytes: capacity, UsedBytes: rand.Int64N(10)}, {Name: "HDD", CapacityBytes: 7, Failed: true}}}
	}
	a, b := New(10*time.Second), New(10*time.Second)
	for _, id := range []string{"x", "y", "z"} {
		a.Begin(info(id, 100), now)
	}
	for _, w := range []*proto.WorkerInfo{info("old", 5), info("z", 1)} {
		b.Touch(dfs.WorkerID(w.Id), b.Begin(w, now.Add(-time.Hour)), now.Add(-time.Hour))
	}
	b.Expire(now)                                     // both are lost
	for _, id := range []string{"z", "x", "x", "y"} { // one registers twice
		b.Begin(info(id, 100), now)
	}
	version, encoded := a.Placement()
	if v, e := b.Placement(); v != version || !bytes.Equal(e, encoded) || v != a.Version() {
		t.Errorf("versions %x and %x of\n%q\n%q", version, v, encoded, e)
	}
	var p proto.Placement
	if err := gproto.Unmarshal(encoded, &p); err != nil || len(p.Workers) != 3 || p.Workers[0].Id != "x" || p.Workers[0].Address != "x:1" || p.Workers[0].CapacityBytes != 100 {
		t.Errorf("%v: %v", err, p.Workers)
	}
	if _, again := a.Placement(); &again[0] != &encoded[0] {
		t.Error("nothing changed and it was encoded again")
	}
	a.Begin(info("y", 101), now)
	if v, e := a.Placement(); v == version || bytes.Equal(e, encoded) {
		t.Error("a capacity changed and the placement did not")
	}
}

// TestPatience: a few workers may come as often as they like; thousands are asked to stay within maxHeartbeats, and never for
// so long that one missed heartbeat makes a worker lost.
func TestPatience(t *testing.T) {
	for workers, want := range map[int]time.Duration{0: 0, 3: 3 * time.Millisecond, 3000: 3 * time.Second, 100_000: 5 * time.Second} {
		r := New(30 * time.Second)
		for i := range workers {
			r.Begin(&proto.WorkerInfo{Id: strconv.Itoa(i)}, time.Unix(1000, 0))
		}
		if got := r.Patience(); got != want {
			t.Errorf("%d workers: %v, want %v", workers, got, want)
		}
	}
}
