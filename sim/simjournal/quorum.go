// Package simjournal is a replicated log for the simulator: Raft (Ongaro and Ousterhout 2014: terms, elections with
// pre-vote, log matching, commitment by majority of the leader's term, leader completeness, single-server membership
// changes, leadership transfer) on the tasks, clock, network and disks of a simulated world, so that it follows from the
// seed, which hashicorp/raft, with a clock and randomness of its own, does not. It stands in front of the production state
// machine in the place of raftjournal and keeps the same contract (package journal).
//
// What a member must not lose lies in its store, which outlives the process: term, vote, log and snapshot. An append takes
// effect there when the disk has synced it; a crash takes the store back to what was synced. Everything else is the
// member's memory and goes with it.
//
// # What holds
//
// INV-1: a term has at most one leader: a vote is in the store, and synced, before it is given. INV-2: two logs that have
// an entry of one index and term agree up to it: a follower takes entries only behind one that it shares with the leader.
// INV-3: what is committed stays: a leader counts a majority for entries of its own term only, and a vote goes to nobody
// whose log is behind. INV-4: the state machine never has an entry that the log, after a crash, could miss: it is given
// committed entries only, and those only when they are synced here, too. Member.take panics when a committed entry would be overwritten.
//
// # The life of a proposal
//
// Propose waits for one of a few slots, appends to the leader's log, and returns. The sync task makes the log safe, all
// that has come meanwhile at once, while a replicate task for each peer sends it what it lacks, one message at a time.
// Each answer and each sync may advance the commit index; the apply task then gives the entries to the state machine and
// answers their proposers. A leader that steps down answers them NotLeader: the outcome is open.
//
// # Waiting
//
// A member's tasks wait for conditions on its fields (Member.until): whatever changes a field calls change, which wakes
// all of them. Whoever has waited looks again at everything it knew: the term, the role and the log may be others, and the
// member may be over. Code between two waits is atomic, since one task runs at a time.
package simjournal

import (
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/journal"
)

// Timing is how soon members notice each other's ends, as raftjournal has it.
// Lease is below Heartbeat, so that a leader that is cut off steps down about when its followers elect another.
// Safety does not rest on it.
type Timing struct {
	Heartbeat time.Duration // a follower that hears nothing for this long, and up to twice, asks for votes
	Lease     time.Duration // a leader that hears of no majority for this long steps down
	Sync      time.Duration // a write to the log, until it is safe
	Snapshot  int           // after so many entries one is taken; 0: 100,000
	Spread    float64       // of Sync, which is the median then; see world.Spread
	Entry     time.Duration // of a core, for each entry that is written
}

func (t Timing) snapshot() int {
	if t.Snapshot > 0 {
		return t.Snapshot
	}
	return snapshotEntries
}

// DefaultTiming is raftjournal's.
var DefaultTiming = Timing{Heartbeat: 250 * time.Millisecond, Lease: 200 * time.Millisecond, Sync: 300 * time.Microsecond}

// Quorum is the set of stores of one replicated log, and the members that live.
// It stands for disks and for the wiring: members find each other by id here and talk through the network's Post
// only. Addresses in the membership are not dialled.
type Quorum struct {
	w       *world.World
	timing  Timing
	founded []journal.Member
	stores  map[string]*store
	live    map[string]*Member
	nodes   map[string]*world.Node
}

// NewQuorum makes a quorum of the given founders, none of which lives yet.
func NewQuorum(w *world.World, founders []journal.Member, timing Timing) *Quorum {
	return &Quorum{w: w, timing: timing, founded: founders, stores: map[string]*store{}, live: map[string]*Member{}, nodes: map[string]*world.Node{}}
}

// entry is one record of the log. data is nil in those of the journal's own.
type entry struct {
	index, term uint64
	data        []byte
	members     []journal.Member // of a change of membership
}

func (e *entry) own() bool { return e.data == nil }

const entryOverheadBytes = 32

func (e *entry) size() int { return len(e.data) + entryOverheadBytes }

// snapshot is the state up to an index.
// It is immutable once made: leader and followers share it.
type snapshot struct {
	index, term uint64
	state       uint64 // what the state machine called its index: it may be ahead
	members     []journal.Member
	files       map[string][]byte
}

