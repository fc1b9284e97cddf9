package journaltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
)

// testOrder: indexes ascend in the order of the proposals, and each proposal is told the index under which it was applied.
func testOrder(t *testing.T, e *env) {
	leader := e.leader()
	var all []journal.Pending
	for i := range 200 {
		all = append(all, e.journals[leader].Propose(e.ctx(), fmt.Append(nil, i)))
	}
	var last uint64
	entries := map[uint64]string{}
	for i, p := range all {
		index, err := p.Wait(e.ctx())
		if err != nil {
			t.Fatalf("proposal %d: %v", i, err)
		}
		if index <= last {
			t.Fatalf("proposal %d has index %d, the one before it %d", i, index, last)
		}
		last = index
		entries[index] = fmt.Sprint(i)
	}
	got := e.sms[leader].Entries()
	if len(got) != len(all) {
		t.Fatalf("%d entries were applied, want %d", len(got), len(all))
	}
	for _, x := range got {
		if entries[x.Index] != string(x.Data) {
			t.Fatalf("index %d holds %q, the proposal was told %q", x.Index, x.Data, entries[x.Index])
		}
	}
}

// testRefusal: a refusal by the state machine goes to its own proposal alone, and Wait can be asked again.
func testRefusal(t *testing.T, e *env) {
	j := e.journals[e.leader()]
	first := j.Propose(e.ctx(), []byte("a"))
	refused := j.Propose(e.ctx(), []byte(RefusePrefix+"b"))
	third := j.Propose(e.ctx(), []byte("c"))
	if _, err := first.Wait(e.ctx()); err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Wait(e.ctx()); !dfs.IsKind(err, dfs.Conflict) || !strings.Contains(err.Error(), "refuse b") {
		t.Fatalf("a refused proposal: %v", err)
	}
	if _, err := third.Wait(e.ctx()); err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Wait(e.ctx()); !dfs.IsKind(err, dfs.Conflict) {
		t.Fatalf("a second Wait: %v", err)
	}
}

// testBackPressure: while the state machine hangs, Propose takes a few proposals and then waits. One that gives up is
// never made.
func testBackPressure(t *testing.T, e *env) {
	leader := e.leader()
	j := e.journals[leader]
	release := e.sms[leader].Hold()
	defer release()
	var taken []journal.Pending
	var gaveUp journal.Pending
	for gaveUp == nil {
		ctx, cancel := e.within(100 * time.Millisecond)
		p := j.Propose(ctx, fmt.Appendf(nil, "p%d", len(taken)))
		if ctx.Err() != nil {
			gaveUp = p
		} else {
			taken = append(taken, p)
		}
		cancel()
		if len(taken) > 10 {
			t.Fatal("Propose never waits")
		}
	}
	if _, err := gaveUp.Wait(e.ctx()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the one that gave up: %v", err)
	}
	waiting, cancel := e.within(time.Millisecond)
	defer cancel()
	if _, err := taken[0].Wait(waiting); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a Wait that gives up: %v", err)
	}
	release()
	for i, p := range taken {
		if _, err := p.Wait(e.ctx()); err != nil {
			t.Fatalf("proposal %d: %v", i, err)
		}
	}
	e.propose(leader, "after", 1)
	e.wantAll(leader, entrySet{"p", len(taken)}, entrySet{"after", 1})
}

// testBarrier: what was proposed before a barrier is applied after it.
func testBarrier(t *testing.T, e *env) {
	leader := e.leader()
	for i := range 20 {
		p := e.journals[leader].Propose(e.ctx(), fmt.Append(nil, i))
		if err := e.journals[leader].Barrier(e.ctx()); err != nil {
			t.Fatal(err)
		}
		if got := len(e.sms[leader].Entries()); got != i+1 {
			t.Fatalf("after a barrier: %d entries, want %d", got, i+1)
		}
		if err := e.journals[leader].VerifyLeader(e.ctx()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(e.ctx()); err != nil {
			t.Fatal(err)
		}
	}
}

// testCommitIndex: a read that waits until the state machine has applied CommitIndex never waits for an entry that the
// state machine does not get to see.
func testCommitIndex(t *testing.T, e *env) {
	leader := e.leader()
	reached := func(least uint64) {
		t.Helper()
		index := e.journals[leader].CommitIndex()
		if index < least {
			t.Fatalf("commit index %d, %d is acknowledged", index, least)
		}
		e.until("the commit index is applied", func() bool { return e.sms[leader].AppliedIndex() >= index })
	}
	reached(0)
	for range 5 {
		index, err := e.journals[leader].Propose(e.ctx(), []byte("x")).Wait(e.ctx())
		if err != nil {
			t.Fatal(err)
		}
		reached(index)
		if err := e.journals[leader].Barrier(e.ctx()); err != nil { // may add an entry of the journal's own
			t.Fatal(err)
		}
		reached(index)
	}
	if e.d.Durable {
		e.kill(leader)
		e.open(leader)
		leader = e.leader()
		reached(0)
	}
	if st := e.journals[leader].Status(); st.AppliedIndex != e.sms[leader].AppliedIndex() || st.LeaderID == "" || st.Term == 0 {
		t.Errorf("status %+v", st)
	}
}

// testLeadership: a gain is told once, and Leader and Members agree with it.
func testLeadership(t *testing.T, e *env) {
	leader := e.leader()
	j := e.journals[leader]
	term, err := j.Leadership(e.ctx())
	if err != nil || term == 0 {
		t.Fatalf("leadership: term %d, %v", term, err)
	}
	if j.Leader() != e.cluster.Member(leader).ID {
		t.Fatalf("leader is %q", j.Leader())
	}
	ctx, cancel := e.within(5 * time.Millisecond)
	defer cancel()
	if term, err := j.Leadership(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("told twice: term %d, %v", term, err)
	}
	members, err := j.Members(e.ctx())
	if err != nil || len(members) != e.d.Members {
		t.Fatalf("members: %v, %v", members, err)
	}
}

// testClosed: every call answers after Close, with Unavailable, and a second Close is none.
func testClosed(t *testing.T, e *env) {
	leader := e.leader()
	j := e.journals[leader]
	e.propose(leader, "a", 1)
	e.close(leader)
	if _, err := j.Propose(e.ctx(), []byte("late")).Wait(e.ctx()); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("propose: %v", err)
	}
	if err := j.Barrier(e.ctx()); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("barrier: %v", err)
	}
	if err := j.VerifyLeader(e.ctx()); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("verify leader: %v", err)
	}
	for {
		term, err := j.Leadership(e.ctx())
		if dfs.IsKind(err, dfs.Unavailable) {
			break
		}
		if err != nil {
			t.Fatalf("leadership: term %d, %v", term, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}
