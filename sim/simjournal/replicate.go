package simjournal

import (
	"context"
	"slices"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// append puts an entry of the leader's at the end of its log, and returns its index.
// It is not safe when this returns: the sync task makes it so, and replication does not wait for that
// (dissertation, section 10.2.1): the leader's own copy counts only once synced, in advance.
func (m *Member) append(e entry) uint64 {
	e.index, e.term = m.s.last()+1, m.s.term
	m.s.log = append(m.s.log, e)
	m.change()
	return e.index
}

// syncLog makes the log safe, all that has come since the last time at once.
// One sync is under way at a time, and takes along what has come before it began. What was appended during it
// waits for the next.
func (m *Member) syncLog() {
	for m.until(m.ctx, "", func() bool { return m.s.synced < m.s.last() }) == nil {
		target, cuts := m.s.last(), m.cuts
		if work := m.q.timing.Entry; work > 0 {
			_ = m.node.Compute(m.ctx, work*time.Duration(target-m.s.synced))
		}
		m.sync()
		if m.over() {
			return
		}
		if cuts == m.cuts { // else what was synced is not what is there now
			m.s.synced = max(m.s.synced, target)
			m.advance()
			m.change()
		}
	}
}

// advance commits what a majority has, if it is of this term: older entries are committed with it (Raft section 5.4.2).
// An entry of an earlier term that a majority has can still be overwritten by a leader that lacks it (figure 8 of
// the paper), which is why it is not counted. The leader's own sync is one vote among others and may be the last
// to come. The membership is that at the end of the log, also for entries before the change.
func (m *Member) advance() {
	if m.role != leader {
		return
	}
	var have []uint64
	for _, x := range m.members() {
		switch {
		case x.ID == m.id:
			have = append(have, m.s.synced)
		case m.peers[x.ID] != nil:
			have = append(have, m.peers[x.ID].match)
		default:
			have = append(have, 0)
		}
	}
	slices.Sort(have)
	index := have[(len(have)-1)/2]
	if term, ok := m.s.termAt(index); ok && term == m.s.term && index > m.commit {
		m.commit = index
		m.change()
	}
}

// replicate keeps one peer up to date for one term: a message at a time, at least one in each beat. A
// message is under way until its answer or, since either may be lost, for a heartbeat at most.
// One message at a time bounds what is under way to a slow peer, and makes batches grow with the delay. It ends
// with the leadership, the term, or the peer's membership (peers has another progress then, or none).
func (m *Member) replicate(id string, term uint64) {
	p := m.peers[id]
	beat := m.q.timing.Heartbeat / beatsInHeartbeat
	for !m.over() && m.role == leader && m.s.term == term && m.peers[id] == p {
		sent := m.now()
		p.waiting = true
		if p.next <= m.s.trimmed {
			m.sendSnapshot(id, p, term)
			m.keepAlive(id, p, term, beat)
		} else {
			m.sendEntries(id, p, term)
			m.untilOr(m.q.timing.Heartbeat, func() bool { return !p.waiting || m.s.term != term })
		}
		round, commit := m.round, m.commit
		m.untilOr(max(beat-(m.now()-sent), 0), func() bool {
			return m.role != leader || m.s.term != term || p.next <= m.s.last() || m.round > round || p.round < m.round || m.commit > commit
		})
	}
}

// snapshotPatience is how many heartbeats a snapshot may take before it is sent again: it may have been lost.
const snapshotPatience = 8

// keepAlive waits for the answer to a snapshot, and has the peer hear of its leader meanwhile: it takes long, and a peer
// that hears nothing asks for votes.
func (m *Member) keepAlive(id string, p *progress, term uint64, beat time.Duration) {
	over := func() bool { return !p.waiting || m.role != leader || m.s.term != term }
	for range snapshotPatience * beatsInHeartbeat {
		if over() || !m.untilOr(beat, over) {
			return
		}
		m.send(id, "beat", smallMessage, func(f *Member) { f.hear(term, m.id) })
	}
}

// hear notes that a leader lives.
//
// A leader of a later term, or of this one, is believed at once (section 5.1): a candidate that hears of one gives
// up (section 5.2).
func (m *Member) hear(term uint64, from string) {
	if term < m.s.term {
		return
	}
	if term > m.s.term || m.role != follower || m.leaderID != from {
		m.follow(term, from)
	}
	m.heard = m.now()
}

// sendEntries sends what comes after what the peer has, or nothing, as a sign of life and of the commit index.
// prev and its term are the consistency check of section 5.3. The entries are copied when they leave: the leader's
// log may be trimmed, and in a later role cut, before they arrive. A heartbeat is the same message without entries
// and passes the same check, so that it moves the commit index only where the logs agree.
func (m *Member) sendEntries(id string, p *progress, term uint64) {
	prev := p.next - 1
	prevTerm, _ := m.s.termAt(prev)
	var entries []entry
	bytes := smallMessage
	for i := p.next; i <= m.s.last() && len(entries) < maxBatch && bytes < maxEntryBytes; i++ {
		e := m.s.at(i)
		entries = append(entries, *e)
		bytes += e.size()
	}
	commit, round := m.commit, m.round
	m.send(id, "append", bytes, func(f *Member) {
		ok, match, theirs := f.accept(term, m.id, prev, prevTerm, entries, commit)
		f.send(m.id, "append answer", smallMessage, func(*Member) { m.answered(p, term, ok, match, theirs, round) })
	})
}

// answered takes a follower's answer: how far its log agrees with ours. A later term ends the leadership; answers to an
// earlier one are ignored. match never goes back, since what a follower has synced stays, while next goes back by at least
// one with each refusal, so that the search for where the logs agree ends.
func (m *Member) answered(p *progress, term uint64, ok bool, match, theirs, round uint64) {
	if theirs > m.s.term {
		m.heard = m.now()
		m.follow(theirs, "")
		return
	}
	if m.role != leader || m.s.term != term {
		return
	}
	p.waiting, p.heard = false, m.now()
	p.round = max(p.round, round)
	if ok {
		p.match = max(p.match, match)
		p.next = p.match + 1
		m.advance()
	} else {
		p.next = max(min(match+1, p.next-1), 1)
	}
	m.change()
}

// accept is a follower's part: it takes entries that continue its log, and answers when they are safe. When they do not
// continue it, match says where to try next.
// Answers to the rules of section 5.3: an older term is refused; entries are taken only behind an entry that both
// have (INV-2); a follower commits no further than the message's own last entry, behind which its log may hold
// what the leader never had. It waits for its own sync before it says yes, since the leader counts the answer as
// safe; when its log was cut or its term moved meanwhile, it does not know any more what it has, and says no.
func (m *Member) accept(term uint64, from string, prev, prevTerm uint64, entries []entry, commit uint64) (ok bool, match, ours uint64) {
	if term < m.s.term {
		return false, 0, m.s.term
	}
	m.hear(term, from)
	if have, known := m.s.termAt(prev); prev > m.s.trimmed && (!known || have != prevTerm) {
		return false, min(prev-1, m.s.last()), m.s.term
	}
	for _, e := range entries {
		m.take(e)
	}
	last := prev + uint64(len(entries))
	cuts := m.cuts
	m.change()
	if m.until(m.ctx, "", func() bool { return m.s.synced >= last || m.cuts != cuts || m.s.term != term }) != nil || m.s.term != term || m.cuts != cuts {
		return false, min(prev, m.s.last()), m.s.term
	}
	if to := min(commit, last); to > m.commit {
		m.commit = to
		m.change()
	}
	return true, last, m.s.term
}

// take puts one entry of the leader's in its place. What contradicts it was never committed.
// An entry that is there already stays, and with it those behind: the message may be an old one that was
// overtaken, and cutting would lose what a later one brought and was acknowledged.
func (m *Member) take(e entry) {
	have, known := m.s.termAt(e.index)
	if known && have == e.term || e.index <= m.s.trimmed {
		return
	}
	if known {
		if e.index <= m.commit {
			panic("simjournal: a committed entry would be overwritten: two leaders of one term, or a lost sync")
		}
		m.s.cut(e.index)
		m.cuts++
	}
	m.s.log = append(m.s.log, e)
}

// ready is how far the state machine may go: what is committed and safe here. A leader can commit by its followers' syncs
// before its own, and a state that had such an entry would be ahead of its log after a crash (INV-4).
func (m *Member) ready() uint64 { return min(m.commit, m.s.synced) }

// applyLog hands committed entries to the state machine in order.
// It holds applying, so that a snapshot from the leader is not installed in the middle of a batch.
func (m *Member) applyLog() {
	for m.until(m.ctx, "", func() bool { return m.ready() > m.applied }) == nil {
		if m.applying.Lock(m.ctx) != nil {
			return
		}
		m.applySome()
		m.applying.Unlock()
		m.change()
	}
}

// applySome hands over a batch. Entries that the state has already, as after a restart or from a checkpoint ahead
// of its index, are skipped and answered without a refusal. A proposal whose place an entry of another term has
// taken did not happen as proposed: its proposer is told NotLeader.
func (m *Member) applySome() {
	var batch []journal.Entry
	var all []entry
	have := m.sm.AppliedIndex()
	for i := m.applied + 1; i <= m.ready() && len(all) < maxBatch; i++ {
		e := m.s.at(i)
		if e == nil { // a snapshot came meanwhile
			return
		}
		all = append(all, *e)
		if !e.own() && e.index > have {
			batch = append(batch, journal.Entry{Index: e.index, Data: e.data})
		}
	}
	var answers []error
	if len(batch) > 0 {
		answers = m.sm.Apply(batch)
	}
	for _, e := range all {
		var answer error
		if len(batch) > 0 && batch[0].Index == e.index {
			answer = answers[0]
			batch, answers = batch[1:], answers[1:]
		}
		m.applied = e.index
		if p := m.pending[e.index]; p != nil {
			if p.term != e.term {
				answer = m.notLeader("propose")
			}
			p.resolve(e.index, answer)
		}
		if e.members != nil && m.role == leader && !m.isMember() {
			m.follow(m.s.term, "") // it has led itself out
		}
	}
}

// pending is a proposal under way. It holds a slot of Member.slots until it is resolved, once, by whatever ends it first:
// its application, a loss of leadership, or Close. A crash resolves nothing, since the proposer died with its node.
type pending struct {
	m     *Member
	term  uint64
	key   uint64 // in Member.pending
	slot  bool
	done  host.Event
	index uint64
	err   error
}

// Its slot goes back before done is set, so that whoever wakes can propose again at once.
func (p *pending) resolve(index uint64, err error) {
	if p.done.IsSet() {
		return
	}
	p.index, p.err = index, err
	if p.key != 0 {
		delete(p.m.pending, p.key)
	}
	if p.slot {
		p.m.slots.Release(1)
	}
	p.done.Set()
}

// Wait implements journal.Pending.
func (p *pending) Wait(ctx context.Context) (uint64, error) {
	if err := p.done.Wait(ctx); err != nil {
		return 0, err
	}
	return p.index, p.err
}

// Propose implements journal.Journal.
// The wait for a slot is the only one here, and ctx bounds it; afterwards the proposal stands, whether anybody
// waits for it or not. data belongs to the journal from then on.
func (m *Member) Propose(ctx context.Context, data []byte) journal.Pending {
	p := &pending{m: m, done: m.node.NewEvent()}
	if len(data) > maxEntryBytes {
		p.resolve(0, dfs.Errorf(dfs.InvalidArgument, "propose", "", "%d bytes, the limit is %d: propose less at a time", len(data), maxEntryBytes))
		return p
	}
	if err := m.slots.Acquire(ctx, 1); err != nil {
		p.resolve(0, err)
		return p
	}
	p.slot = true
	switch {
	case m.over():
		p.resolve(0, errClosed("propose"))
	case m.role != leader || m.transferring:
		p.resolve(0, m.notLeader("propose"))
	default:
		if data == nil {
			data = []byte{}
		}
		p.term = m.s.term
		p.key = m.append(entry{data: data})
		m.pending[p.key] = p
	}
	return p
}

// patienceOf bounds what a call without a deadline of its own waits for.
const patienceOf = 10 * time.Second
