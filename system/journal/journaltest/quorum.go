package journaltest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
)

// testAgree: members have the same entries at the same indexes.
func testAgree(t *testing.T, e *env) {
	e.propose(e.leader(), "a", 100)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 100})
	}
	for i := 1; i < e.d.Members; i++ {
		if !slices.EqualFunc(e.sms[0].Entries(), e.sms[i].Entries(), func(a, b journal.Entry) bool { return a.Index == b.Index }) {
			t.Fatalf("members 0 and %d have the entries at different indexes", i)
		}
	}
}

// testNotLeader: a follower refuses what only a leader may do, with the kind that sends the caller on, and does none of it.
func testNotLeader(t *testing.T, e *env) {
	leader := e.leader()
	j := e.journals[e.follower(leader)]
	calls := map[string]func() error{
		"propose":  func() error { _, err := j.Propose(e.ctx(), []byte("x")).Wait(e.ctx()); return err },
		"barrier":  func() error { return j.Barrier(e.ctx()) },
		"verify":   func() error { return j.VerifyLeader(e.ctx()) },
		"add":      func() error { return j.Add(e.ctx(), e.cluster.Member(e.d.Members)) },
		"remove":   func() error { return j.Remove(e.ctx(), e.cluster.Member(0).ID) },
		"transfer": func() error { return j.Transfer(e.ctx(), "") },
	}
	for name, call := range calls {
		if err := call(); !dfs.IsKind(err, dfs.NotLeader) {
			t.Errorf("%s at a follower: %v", name, err)
		}
	}
	e.until("the follower knows the leader", func() bool { return j.Leader() == e.cluster.Member(leader).ID })
	members, err := j.Members(e.ctx())
	if err != nil || len(members) != e.d.Members {
		t.Errorf("members at a follower: %v, %v", members, err)
	}
	if len(e.sms[leader].Entries()) != 0 {
		t.Error("something took effect")
	}
}

// testLeaderDies: whatever was acknowledged before the leader died is at the next one, in order, and nothing twice.
func testLeaderDies(t *testing.T, e *env) {
	var acknowledged []string
	for round := range 3 {
		leader := e.leader()
		var all []journal.Pending
		for i := range 60 {
			if i == 40 {
				// The rest goes to a dead leader, or to one that dies with them in its pipeline.
				e.host.Go("kill", func() { e.cluster.Kill(leader) })
			}
			ctx, cancel := e.within(time.Second)
			all = append(all, e.journals[leader].Propose(ctx, fmt.Appendf(nil, "r%d-%02d", round, i)))
			cancel()
		}
		for i, p := range all {
			if _, err := p.Wait(e.ctx()); err == nil {
				acknowledged = append(acknowledged, fmt.Sprintf("r%d-%02d", round, i))
			} else if i < 37 {
				t.Fatalf("round %d, proposal %d: %v", round, i, err)
			}
		}
		e.kill(leader)
		next := e.leader()
		wantInOrder(t, datas(e.sms[next].Entries()), acknowledged)
		e.open(leader)
	}
}

// wantInOrder: got holds want in this order, and nothing twice.
func wantInOrder(t *testing.T, got, want []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, x := range got {
		if seen[x] {
			t.Fatalf("%s took effect twice", x)
		}
		seen[x] = true
		if len(want) > 0 && x == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d acknowledged entries are missing or out of order, from %s", len(want), want[0])
	}
	if !slices.IsSorted(got) {
		t.Fatalf("out of order: %q", got)
	}
}

