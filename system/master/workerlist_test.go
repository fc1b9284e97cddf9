package master

import (
	"testing"

	"github.com/forebay/forebay/system/proto"
)

// TestListWorkersPlacement: who has the placement of this version is told so without it, and every answer to a batch tells the
// version; the whole list comes whenever it is asked for.
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
	if batch := r.m.execute(t.Context(), &proto.OperationBatch{}); batch.WorkersVersion != first.WorkersVersion {
		t.Errorf("a batch tells version %d, the placement has %d", batch.WorkersVersion, first.WorkersVersion)
	}
	r.m.workers.Begin(&proto.WorkerInfo{Id: "w2", Address: "a:2"}, r.h.Now())
	if next := ask(&proto.ListWorkers{Placement: true, Known: first.WorkersVersion}); len(next.Placement) <= len(first.Placement) || next.WorkersVersion == first.WorkersVersion {
		t.Errorf("changed: %v", next)
	}
	if all := ask(&proto.ListWorkers{}); len(all.Workers) != 2 || all.Placement != nil {
		t.Errorf("all: %v", all)
	}
}
