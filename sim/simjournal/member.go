package simjournal

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// Bounds, as raftjournal has them.
const (
	maxInFlight      = 3
	maxBatch         = 64 // entries in one message and in one call of Apply
	maxEntryBytes    = 4 << 20
	snapshotEntries  = 100_000
	beatsInHeartbeat = 10
	smallMessage     = 64 // bytes of a message without entries
)

type role int

const (
	follower role = iota
	candidate
	leader
)

// Member is one member of the quorum, in one life. It implements journal.Journal. Its fields need no lock: one task runs
// at a time, and between two waits nothing else happens.
// Locks: applying is held over calls of the state machine and over waits; everything else is safe because code
// between two waits is atomic.
type Member struct {
	q    *Quorum
	node *world.Node
	id   string
	sm   journal.StateMachine
	s    *store

	ctx    context.Context
	cancel context.CancelFunc
	closed bool
	dead   bool // crashed

	role     role
	leaderID string
	heard    time.Duration // when a leader was last heard of, or a vote was given
	patience time.Duration // until the next election
	cuts     int           // how often the log's end was cut off
	commit   uint64
	applied  uint64
	applying *host.Mutex // held over calls of the state machine's Apply and Restore
	waiters  []*waiter   // for conditions on the fields
	slots    *host.Semaphore
	pending  map[uint64]*pending

	votes        map[string]bool
	peers        map[string]*progress // of the leader
	round        uint64               // of proofs of leadership
	transferring bool
	term         uint64 // of our leadership; 0: we do not lead
	told         uint64 // what Leadership last returned
}

// progress is what the leader knows of a peer.
// INV-1: match is what the peer said it has synced in this term of ours, and so counts for commitment; next is a
// guess, above match.
type progress struct {
	next, match uint64
	heard       time.Duration
	round       uint64 // of the last proof that it answered
	waiting     bool   // for an answer
}

var _ journal.Journal = (*Member)(nil)

// Open starts a member on a node, on what its store holds.
// Corrupted says that state and log do not fit together: entries that were acknowledged are missing, and starting
// would hide that. The member is a follower until it hears of a leader or an election comes. Whoever opened it
// calls Close, or Quorum.Crashed when its node has died.
func (q *Quorum) Open(node *world.Node, id string, sm journal.StateMachine) (*Member, error) {
	s := q.stores[id]
	if s == nil {
		s = &store{}
		q.stores[id] = s
	}
	m := &Member{q: q, node: node, id: id, sm: sm, s: s, applying: host.NewMutex(node),
		slots: host.NewSemaphore(node, maxInFlight), pending: map[uint64]*pending{}}
	m.ctx, m.cancel = node.WithCancel(context.Background())
	if err := m.recover(); err != nil {
		return nil, err
	}
	m.heard, m.patience = m.now(), m.electionTimeout()
	q.live[id], q.nodes[id] = m, node
	node.Go("journal ticker", m.tick)
	node.Go("journal sync", m.syncLog)
	node.Go("journal apply", m.applyLog)
	node.Go("journal snapshots", m.takeSnapshots)
	return m, nil
}

// recover sees to it that state, snapshot and log make one chain.
// What was committed is not remembered, as in Raft (figure 2 has commitIndex volatile): what the state machine has
// must have been, and the rest is learned from the next leader.
func (m *Member) recover() error {
	const op = "open journal"
	s := m.s
	end := s.last()
	if s.snap != nil {
		end = max(end, s.snap.state)
	}
	if applied := m.sm.AppliedIndex(); applied > end {
		return dfs.Errorf(dfs.Corrupted, op, m.id, "the state has entry %d, the log ends at %d: entries that were acknowledged are missing", applied, end)
	}
	if s.snap != nil && s.snap.state > m.sm.AppliedIndex() {
		if err := m.restore(s.snap); err != nil {
			return err
		}
	}
	if m.sm.AppliedIndex() < s.trimmed && m.firstDataAfter(m.sm.AppliedIndex()) > s.trimmed && s.snap == nil {
		return dfs.Errorf(dfs.Corrupted, op, m.id, "the state has entry %d, the log begins at %d", m.sm.AppliedIndex(), s.first())
	}
	if s.snap != nil {
		m.commit, m.applied = s.snap.index, s.snap.index
	}
	m.commit = max(m.commit, min(m.sm.AppliedIndex(), s.last()))
	m.applied = max(m.applied, m.commit, s.trimmed)
	m.commit = m.applied
	return nil
}

// firstDataAfter is the index of the first entry for the state machine after index that the log has.
func (m *Member) firstDataAfter(index uint64) uint64 {
	for i := range m.s.log {
		if e := &m.s.log[i]; e.index > index && !e.own() {
			return e.index
		}
	}
	return m.s.last() + 1
}

// now is the world's time, not the node's clock: a skewed clock does not disturb who leads, as a monotonic one would not.
func (m *Member) now() time.Duration { return m.q.w.Sched.Elapsed() }

// electionTimeout is one to two heartbeats, at random, so that members do not stand against each other for ever.
func (m *Member) electionTimeout() time.Duration {
	h := m.q.timing.Heartbeat
	return h + time.Duration(m.node.Rand().Int64N(int64(h)))
}

