package journaltest

import (
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

// testRestart: every member dies; what comes back is what was flushed, and the log brings the rest, each entry once.
func testRestart(t *testing.T, e *env) {
	leader := e.leader()
	e.propose(leader, "a", 20)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 20})
		e.sms[i].Flush()
	}
	e.propose(leader, "b", 30)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 20}, entrySet{"b", 30})
	}
	for range 2 { // a second time without anything new
		flushed := make([]uint64, e.d.Members)
		for i := range e.d.Members {
			e.kill(i)
			flushed[i] = e.sms[i].AppliedIndex()
		}
		for i := range e.d.Members {
			e.open(i)
		}
		for i := range e.d.Members {
			e.wantAll(i, entrySet{"a", 20}, entrySet{"b", 30})
			if got := e.sms[i].FromLog(); len(got) != 30 || got[0] <= flushed[i] {
				t.Fatalf("member %d had flushed %d and was sent %v", i, flushed[i], got)
			}
		}
	}
	e.propose(e.leader(), "c", 5)
	e.wantAll(0, entrySet{"a", 20}, entrySet{"b", 30}, entrySet{"c", 5})
}

// testSnapshot: a snapshot trims the log and is no step back: a restart uses the newer state, and a second one is harmless.
func testSnapshot(t *testing.T, e *env) {
	leader := e.leader()
	j := e.journals[leader]
	e.propose(leader, "a", 50)
	applied := e.sms[leader].AppliedIndex()
	index, err := j.Snapshot(e.ctx())
	if err != nil || index < applied {
		t.Fatalf("snapshot at %d, %v; %d was applied", index, err, applied)
	}
	st := j.Status()
	if st.SnapshotIndex != index || st.FirstLogIndex != 0 && st.FirstLogIndex <= applied-10 {
		t.Fatalf("after a snapshot at %d: %+v", index, st)
	}
	if again, err := j.Snapshot(e.ctx()); err != nil || again < index {
		t.Fatalf("a second snapshot: %d, %v", again, err)
	}
	e.propose(leader, "b", 20)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 50}, entrySet{"b", 20})
	}
	for i := range e.d.Members {
		e.kill(i)
	}
	for i := range e.d.Members {
		e.open(i)
	}
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 50}, entrySet{"b", 20})
	}
	if n := e.sms[leader].Restores(); n != 0 {
		t.Errorf("the state was newer than the snapshot, but was restored %d times", n)
	}
	e.propose(e.leader(), "c", 1)
}

// testLostState: a member whose state is gone while its log was trimmed takes the snapshot that lies beside the log.
func testLostState(t *testing.T, e *env) {
	leader := e.leader()
	e.propose(leader, "a", 50)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 50})
		if _, err := e.journals[i].Snapshot(e.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	e.propose(leader, "b", 5)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 50}, entrySet{"b", 5})
	}
	for i := range e.d.Members {
		e.kill(i)
		e.sms[i] = e.recorder(i)
	}
	for i := range e.d.Members {
		e.open(i)
	}
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 50}, entrySet{"b", 5})
		if n := e.sms[i].Restores(); n != 1 {
			t.Errorf("member %d restored %d times", i, n)
		}
	}
}

// testLostLog: a state without the log that it came from must not start: entries that it acknowledged are missing.
func testLostLog(t *testing.T, e *env) {
	leader := e.leader()
	e.propose(leader, "a", 5)
	e.sms[leader].Flush()
	e.kill(leader)
	e.cluster.Wipe(leader)
	if j, err := e.cluster.Open(leader, e.sms[leader]); !dfs.IsKind(err, dfs.Corrupted) {
		t.Errorf("opened a state without its log: %v", err)
		if err == nil {
			_ = j.Close()
		}
	}
}
