package master

import (
	"testing"

	"github.com/forebay/forebay/system/proto"
)

// TestListWorkersUnchanged: who has the list of this version is told so without it; another leadership's version is another.
func TestListWorkersUnchanged(t *testing.T) {
	r := newRig(t)
	ask := func(known uint64) *proto.Result {
		t.Helper()
		return r.must(&proto.Operation{Kind: &proto.Operation_ListWorkers{ListWorkers: &proto.ListWorkers{Known: known}}})
	}
	l := r.m.leader.Load()
	r.m.workers.Begin(&proto.WorkerInfo{Id: "w1", Address: "a:1"}, r.h.Now())
	first := ask(0)
	if len(first.Workers) != 1 || first.WorkersVersion == 0 {
		t.Fatalf("%v", first)
	}
	if same := ask(first.WorkersVersion); len(same.Workers) != 0 || same.WorkersVersion != first.WorkersVersion {
		t.Errorf("unchanged: %v", same)
	}
	r.m.workers.Begin(&proto.WorkerInfo{Id: "w2", Address: "a:2"}, r.h.Now())
	if next := ask(first.WorkersVersion); len(next.Workers) != 2 || next.WorkersVersion == first.WorkersVersion {
		t.Errorf("changed: %v", next)
	}
	other := &leadership{m: r.m, term: l.term + 1}
	if a, b := l.listWorkers(&proto.ListWorkers{}), other.listWorkers(&proto.ListWorkers{}); a.WorkersVersion == b.WorkersVersion {
		t.Errorf("two leaderships have the version %d", a.WorkersVersion)
	}
}
