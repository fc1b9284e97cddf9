package master

import (
	"testing"
	"time"

	"github.com/forebay/forebay/system/proto"
)

// TestListWorkersPlacement: who has the placement of this version is told so without it, and every answer to a batch tells the
// version, except a young leader's; the whole list comes whenever it is asked for.
func TestListWorkersPlacement(t *testing.T) {
	r := newRig(t)
	ask := func(op *proto.ListWorkers) *proto.Result {
		t.Helper()
		return r.must(&proto.Operation{Kind: &proto.Operation_ListWorkers{ListWorkers: op}})
	}
	r.m.workers.Begin(&proto.WorkerInfo{Id: "w1", Address: "a:1"}, r.h.Now())
	first := ask(&proto.ListWorkers{Placement: true})
	if len(first.Placement) == 0 || len(first.Workers) != 0 || first.WorkersVersion == 0 {
		t.Fatalf("%v", first)
	}
	if same := ask(&proto.ListWorkers{Placement: true, Known: first.WorkersVersion}); same.Placement != nil || same.WorkersVersion != first.WorkersVersion {
		t.Errorf("unchanged: %v", same)
	}
	// A young leader says that there may be more, and tells no version by the way; an older one tells both as they are.
	l := r.m.leader.Load()
	for age, young := range map[time.Duration]bool{0: true, r.m.cfg.SafeStart + time.Second: false} {
		l.since = r.h.Now().Add(-age)
		placement, batch := ask(&proto.ListWorkers{Placement: true}), r.m.execute(t.Context(), &proto.OperationBatch{})
		if placement.WorkersPartial != young || placement.WorkersVersion != first.WorkersVersion || (batch.WorkersVersion == 0) != young {
			t.Errorf("after %v: partial %v, version %x, a batch tells %x", age, placement.WorkersPartial, placement.WorkersVersion, batch.WorkersVersion)
		}
		if !young && batch.WorkersVersion != first.WorkersVersion {
			t.Errorf("a batch tells version %x, the placement has %x", batch.WorkersVersion, first.WorkersVersion)
		}
	}
	r.m.workers.Begin(&proto.WorkerInfo{Id: "w2", Address: "a:2"}, r.h.Now())
	if next := ask(&proto.ListWorkers{Placement: true, Known: first.WorkersVersion}); len(next.Placement) <= len(first.Placement) || next.WorkersVersion == first.WorkersVersion {
		t.Errorf("changed: %v", next)
	}
	if all := ask(&proto.ListWorkers{}); len(all.Workers) != 2 || all.Placement != nil {
		t.Errorf("all: %v", all)
	}
}