// store is what a member has on its disk.
// INV-1: synced is never above last. INV-2: log has no gaps and begins right after trimmed. Term, vote and
// snapshot are set in memory and then waited for (Member.sync); the model does not take them back at a crash
// during that wait, which is the luckier of two right outcomes.
type store struct {
	term    uint64
	vote    string
	snap    *snapshot
	log     []entry // after what was trimmed, without gaps
	synced  uint64  // the last index that a crash leaves
	trimmed uint64  // index before the first of log
	before  uint64  // its term

	scanned uint64           // up to where the log was looked through for changes of membership
	changed []journal.Member // the last of them; nil: none
}

func (s *store) last() uint64 { return s.trimmed + uint64(len(s.log)) }

func (s *store) first() uint64 {
	if len(s.log) == 0 {
		return 0
	}
	return s.trimmed + 1
}

// at is the entry at index; nil when the log does not have it.
func (s *store) at(index uint64) *entry {
	if index <= s.trimmed || index > s.last() {
		return nil
	}
	return &s.log[index-s.trimmed-1]
}

// termAt is the term of the entry at index, as far as it is known.
// Unknown is what was trimmed and what is not there yet. Of the snapshot's own index the term stays known, which
// the check of section 5.3 needs for the first entry behind it.
func (s *store) termAt(index uint64) (uint64, bool) {
	if e := s.at(index); e != nil {
		return e.term, true
	}
	switch {
	case index == s.trimmed:
		return s.before, true
	case s.snap != nil && index == s.snap.index:
		return s.snap.term, true
	}
	return 0, false
}

// cut drops the entries from index on.
// What was synced of them does not count any more: entries that take their places must be synced themselves.
func (s *store) cut(index uint64) {
	if index <= s.last() {
		s.log = s.log[:index-s.trimmed-1]
		s.synced = min(s.synced, index-1)
		s.scanned, s.changed = s.trimmed, nil
	}
}

// trim drops the entries up to index.
// A new slice, since the old one would keep all trimmed entries in memory.
func (s *store) trim(index uint64) {
	if index <= s.trimmed {
		return
	}
	index = min(index, s.last())
	term, _ := s.termAt(index)
	s.log = append([]entry(nil), s.log[index-s.trimmed:]...)
	s.trimmed, s.before = index, term
	s.scanned, s.changed = index, nil // the snapshot has what was trimmed
}

// crash takes the store back to what was synced.
func (s *store) crash() { s.cut(s.synced + 1) }

// members is the membership by the last change in the log, whether committed or not, as Raft has it.
// Section 4.1 of the dissertation: a server uses the newest configuration in its log, since a majority counted by
// an older one could miss the new members. Each entry is looked at once: a leader asks with every answer that it gets.
func (s *store) members(founded []journal.Member) []journal.Member {
	if s.scanned < s.trimmed {
		s.scanned, s.changed = s.trimmed, nil // a snapshot came, and has what was trimmed
	}
	for ; s.scanned < s.last(); s.scanned++ {
		if m := s.at(s.scanned + 1).members; m != nil {
			s.changed = m
		}
	}
	if s.changed != nil {
		return s.changed
	}
	if s.snap != nil {
		return s.snap.members
	}
	return founded
}

// Committed is the last entry that a member which lives knows to be committed.
func (q *Quorum) Committed() uint64 {
	most := uint64(0)
	for _, id := range slices.Sorted(maps.Keys(q.live)) {
		most = max(most, q.live[id].commit)
	}
	return most
}

// Wipe forgets what a dead member has on its disk.
// A voter that forgets its log and its vote breaks what Raft rests on: do it to one at a time, while the
// others have what was committed.
func (q *Quorum) Wipe(id string) { delete(q.stores, id) }

// Crashed is called when a member's process has ended without Close.
// The network's own death is world.Node.Crash, which comes first: no task of the member runs any more.
func (q *Quorum) Crashed(id string) {
	if m := q.live[id]; m != nil {
		m.dead = true
		delete(q.live, id)
	}
	if s := q.stores[id]; s != nil {
		s.crash()
	}
}
