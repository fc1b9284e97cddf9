package simjournal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/journaltest"
)

// Each rule of Raft has a test of its own here, on one member that is asked directly. Sections are the extended paper's.

// terms makes a log whose entries have these terms, from index 1 on.
func terms(all ...uint64) []entry {
	var log []entry
	for i, term := range all {
		log = append(log, entry{index: uint64(i + 1), term: term, data: fmt.Appendf(nil, "%d of %d", i+1, term)})
	}
	return log
}

// single is a fleet of three of which only the first is asked: the others are cut off.
func single(t *testing.T, log []entry, term uint64) (*fleet, *Member) {
	t.Helper()
	f := newFleet(t, 1, 3)
	f.run(time.Millisecond)
	for i := 1; i < 3; i++ {
		f.crash(i)
	}
	m := f.live[0]
	m.s.log, m.s.term, m.s.synced = slices.Clone(log), term, uint64(len(log))
	m.heard = m.now()
	return f, m
}

// as runs something as a task of the member's node, to its end.
func (f *fleet) as(i int, do func()) {
	f.t.Helper()
	ended := false
	f.nodes[i].Go("test", func() { do(); ended = true })
	for at := f.w.Sched.Elapsed(); !ended; at += 10 * time.Millisecond {
		if at > time.Hour {
			f.t.Fatal("the task does not end")
		}
		f.run(at)
	}
}

func logTerms(m *Member) []uint64 {
	var all []uint64
	for _, e := range m.s.log {
		all = append(all, e.term)
	}
	return all
}

// TestVotes (5.2, 5.4.1): who gets a vote, by term, by what was voted before, and by whose log is further.
func TestVotes(t *testing.T) {
	for _, c := range []struct {
		name              string
		log               []entry
		term              uint64
		voted             string
		asked             uint64
		last, lastTerm    uint64
		granted           bool
		termAfter         uint64
		votedAfter        string
		leadingInTermThen bool
	}{
		{"the same log", terms(1, 1), 1, "", 2, 2, 1, true, 2, "m2", false},
		{"an older term", terms(1, 1), 3, "", 2, 9, 9, false, 3, "", false},
		{"a longer log", terms(1, 1), 1, "", 2, 3, 1, true, 2, "m2", false},
		{"a shorter log", terms(1, 1), 1, "", 2, 1, 1, false, 2, "", false},
		{"a shorter log of a later term", terms(1, 1, 1), 2, "", 3, 1, 2, true, 3, "m2", false},
		{"a longer log of an earlier term", terms(1, 2), 2, "", 3, 9, 1, false, 3, "", false},
		{"voted for it already", terms(1), 2, "m2", 2, 1, 1, true, 2, "m2", false},
		{"voted for another", terms(1), 2, "m3", 2, 9, 9, false, 2, "m3", false},
		{"voted for another in an earlier term", terms(1), 2, "m3", 3, 1, 1, true, 3, "m2", false},
		{"a leader of an earlier term", terms(1), 2, "m1", 3, 1, 1, true, 3, "m2", true},
		{"an empty log", nil, 0, "", 1, 0, 0, true, 1, "m2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := single(t, c.log, c.term)
			m.s.vote = c.voted
			f.as(0, func() {
				if c.leadingInTermThen {
					m.role, m.term = leader, c.term
				}
				granted, term := m.vote(false, c.asked, "m2", c.last, c.lastTerm)
				if granted != c.granted || term != c.termAfter || m.s.term != c.termAfter || m.s.vote != c.votedAfter || m.role == leader {
					t.Errorf("granted %v, term %d, store %d %q, role %d", granted, term, m.s.term, m.s.vote, m.role)
				}
			})
		})
	}
}

// TestVoteIsSynced: a vote is safe before it is given: the answer comes after a sync, and a second candidate of the term
// that asks meanwhile gets none.
func TestVoteIsSynced(t *testing.T) {
	f, m := single(t, terms(1), 1)
	m.q.timing.Sync = 50 * time.Millisecond
	f.as(0, func() {
		var second bool
		f.nodes[0].Go("second", func() {
			_ = f.nodes[0].Sleep(background, time.Millisecond)
			second, _ = m.vote(false, 2, "m3", 1, 1)
		})
		began := m.now()
		if granted, _ := m.vote(false, 2, "m2", 1, 1); !granted || m.now()-began != 50*time.Millisecond || second {
			t.Errorf("granted %v after %v, a second one %v", granted, m.now()-began, second)
		}
	})
}

