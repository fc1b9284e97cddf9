package simjournal

import (
	"fmt"
	"time"
)

// tick asks for votes when no leader is heard of, and has a leader step down that hears of no majority.
// The time of the next election is drawn anew each time (section 5.2), and counts from when a leader was last
// heard of or a vote was given.
func (m *Member) tick() {
	for !m.over() {
		if m.role == leader {
			if m.node.Sleep(m.ctx, m.q.timing.Lease/4) != nil {
				return
			}
			m.checkLease()
			continue
		}
		wait := m.heard + m.patience - m.now()
		if wait > 0 {
			if m.node.Sleep(m.ctx, wait) != nil {
				return
			}
			continue // it may have been heard of meanwhile
		}
		m.heard, m.patience = m.now(), m.electionTimeout()
		if m.isMember() && m.role != leader {
			m.askVotes(true, m.s.term+1)
		}
	}
}

// checkLease steps down when a majority was not heard of for the length of the lease: they may follow another by now.
// Section 6.2 of the dissertation: a leader that is cut off stops taking proposals by itself. Safety does not rest
// on it, since nothing can be committed without a majority and reads ask one (VerifyLeader).
func (m *Member) checkLease() {
	if m.role != leader {
		return
	}
	since := m.now() - m.q.timing.Lease
	if !m.majority(func(id string) bool { return id == m.id || m.peers[id] != nil && m.peers[id].heard >= since }) {
		m.follow(m.s.term, "")
		m.heard = m.now()
	}
}

// askVotes begins an election. A pre-vote asks whether one could be won, without a new term, so that a member that was cut
// off does not depose a leader when it comes back.
// Dissertation, section 9.6. A real election puts term and vote into the store and waits for the sync before
// anybody is asked (INV-1): a member that crashed and forgot its own candidacy could vote for another in that
// term. Answers of an earlier election are told by the term, and a later one has a votes map of its own.
func (m *Member) askVotes(pre bool, term uint64) {
	if !pre {
		m.s.term, m.s.vote = term, m.id
		m.role = candidate
		m.leaderID = ""
		m.note("asks for votes in term %d", term)
		m.change()
		m.sync()
		if m.over() || m.s.term != term || m.role != candidate {
			return
		}
	}
	votes := map[string]bool{m.id: true}
	m.votes = votes
	last := m.s.last()
	lastTerm, _ := m.s.termAt(last)
	won := func() {
		switch {
		case m.over() || m.role == leader || !m.majority(func(id string) bool { return votes[id] }):
		case pre && m.s.term+1 == term:
			votes = nil // once
			m.askVotes(false, term)
		case !pre && m.s.term == term && m.role == candidate:
			m.lead()
		}
	}
	for _, id := range m.others() {
		m.send(id, "vote", smallMessage, func(p *Member) {
			granted, theirs := p.vote(pre, term, m.id, last, lastTerm)
			p.send(m.id, "vote answer", smallMessage, func(*Member) {
				if m.over() {
					return
				}
				if theirs > m.s.term && !granted {
					m.follow(theirs, "")
					return
				}
				if granted && votes != nil {
					votes[p.id] = true
					won()
				}
			})
		})
	}
	won()
}

// vote answers a candidate: yes when its log is no older than ours and we gave our vote to nobody else. Who hears of a
// leader answers no, unless the leader itself sent the candidate.
// Up to date is section 5.4.1: a later last term wins, and of equal terms the longer log. A later term makes a
// follower of whoever hears of it (section 5.1), also when the vote is refused. The vote is synced before it is
// answered, and is no longer given if the term has moved on meanwhile.
func (m *Member) vote(pre bool, term uint64, candidate string, last, lastTerm uint64) (granted bool, ours uint64) {
	if term < m.s.term {
		return false, m.s.term
	}
	mine := m.s.last()
	myTerm, _ := m.s.termAt(mine)
	upToDate := lastTerm > myTerm || lastTerm == myTerm && last >= mine
	if pre {
		quiet := m.role != leader && m.now()-m.heard >= m.q.timing.Heartbeat*9/10
		return upToDate && quiet, m.s.term
	}
	if term > m.s.term {
		m.follow(term, "")
	}
	if !upToDate || m.s.vote != "" && m.s.vote != candidate {
		return false, m.s.term
	}
	m.s.vote = candidate
	m.heard = m.now()
	m.sync()
	return m.s.term == term, m.s.term
}

// lead begins a leadership. Its first entry commits what earlier terms left.
// Without it reads could not be answered after an election until somebody writes (sections 5.4.2 and 8): what is
// committed is unknown until an entry of the own term is. Peers count as heard of at the beginning, so that the
// lease begins whole.
func (m *Member) lead() {
	term := m.s.term
	m.role, m.leaderID, m.term, m.transferring = leader, m.id, term, false
	m.peers = map[string]*progress{}
	m.note("leads term %d", term)
	m.append(entry{})
	for _, id := range m.others() {
		m.startPeer(id)
	}
	m.change()
}

// note tells the world's observer who leads, or wants to.
func (m *Member) note(format string, term uint64) {
	m.q.w.Note(m.id, "leadership", fmt.Sprintf(format, term))
}

// startPeer begins to replicate to a member.
// next begins at the last entry, as section 5.3 has it, and goes back from there.
func (m *Member) startPeer(id string) {
	if m.peers[id] != nil {
		return
	}
	m.peers[id] = &progress{next: m.s.last(), heard: m.now()}
	term := m.s.term
	m.node.Go("journal replicate", func() { m.replicate(id, term) })
}

// Handing over: the leader sends its follower to an election at once.

// elect makes this member a candidate without asking whether it could win.
// The pre-vote would fail, since the others hear of the leader that sends it (dissertation, section 3.10).
func (m *Member) elect(term uint64) {
	if m.s.term == term && m.role != leader && m.isMember() {
		m.heard = m.now()
		m.askVotes(false, term+1)
	}
}

// mostAdvanced is the follower that has most of the log; "" when there is none.
func (m *Member) mostAdvanced() string {
	best := ""
	for _, id := range m.others() {
		if p := m.peers[id]; p != nil && (best == "" || p.match > m.peers[best].match) {
			best = id
		}
	}
	return best
}

// handOver sends a follower that has the whole log to an election, and waits until somebody else leads.
// patience bounds each of its two waits. When it fails proposals are taken again, while the other may still win a
// late election: that is an ordinary change of leaders.
func (m *Member) handOver(to string, patience time.Duration) bool {
	term := m.s.term
	leads := func() bool { return m.role == leader && m.s.term == term }
	m.transferring = true
	m.untilOr(patience, func() bool { return !leads() || m.peers[to] != nil && m.peers[to].match >= m.s.last() })
	if leads() {
		m.send(to, "elect", smallMessage, func(p *Member) { p.elect(term) })
		m.untilOr(patience, func() bool { return !leads() })
	}
	m.transferring = m.transferring && !leads()
	return !leads()
}
