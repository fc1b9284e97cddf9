package workerregistry

import (
	"testing"
	"time"

	"github.com/forebay/forebay/system/proto"
)

// TestVersion: the version changes exactly when a worker comes, goes, is whole, or offers something else.
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
	changed("it is whole", true)
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
	changed("it is forgotten", true)
	r.Reset()
	changed("everything is", true)
}