// TestPreVotes: a pre-vote changes nothing, and is refused by who leads, who hears of a leader, and whose log is further.
func TestPreVotes(t *testing.T) {
	for _, c := range []struct {
		name    string
		heard   time.Duration // ago
		role    role
		last    uint64
		asked   uint64
		granted bool
	}{
		{"quiet", 300 * time.Millisecond, follower, 2, 3, true},
		{"nearly a heartbeat ago", DefaultTiming.Heartbeat * 9 / 10, follower, 2, 3, true},
		{"a leader was just heard of", 10 * time.Millisecond, follower, 2, 3, false},
		{"it leads", time.Hour, leader, 2, 3, false},
		{"a shorter log", time.Hour, follower, 1, 3, false},
		{"an older term", time.Hour, follower, 2, 1, false},
	} {
		f, m := single(t, terms(1, 1), 2)
		m.s.vote = "m1"
		f.as(0, func() {
			m.role, m.heard = c.role, m.now()-c.heard
			heard := m.heard
			granted, _ := m.vote(true, c.asked, "m2", c.last, 1)
			if granted != c.granted || m.s.term != 2 || m.s.vote != "m1" || m.heard != heard || m.role != c.role {
				t.Errorf("%s: granted %v, term %d, vote %q", c.name, granted, m.s.term, m.s.vote)
			}
			m.role = follower
		})
	}
}

// TestLogMatching (5.3): what a follower does with entries, by what it has. A refusal says where to try next; entries that
// contradict are cut with all behind them, and what is there already is not cut by a message that comes late.
func TestLogMatching(t *testing.T) {
	all := terms(1, 1, 2, 2, 2)
	for _, c := range []struct {
		name           string
		log            []entry
		term           uint64
		prev, prevTerm uint64
		entries        []entry
		ok             bool
		match          uint64
		want           []uint64 // terms afterwards
	}{
		{"to an empty log", nil, 2, 0, 0, all, true, 5, []uint64{1, 1, 2, 2, 2}},
		{"that continue it", all[:3], 2, 3, 2, all[3:], true, 5, []uint64{1, 1, 2, 2, 2}},
		{"behind a gap", all[:2], 2, 4, 2, all[4:], false, 2, []uint64{1, 1}},
		{"after another term", terms(1, 1, 1), 2, 3, 2, all[3:], false, 2, []uint64{1, 1, 1}},
		{"that contradict", terms(1, 1, 1, 1), 2, 2, 1, all[2:3], true, 3, []uint64{1, 1, 2}},
		{"that are there already", all, 2, 1, 1, all[1:3], true, 3, []uint64{1, 1, 2, 2, 2}},
		{"none, a sign of life", all, 2, 5, 2, nil, true, 5, []uint64{1, 1, 2, 2, 2}},
		{"none, after less than all", all, 2, 3, 2, nil, true, 3, []uint64{1, 1, 2, 2, 2}},
		{"of an old leader", all[:2], 3, 2, 1, all[2:], false, 0, []uint64{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := single(t, c.log, c.term)
			f.as(0, func() {
				ok, match, term := m.accept(2, "m2", c.prev, c.prevTerm, c.entries, 0)
				if ok != c.ok || match != c.match || term != max(c.term, 2) || !slices.Equal(logTerms(m), c.want) {
					t.Errorf("%v, match %d, term %d, log %v", ok, match, term, logTerms(m))
				}
				if ok && m.s.synced < match {
					t.Errorf("it answered for %d, and %d are safe", match, m.s.synced)
				}
				if follows := m.leaderID == "m2"; follows != (c.term <= 2) {
					t.Errorf("it follows %q", m.leaderID)
				}
			})
		})
	}
}