// testCatchUp: a follower that is behind the log's beginning, and one that lost its disk, are brought up by a snapshot, once,
// and what they received survives like what they had applied.
func testCatchUp(t *testing.T, e *env) {
	leader := e.leader()
	behind, empty := e.follower(leader), -1
	empty = e.follower(leader, behind)
	e.propose(leader, "a", 10)
	e.wantAll(behind, entrySet{"a", 10})
	e.sms[behind].Flush()
	e.kill(behind)
	e.propose(leader, "b", 100)
	for range 2 { // the second one is behind by a snapshot and some log
		if _, err := e.journals[leader].Snapshot(e.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	e.propose(leader, "c", 30)
	e.open(behind)
	e.wantAll(behind, entrySet{"a", 10}, entrySet{"b", 100}, entrySet{"c", 30})
	if n := e.sms[behind].Restores(); n != 1 {
		t.Errorf("the follower that was behind restored %d times, want once", n)
	}

	e.kill(empty)
	e.cluster.Wipe(empty)
	e.sms[empty] = e.recorder(empty)
	e.open(empty)
	e.wantAll(empty, entrySet{"a", 10}, entrySet{"b", 100}, entrySet{"c", 30})

	// What was received is as good as what was applied: it survives, and serves as a base for more.
	for i := range e.d.Members {
		e.kill(i)
	}
	for i := range e.d.Members {
		e.open(i)
	}
	e.propose(e.leader(), "d", 5)
	for i := range e.d.Members {
		e.wantAll(i, entrySet{"a", 10}, entrySet{"b", 100}, entrySet{"c", 30}, entrySet{"d", 5})
	}
}

// testMembership: a member joins, one leaves, and the leader leaves; entries go on in between, and the list is right.
func testMembership(t *testing.T, e *env) {
	leader := e.leader()
	e.propose(leader, "a", 10)
	spare := e.d.Members
	e.open(spare)
	if err := e.journals[leader].Add(e.ctx(), e.cluster.Member(spare)); err != nil {
		t.Fatal(err)
	}
	e.wantAll(spare, entrySet{"a", 10})
	e.wantMembers(leader, e.d.Members+1)
	gone := e.follower(leader)
	if err := e.journals[leader].Remove(e.ctx(), e.cluster.Member(gone).ID); err != nil {
		t.Fatal(err)
	}
	e.wantMembers(leader, e.d.Members)
	e.propose(leader, "b", 10)
	e.wantAll(spare, entrySet{"a", 10}, entrySet{"b", 10})
	e.close(gone)
	// The leader itself leaves: somebody else goes on.
	if err := e.journals[leader].Remove(e.ctx(), e.cluster.Member(leader).ID); err != nil {
		t.Fatal(err)
	}
	e.close(leader)
	next := e.leader()
	e.wantMembers(next, e.d.Members-1)
	e.propose(next, "c", 10)
}

func (e *env) wantMembers(at, count int) {
	e.t.Helper()
	members, err := e.journals[at].Members(e.ctx())
	if err != nil || len(members) != count {
		e.t.Fatalf("members: %+v, %v; want %d", members, err, count)
	}
	for _, m := range members {
		if !m.Voter || m.Address == "" || m.Leader != (m.ID == e.cluster.Member(at).ID) {
			e.t.Fatalf("member %+v", m)
		}
	}
}

// testTransfer: leadership goes where it is sent while proposals are under way; none that was acknowledged is lost, and
// both sides hear of it.
func testTransfer(t *testing.T, e *env) {
	leader := e.leader()
	target := e.follower(leader)
	if term, err := e.journals[leader].Leadership(e.ctx()); err != nil || term == 0 {
		t.Fatalf("leadership before: %d, %v", term, err)
	}
	var acknowledged []string
	done := e.start(func() {
		for i := 0; ; i++ {
			data := fmt.Sprintf("p%05d", i)
			if _, err := e.journals[leader].Propose(e.ctx(), []byte(data)).Wait(e.ctx()); err != nil {
				return
			}
			acknowledged = append(acknowledged, data)
		}
	})
	if err := e.journals[leader].Transfer(e.ctx(), e.cluster.Member(target).ID); err != nil {
		t.Fatal(err)
	}
	if err := done.Wait(e.ctx()); err != nil {
		t.Fatal(err)
	}
	if term, err := e.journals[leader].Leadership(e.ctx()); err != nil || term != 0 {
		t.Fatalf("leadership after: %d, %v", term, err)
	}
	if term, err := e.journals[target].Leadership(e.ctx()); err != nil || term == 0 {
		t.Fatalf("leadership of the target: %d, %v", term, err)
	}
	if err := e.journals[target].Barrier(e.ctx()); err != nil {
		t.Fatal(err)
	}
	wantInOrder(t, datas(e.sms[target].Entries()), acknowledged)
	if err := e.journals[target].Transfer(e.ctx(), "nobody"); !dfs.IsKind(err, dfs.InvalidArgument) {
		t.Errorf("transfer to nobody: %v", err)
	}
	e.propose(target, "q", 1)
}

// testCloseHandsOver: after the leader's Close the others go on with what it had acknowledged.
func testCloseHandsOver(t *testing.T, e *env) {
	leader := e.leader()
	e.propose(leader, "a", 10)
	e.close(leader)
	next := e.leader()
	e.wantAll(next, entrySet{"a", 10})
	e.propose(next, "b", 1)
}

// testLostQuorum: a leader that cannot reach the others stops acknowledging, says so, and can go on when they are back.
func testLostQuorum(t *testing.T, e *env) {
	leader := e.leader()
	j := e.journals[leader]
	e.propose(leader, "a", 5)
	if term, err := j.Leadership(e.ctx()); err != nil || term == 0 {
		t.Fatalf("leadership: %d, %v", term, err)
	}
	var dead []int
	for i := range e.d.Members {
		if i != leader {
			dead = append(dead, i)
			e.kill(i)
		}
	}
	if _, err := j.Propose(e.ctx(), []byte("lost?")).Wait(e.ctx()); !dfs.IsKind(err, dfs.NotLeader) {
		t.Fatalf("acknowledged without a quorum: %v", err)
	}
	if term, err := j.Leadership(e.ctx()); err != nil || term != 0 {
		t.Fatalf("leadership after the loss: %d, %v", term, err)
	}
	if err := j.VerifyLeader(e.ctx()); !dfs.IsKind(err, dfs.NotLeader) {
		t.Fatalf("verified without a quorum: %v", err)
	}
	for _, i := range dead {
		e.open(i)
	}
	next := e.leader()
	if got := datas(e.sms[next].Entries()); len(got) < 5 || got[4] != "a4" {
		t.Fatalf("after the quorum is back: %q", got)
	}
	e.propose(next, "b", 1)
}