// over tells whether this life has ended.
func (m *Member) over() bool { return m.closed || m.dead }

// waiter is one task that waits for a condition.
type waiter struct {
	ok    func() bool
	ready host.Event
}

// change wakes those who wait for a condition that holds now. Conditions are looked at here and not by their tasks: nearly
// every change concerns one task, and waking the others to look again would be most of what a quorum does.
func (m *Member) change() {
	over := m.over()
	left := m.waiters[:0]
	for _, w := range m.waiters {
		if over || w.ok() {
			w.ready.Set()
		} else {
			left = append(left, w)
		}
	}
	clear(m.waiters[len(left):])
	m.waiters = left
}

// until waits for a condition on the member's fields. It ends with Unavailable when the member does.
// ok must not wait and must not change anything: it is called any number of times, by whoever changes a field. When it is
// true at once nothing is waited for, even if the member is over. It is true again when until returns without an error.
func (m *Member) until(ctx context.Context, op string, ok func() bool) error {
	for !ok() {
		if m.over() {
			return errClosed(op)
		}
		w := &waiter{ok, m.node.NewEvent()}
		m.waiters = append(m.waiters, w)
		if err := w.ready.Wait(ctx); err != nil {
			if i := slices.Index(m.waiters, w); i >= 0 {
				m.waiters = slices.Delete(m.waiters, i, i+1)
			}
			return err
		}
	}
	return nil
}

// untilOr waits at most d for a condition; it is false when the member has ended.
func (m *Member) untilOr(d time.Duration, ok func() bool) bool {
	ctx, cancel := m.node.WithTimeout(m.ctx, d)
	defer cancel()
	_ = m.until(ctx, "", ok)
	return !m.over()
}

// members is the membership by which this member counts majorities: the last in its log, committed or not.
func (m *Member) members() []journal.Member { return m.s.members(m.q.founded) }

func (m *Member) isMember() bool {
	return slices.ContainsFunc(m.members(), func(x journal.Member) bool { return x.ID == m.id })
}

// others are the other members' ids, in the order of the membership.
func (m *Member) others() []string {
	var ids []string
	for _, x := range m.members() {
		if x.ID != m.id {
			ids = append(ids, x.ID)
		}
	}
	return ids
}

// majority tells whether a set of members, counted by ok, is one.
// It counts by the membership of now, on both sides of a change: see changeMembers.
func (m *Member) majority(ok func(id string) bool) bool {
	n, all := 0, m.members()
	for _, x := range all {
		if ok(x.ID) {
			n++
		}
	}
	return n > len(all)/2
}

// send has a member do something, if it lives and is reached. do runs as a task of the receiver; a message may be lost,
// come late, or overtake another, so that each carries the term and what else its receiver must check.
// Nobody hears of a loss. do must not hold on to the sender's mutable state: what it needs is copied before.
func (m *Member) send(to, name string, bytes int, do func(p *Member)) {
	node := m.q.nodes[to]
	if node == nil || m.over() {
		return
	}
	m.q.w.Net.Post(m.node, node, "journal "+name, bytes, func() {
		if p := m.q.live[to]; p != nil && !p.over() {
			do(p)
		}
	})
}

// sync waits until what was just put into the store is safe.
func (m *Member) sync() {
	t := m.q.timing
	_ = m.node.Sleep(m.ctx, world.Spread(m.node.Rand(), t.Sync, t.Spread))
}

// follow makes this member a follower in a term that is not behind its own.
// Within a term it keeps the vote (INV-1); only a later term clears it. It does not wait for a sync: forgetting
// the term is safe as long as no vote and no answer was given in it, and those sync first.
func (m *Member) follow(term uint64, leaderID string) {
	if term > m.s.term {
		m.s.term, m.s.vote = term, ""
	}
	if m.role == leader {
		m.lose()
	}
	m.role = follower
	m.leaderID = leaderID
	m.change()
}

// lose ends our leadership: what is under way has an open outcome, which the next leader will know.
// Proposals are answered in the order of their entries, so that their proposers go on in an order that follows
// from the seed.
func (m *Member) lose() {
	m.note("leads term %d no more", m.term)
	m.term, m.transferring = 0, false
	m.peers = nil
	for _, index := range sortedKeys(m.pending) {
		m.pending[index].resolve(0, dfs.Errorf(dfs.NotLeader, "propose", "", "leadership was lost meanwhile; whether it takes effect is for the next leader to tell"))
	}
}

func sortedKeys(all map[uint64]*pending) []uint64 { return slices.Sorted(maps.Keys(all)) }

// errClosed says that this member has ended; another may still serve the caller.
func errClosed(op string) error {
	return dfs.Errorf(dfs.Unavailable, op, "", "the journal is closed")
}

// notLeader is for what was refused and so had no effect here. Of a proposal under way lose says that it is open.
func (m *Member) notLeader(op string) error {
	return dfs.Errorf(dfs.NotLeader, op, "", "another member leads, or none does yet: ask for the leader and retry")
}