// TestFollowersCommit (5.3): a follower commits what the leader has, but no more than what it knows to agree: entries of its
// own behind that may be of another leader.
func TestFollowersCommit(t *testing.T) {
	f, m := single(t, terms(1, 1, 1, 1), 1)
	f.as(0, func() {
		if ok, _, _ := m.accept(2, "m2", 2, 1, nil, 4); !ok || m.commit != 2 {
			t.Errorf("%v, commits %d, want 2", ok, m.commit)
		}
		if ok, _, _ := m.accept(2, "m2", 1, 1, nil, 1); !ok || m.commit != 2 {
			t.Errorf("%v, the commit index went back to %d", ok, m.commit)
		}
		defer func() {
			if recover() == nil {
				t.Error("a committed entry was overwritten")
			}
		}()
		m.take(entry{index: 2, term: 2})
	})
}

// TestCommitOfTheOwnTerm (5.4.2): a majority commits only entries of the leader's term, the older ones with them.
func TestCommitOfTheOwnTerm(t *testing.T) {
	for _, c := range []struct {
		name   string
		log    []entry
		synced uint64
		match  [2]uint64
		role   role
		want   uint64
	}{
		{"older entries alone", terms(1, 2, 3), 3, [2]uint64{2, 2}, leader, 0},
		{"with one of its own", terms(1, 2, 3), 3, [2]uint64{3, 0}, leader, 3},
		{"of two, the other is behind", terms(1, 2, 3, 3), 4, [2]uint64{3, 1}, leader, 3},
		{"by the others, before its own sync", terms(1, 2, 3), 2, [2]uint64{3, 3}, leader, 3},
		{"by itself and nobody", terms(1, 2, 3), 3, [2]uint64{0, 0}, leader, 0},
		{"by one other, before its own sync", terms(1, 2, 3), 2, [2]uint64{3, 0}, leader, 0},
		{"who does not lead", terms(1, 2, 3), 3, [2]uint64{3, 3}, follower, 0},
	} {
		f, m := single(t, c.log, 3)
		f.as(0, func() {
			m.role = c.role
			m.peers = map[string]*progress{"m2": {match: c.match[0]}, "m3": {match: c.match[1]}}
			m.s.synced = c.synced
			m.advance()
			if m.commit != c.want {
				t.Errorf("%s: commits %d, want %d", c.name, m.commit, c.want)
			}
			m.role = follower
		})
	}
}

// TestAnswers: a leader moves to what a follower says, by less than it had tried, and follows who has a later term; answers
// to an earlier leadership of its own change nothing.
func TestAnswers(t *testing.T) {
	f, m := single(t, terms(1, 1, 1, 1, 1), 2)
	f.as(0, func() {
		lead := func() *progress {
			m.role, m.s.term, m.commit = leader, 2, 0
			p := &progress{next: 4, waiting: true}
			m.peers = map[string]*progress{"m2": p}
			return p
		}
		for _, c := range []struct {
			name        string
			term        uint64
			ok          bool
			match       uint64
			next, known uint64
			waiting     bool
		}{
			{"agrees", 2, true, 3, 4, 3, false},
			{"is behind", 2, false, 1, 2, 0, false},
			{"is far ahead with others' entries", 2, false, 9, 3, 0, false}, // at least one back, else it never ends
			{"has nothing", 2, false, 0, 1, 0, false},
			{"an answer to an earlier leadership", 1, true, 5, 4, 0, true},
		} {
			p := lead()
			m.answered(p, c.term, c.ok, c.match, 2, 0)
			if p.next != c.next || p.match != c.known || p.waiting != c.waiting || m.role != leader {
				t.Errorf("%s: %+v", c.name, *p)
			}
		}
		p := lead()
		p.match = 5
		if m.answered(p, 2, true, 3, 2, 0); p.match != 5 {
			t.Errorf("a late answer took the match back to %d", p.match)
		}
		m.answered(p, 2, true, 5, 7, 0)
		if m.role != follower || m.s.term != 7 || m.s.vote != "" {
			t.Errorf("of a later term: role %d, term %d", m.role, m.s.term)
		}
	})
}

// TestStore: the log's indexes, before and after trims, cuts and a crash.
func TestStore(t *testing.T) {
	s := &store{}
	if s.last() != 0 || s.first() != 0 || s.at(0) != nil || s.at(1) != nil {
		t.Errorf("%+v", s)
	}
	s.log, s.synced = terms(1, 1, 2, 2, 3), 4
	s.trim(2)
	if s.first() != 3 || s.last() != 5 || s.at(2) != nil || s.at(3).term != 2 || s.at(6) != nil {
		t.Errorf("after a trim: %+v", s)
	}
	for index, want := range map[uint64]uint64{2: 1, 3: 2, 5: 3} {
		if term, ok := s.termAt(index); !ok || term != want {
			t.Errorf("term at %d: %d, %v", index, term, ok)
		}
	}
	if _, ok := s.termAt(1); ok {
		t.Error("the term of an entry that was trimmed is known")
	}
	s.trim(1) // behind already
	s.crash()
	if s.last() != 4 || s.synced != 4 || s.first() != 3 {
		t.Errorf("after a crash: %+v", s)
	}
	s.cut(4)
	if s.last() != 3 || s.synced != 3 {
		t.Errorf("after a cut: %+v", s)
	}
	s.cut(9) // behind the end
	s.trim(100)
	if s.last() != 3 || s.first() != 0 || s.before != 2 {
		t.Errorf("after a trim of all: %+v", s)
	}
	founded := []journal.Member{{ID: "a"}}
	if got := s.members(founded); got[0].ID != "a" {
		t.Errorf("%v", got)
	}
	s.snap = &snapshot{index: 3, members: []journal.Member{{ID: "b"}}}
	if got := s.members(founded); got[0].ID != "b" {
		t.Errorf("%v", got)
	}
	s.log = []entry{{index: 4, term: 3, members: []journal.Member{{ID: "c"}}}, {index: 5, term: 3, members: []journal.Member{{ID: "d"}}}, {index: 6, term: 3}}
	if got := s.members(founded); got[0].ID != "d" {
		t.Errorf("not the last change: %v", got)
	}
}

// TestLease: a leader that hears of no majority steps down within its lease and a check, and what was proposed ends with an
// open outcome; with one other member it stays.
func TestLease(t *testing.T) {
	for _, cut := range []int{1, 2} {
		f := newFleet(t, 3, 3)
		f.run(2 * time.Second)
		l := f.leader()
		var outcome error
		for n := range cut {
			other := f.ids[(l+1+n)%3]
			f.w.Net.Partition([]string{f.ids[l]}, []string{other})
		}
		f.propose(l, "x", func(err error) { outcome = err })
		m := f.live[l]
		f.run(2*time.Second + DefaultTiming.Lease*3/2)
		if leads := m.role == leader; leads != (cut == 1) {
			t.Errorf("%d of 2 others cut off: leads %v", cut, leads)
		}
		if (outcome == nil) != (cut == 1) || cut == 2 && !dfs.IsKind(outcome, dfs.NotLeader) {
			t.Errorf("%d cut off: the proposal ended with %v", cut, outcome)
		}
	}
}

// TestReturnDeposesNobody: a member that was cut off for long comes back without a higher term, so the leader stays.
func TestReturnDeposesNobody(t *testing.T) {
	for seed := range uint64(10) {
		f := newFleet(t, seed, 3)
		f.run(2 * time.Second)
		l := f.leader()
		term, outcast := f.live[l].s.term, (l+1)%3
		for _, id := range f.ids {
			if id != f.ids[outcast] {
				f.w.Net.Partition([]string{f.ids[outcast]}, []string{id})
			}
		}
		f.run(30 * time.Second)
		if got := f.live[outcast].s.term; got != term {
			t.Errorf("seed %d: alone it went from term %d to %d", seed, term, got)
		}
		f.w.Net.HealAll()
		f.run(35 * time.Second)
		if f.leader() != l || f.live[l].s.term != term {
			t.Errorf("seed %d: member %d of term %d leads, before %d of term %d", seed, f.leader(), f.live[l].s.term, l, term)
		}
	}
}

// TestWipedMember: one that lost its disk gets everything back, from the log and from a snapshot.
func TestWipedMember(t *testing.T) {
	for _, snapshots := range []bool{false, true} {
		f := newFleet(t, 5, 3)
		f.run(2 * time.Second)
		l := f.leader()
		for i := range 20 {
			f.propose(l, fmt.Sprint("p", i), func(error) {})
		}
		f.run(3 * time.Second)
		if snapshots {
			f.as(l, func() {
				index, err := f.live[l].Snapshot(background)
				if err != nil || index == 0 || f.live[l].s.first() != 0 {
					t.Errorf("%d, %v, the log begins at %d", index, err, f.live[l].s.first())
				}
				if again, err := f.live[l].Snapshot(background); err != nil || again != index {
					t.Errorf("a second snapshot: %d, %v", again, err)
				}
			})
		}
		v := (l + 1) % 3
		f.crash(v)
		f.q.Wipe(f.ids[v])
		f.sms[v] = newRecorder(f, v)
		f.restart(v)
		f.run(f.w.Sched.Elapsed() + 3*time.Second)
		if got, want := datas(f.sms[v]), datas(f.sms[l]); len(want) != 20 || !slices.Equal(got, want) || (f.sms[v].Restores() > 0) != snapshots {
			t.Errorf("snapshots %v: it has %d entries of %d, restored %d times", snapshots, len(got), len(want), f.sms[v].Restores())
		}
	}
}

// TestSnapshotAtEveryPoint: a snapshot by any member after any number of entries, with crashes right after, loses nothing.
func TestSnapshotAtEveryPoint(t *testing.T) {
	for seed := range uint64(40) {
		f := newFleet(t, seed, 3)
		f.run(2 * time.Second)
		rng := rand.New(rand.NewPCG(seed, 4))
		acked := 0
		for round := range 4 {
			l := f.leader()
			for i := range rng.IntN(8) {
				f.propose(l, fmt.Sprintf("%d.%d", round, i), func(err error) {
					if err == nil {
						acked++
					}
				})
			}
			v := rng.IntN(3)
			m := f.live[v]
			f.w.Sched.After(time.Duration(rng.IntN(2000))*time.Microsecond, func() {
				f.nodes[v].Go("snapshot", func() { _, _ = m.Snapshot(background) })
			})
			f.w.Sched.After(time.Duration(rng.IntN(4000))*time.Microsecond, func() { f.crash(v) })
			f.w.Sched.After(time.Second, func() { f.restart(v) })
			f.run(f.w.Sched.Elapsed() + 4*time.Second)
		}
		want := datas(f.sms[f.leader()])
		for i, sm := range f.sms {
			if got := datas(sm); !slices.Equal(got, want) || len(got) < acked || len(sm.Violations()) > 0 {
				t.Errorf("seed %d: member %d has %d entries, the leader %d, %d were acknowledged; %v", seed, i, len(got), len(want), acked, sm.Violations())
			}
		}
	}
}

// TestMembershipRules: one change at a time, by the leader only, of members that are there; a leader that leads itself out
// steps down, and the rest elect another.
func TestMembershipRules(t *testing.T) {
	f := newFleet(t, 2, 3)
	f.run(2 * time.Second)
	l := f.leader()
	m, other := f.live[l], f.live[(l+1)%3]
	f.as((l+1)%3, func() {
		if err := other.Add(background, journal.Member{ID: "x"}); !dfs.IsKind(err, dfs.NotLeader) {
			t.Errorf("a follower adds: %v", err)
		}
		if err := other.Remove(background, "m1"); !dfs.IsKind(err, dfs.NotLeader) {
			t.Errorf("a follower removes: %v", err)
		}
		if err := other.Transfer(background, ""); !dfs.IsKind(err, dfs.NotLeader) {
			t.Errorf("a follower transfers: %v", err)
		}
	})
	f.as(l, func() {
		if err := m.Remove(background, "nobody"); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("removing nobody: %v", err)
		}
		if err := m.Transfer(background, "nobody"); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("transferring to nobody: %v", err)
		}
		if err := m.Transfer(background, m.id); err != nil || m.role != leader {
			t.Errorf("transferring to itself: %v", err)
		}
		var first error
		done := false
		f.nodes[l].Go("first", func() { first = m.Remove(background, m.id); done = true })
		_ = f.nodes[l].Sleep(background, time.Microsecond)
		if err := m.Remove(background, other.id); !dfs.IsKind(err, dfs.Conflict) {
			t.Errorf("a second change while one is under way: %v", err)
		}
		_ = f.nodes[l].Sleep(background, time.Second)
		if !done || first != nil || m.role == leader {
			t.Errorf("leading itself out: %v, done %v, leads %v", first, done, m.role == leader)
		}
	})
	f.run(f.w.Sched.Elapsed() + 3*time.Second)
	now := f.leader()
	if now < 0 || now == l {
		t.Fatalf("member %d leads after %d led itself out", now, l)
	}
	all, err := f.live[now].Members(background)
	if err != nil || len(all) != 2 || slices.ContainsFunc(all, func(x journal.Member) bool { return x.ID == f.ids[l] || x.Leader != (x.ID == f.ids[now]) }) {
		t.Errorf("%v, %v", all, err)
	}
}

// TestBounds: a proposal that is too large is refused at once, no more than so many are under way, and one that waits for
// its turn heeds its context.
func TestBounds(t *testing.T) {
	f := newFleet(t, 2, 3)
	f.run(2 * time.Second)
	l := f.leader()
	m := f.live[l]
	f.as(l, func() {
		if _, err := m.Propose(background, make([]byte, maxEntryBytes+1)).Wait(background); !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%v", err)
		}
		if index, err := m.Propose(background, nil).Wait(background); err != nil || index == 0 {
			t.Errorf("an empty proposal: %d, %v", index, err)
		}
		for _, id := range m.others() {
			f.w.Net.Cut(m.id, id)
		}
		var under []journal.Pending
		for range maxInFlight {
			under = append(under, m.Propose(background, []byte("x")))
		}
		ctx, cancel := f.nodes[l].WithTimeout(background, 10*time.Millisecond)
		defer cancel()
		before := m.s.last()
		if _, err := m.Propose(ctx, []byte("y")).Wait(background); err == nil || m.s.last() != before {
			t.Errorf("one too many: %v", err)
		}
		for _, p := range under {
			if _, err := p.Wait(background); !dfs.IsKind(err, dfs.NotLeader) {
				t.Errorf("a proposal of a leader that was cut off: %v", err)
			}
		}
		if len(m.pending) != 0 {
			t.Errorf("%d proposals are kept", len(m.pending))
		}
	})
}

// TestOpenRefusesLoss: a state that is ahead of its log, or behind its beginning, is an error, not a start.
func TestOpenRefusesLoss(t *testing.T) {
	f := newFleet(t, 4, 3)
	f.run(2 * time.Second)
	for i := range 5 {
		f.propose(f.leader(), fmt.Sprint(i), func(error) {})
	}
	f.run(3 * time.Second)
	v := f.leader()
	f.sms[v].Flush()
	f.crash(v)
	f.nodes[v].Restart()
	kept := *f.q.stores[f.ids[v]]
	open := func() (err error) {
		f.as(v, func() { _, err = f.q.Open(f.nodes[v], f.ids[v], f.sms[v]) })
		return err
	}
	f.q.Wipe(f.ids[v])
	if err := open(); !dfs.IsKind(err, dfs.Corrupted) || !strings.Contains(err.Error(), "acknowledged") {
		t.Errorf("a state without its log: %v", err)
	}
	f.q.stores[f.ids[v]] = &kept
	if err := open(); err != nil {
		t.Errorf("with its log: %v", err)
	}
}

func newRecorder(f *fleet, i int) *journaltest.Recorder { return journaltest.NewRecorder(f.nodes[i]) }

// TestAppliesWhatIsSafe (INV-4): a leader whose followers commit an entry before its own disk has it applies it only then: a
// state that is ahead of its log could not be opened after a crash.
func TestAppliesWhatIsSafe(t *testing.T) {
	f, m := single(t, terms(1, 2, 3), 3)
	m.q.timing.Sync = 50 * time.Millisecond
	f.as(0, func() {
		m.role, m.term = leader, 3
		m.peers = map[string]*progress{"m2": {match: 3, heard: m.now()}, "m3": {match: 3, heard: m.now()}}
		m.s.synced = 2
		m.advance()
		m.change()
		_ = f.nodes[0].Sleep(background, 10*time.Millisecond)
		if m.commit != 3 || f.sms[0].AppliedIndex() != 2 {
			t.Errorf("committed %d, applied %d, want 3 and 2", m.commit, f.sms[0].AppliedIndex())
		}
		_ = f.nodes[0].Sleep(background, 60*time.Millisecond)
		if f.sms[0].AppliedIndex() != 3 {
			t.Errorf("applied %d after the sync, want 3", f.sms[0].AppliedIndex())
		}
		m.role = follower
	})
}
