package simjournal

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

var (
	stateSnapshot  = host.NewState("a journal takes a snapshot")
	stateInstalled = host.NewState("a follower gets a snapshot")
)

// VerifyLeader implements journal.Journal: a majority answers a message that leaves after the call.
// It is the read index's proof (dissertation, section 6.4): a round has a number, answers carry the one that was
// current when their message left, and calls that come during a round share the next message. No lease is trusted,
// so that skewed or stopped clocks cannot make it lie.
func (m *Member) VerifyLeader(ctx context.Context) error {
	const op = "verify leader"
	if m.over() {
		return errClosed(op)
	}
	if m.role != leader {
		return m.notLeader(op)
	}
	term := m.s.term
	m.round++
	round := m.round
	m.change()
	leads := func() bool { return m.role == leader && m.s.term == term }
	err := m.until(ctx, op, func() bool {
		return !leads() || m.majority(func(id string) bool { return id == m.id || m.peers[id] != nil && m.peers[id].round >= round })
	})
	if err == nil && !leads() {
		err = m.notLeader(op)
	}
	return err
}

// Barrier implements journal.Journal.
// When it returns, all that was committed before the call is applied here.
func (m *Member) Barrier(ctx context.Context) error {
	return m.commitOwn(ctx, "barrier", entry{})
}

// commitOwn appends an entry of the journal's own and waits until it is applied here. It is NotLeader when leadership was
// lost first: the entry may be committed all the same, by the next leader.
func (m *Member) commitOwn(ctx context.Context, op string, e entry) error {
	if m.over() {
		return errClosed(op)
	}
	if m.role != leader || m.transferring {
		return m.notLeader(op)
	}
	term := m.s.term
	index := m.append(e)
	if err := m.until(ctx, op, func() bool { return m.applied >= index || m.s.term != term || m.role != leader }); err != nil {
		return err
	}
	if have, known := m.s.termAt(index); m.applied < index || known && have != term {
		return m.notLeader(op)
	}
	return nil
}

// CommitIndex implements journal.Journal: of entries that go to the state machine.
// The journal's own entries never reach the state machine: a reader that waited for one of them would wait for
// ever.
func (m *Member) CommitIndex() uint64 {
	for i := m.commit; i > m.s.trimmed; i-- {
		if e := m.s.at(i); e != nil && !e.own() {
			return i
		}
	}
	return m.sm.AppliedIndex()
}

// Leadership implements journal.Journal.
// A gain and a loss between two calls are not told apart from nothing; the term of a second gain tells that there
// was a loss. One task calls it.
func (m *Member) Leadership(ctx context.Context) (uint64, error) {
	if err := m.until(ctx, "watch leadership", func() bool { return m.term != m.told }); err != nil {
		return 0, err
	}
	m.told = m.term
	return m.term, nil
}

// Leader implements journal.Journal.
func (m *Member) Leader() string { return m.leaderID }

// Members implements journal.Journal.
// The answer is this member's own view and may be of an entry that is not committed.
func (m *Member) Members(context.Context) ([]journal.Member, error) {
	if m.over() {
		return nil, errClosed("list members")
	}
	all := slices.Clone(m.members())
	for i := range all {
		all[i].Voter, all[i].Leader = true, all[i].ID == m.leaderID
	}
	return all, nil
}

// Add implements journal.Journal.
// A member that is known by its id gets the new address. The new one counts for majorities at once, without
// catching up first as a non-voter: the simulator adds members to short logs.
func (m *Member) Add(ctx context.Context, x journal.Member) error {
	if m.role != leader {
		return m.notLeader("add member")
	}
	all := slices.DeleteFunc(slices.Clone(m.members()), func(y journal.Member) bool { return y.ID == x.ID })
	x.Voter, x.Leader = true, false
	return m.changeMembers(ctx, "add member", append(all, x))
}

// Remove implements journal.Journal.
// A leader may remove itself: it leads until the entry is committed and steps down when it applies it
// (dissertation, section 4.2.2).
func (m *Member) Remove(ctx context.Context, id string) error {
	if m.role != leader {
		return m.notLeader("remove member")
	}
	all := slices.DeleteFunc(slices.Clone(m.members()), func(y journal.Member) bool { return y.ID == id })
	if len(all) == len(m.members()) {
		return dfs.Errorf(dfs.InvalidArgument, "remove member", id, "it is not a member")
	}
	return m.changeMembers(ctx, "remove member", all)
}

// changeMembers changes one member at a time: any majority of the old quorum then shares a member with any of the new one.
// It refuses while an earlier change is not committed (dissertation, section 4.1). Conflict asks the caller to
// wait for it and try again.
func (m *Member) changeMembers(ctx context.Context, op string, all []journal.Member) error {
	for i := m.commit + 1; i <= m.s.last(); i++ {
		if m.s.at(i).members != nil {
			return dfs.Errorf(dfs.Conflict, op, "", "another change of the membership is under way")
		}
	}
	done := m.commitOwnAsync(op, entry{members: all})
	for _, id := range m.others() {
		m.startPeer(id)
	}
	for id := range m.peers {
		if !slices.ContainsFunc(all, func(x journal.Member) bool { return x.ID == id }) {
			delete(m.peers, id)
		}
	}
	return done(ctx)
}

// commitOwnAsync appends at once, and returns how to wait for the rest: changeMembers acts on the new membership between
// the two, since it counts from the moment when it is in the log (section 4.1 of Ongaro's dissertation). Unlike commitOwn
// it goes on when this member stops leading within the term: it may have led itself out.
func (m *Member) commitOwnAsync(op string, e entry) func(context.Context) error {
	term := m.s.term
	index := m.append(e)
	return func(ctx context.Context) error {
		if err := m.until(ctx, op, func() bool { return m.applied >= index || m.s.term != term }); err != nil {
			return err
		}
		if have, known := m.s.termAt(index); m.applied < index || known && have != term {
			return m.notLeader(op)
		}
		return nil
	}
}

// Transfer implements journal.Journal.
// New proposals are refused from its beginning until it has failed or leadership is lost, so that the other can
// catch up.
func (m *Member) Transfer(ctx context.Context, id string) error {
	const op = "transfer leadership"
	if m.over() {
		return errClosed(op)
	}
	if m.role != leader {
		return m.notLeader(op)
	}
	if id == "" {
		id = m.mostAdvanced()
	}
	if id == m.id {
		return nil
	}
	if !slices.Contains(m.others(), id) {
		return dfs.Errorf(dfs.InvalidArgument, op, id, "it is not another member of the quorum")
	}
	if !m.handOver(id, patienceOf) {
		return dfs.Errorf(dfs.Unavailable, op, id, "it did not take over in time")
	}
	return ctx.Err()
}

// Status implements journal.Journal.
func (m *Member) Status() journal.Status {
	st := journal.Status{Term: m.s.term, CommitIndex: m.commit, AppliedIndex: m.sm.AppliedIndex(), FirstLogIndex: m.s.first(),
		LastLogIndex: m.s.last(), LeaderID: m.leaderID}
	if m.s.snap != nil {
		st.SnapshotIndex = m.s.snap.index
	}
	for i := range m.s.log {
		st.LogBytes += int64(m.s.log[i].size())
	}
	return st
}

// Close implements journal.Journal: a leader hands over first.
// What is under way is answered Unavailable, with an open outcome. The log counts as synced, as a process that
// ends in order leaves it. A second Close does nothing.
func (m *Member) Close() error {
	if m.over() {
		return nil
	}
	if m.role == leader {
		if to := m.mostAdvanced(); to != "" {
			m.handOver(to, m.q.timing.Heartbeat*2)
		}
	}
	m.closed = true
	m.s.synced = m.s.last()
	for _, index := range sortedKeys(m.pending) {
		m.pending[index].resolve(0, errClosed("propose"))
	}
	if m.q.live[m.id] == m {
		delete(m.q.live, m.id)
	}
	m.change()
	m.cancel()
	return nil
}

// takeSnapshots takes one whenever many entries were applied since the last.
// An error ends it for this life: the log then grows until a restart.
func (m *Member) takeSnapshots() {
	taken := uint64(0)
	if m.s.snap != nil {
		taken = m.s.snap.index
	}
	due := func() bool { return m.applied > taken+uint64(m.q.timing.snapshot()) }
	for m.until(m.ctx, "", due) == nil {
		taken = m.applied
		if _, err := m.Snapshot(m.ctx); err != nil {
			return
		}
	}
}

// Snapshot implements journal.Journal.
// Log compaction of section 7. The checkpoint is taken while entries are applied, so that its state may be ahead
// of index; those entries are skipped when they come again (applySome). The log keeps what the state machine has
// not flushed, which it would need after a crash. What is there already is not taken again.
func (m *Member) Snapshot(ctx context.Context) (uint64, error) {
	if m.over() {
		return 0, errClosed("snapshot")
	}
	index := m.applied
	term, known := m.s.termAt(index)
	if m.s.snap != nil && (index <= m.s.snap.index || !known) {
		return m.s.snap.index, nil
	}
	fs := m.node.FS()
	dir := fmt.Sprintf("simjournal-snapshot-%s-%d", m.id, index)
	state, err := m.sm.Checkpoint(dir)
	if err != nil {
		return 0, err
	}
	snap := &snapshot{index: index, term: term, state: state, files: map[string][]byte{}}
	snap.members = m.membersAt(index)
	if err := readTree(fs, dir, "", snap.files); err != nil {
		return 0, err
	}
	if err := fs.RemoveAll(dir); err != nil {
		return 0, err
	}
	m.sync()
	if m.over() {
		return 0, errClosed("snapshot")
	}
	stateSnapshot.Reached(m.node)
	m.s.snap = snap
	limit := min(index, m.firstUnflushed()-1)
	m.s.trim(limit)
	m.change()
	return index, ctx.Err()
}

// membersAt is the membership as of an index, which a snapshot must carry: later changes may still be cut off.
func (m *Member) membersAt(index uint64) []journal.Member {
	for i := index; i > m.s.trimmed; i-- {
		if e := m.s.at(i); e.members != nil {
			return e.members
		}
	}
	if m.s.snap != nil {
		return m.s.snap.members
	}
	return m.q.founded
}

// firstUnflushed is the first entry that the state machine would need again after a crash: the log is trimmed no further.
func (m *Member) firstUnflushed() uint64 { return m.firstDataAfter(m.sm.FlushedIndex()) }

// sendSnapshot brings up a peer that needs entries which the log no longer has.
// It goes as one message of the whole size, and not in chunks as the paper has it: the network's model charges for
// the bytes all the same.
func (m *Member) sendSnapshot(id string, p *progress, term uint64) {
	snap := m.s.snap
	bytes := smallMessage
	for name, data := range snap.files {
		bytes += len(name) + len(data)
	}
	m.send(id, "snapshot", bytes, func(f *Member) {
		ok, theirs := f.install(term, m.id, snap)
		f.send(m.id, "snapshot answer", smallMessage, func(*Member) { m.answered(p, term, ok, snap.index, theirs, 0) })
	})
}

// install replaces a follower's state by the leader's snapshot, unless it has that much already.
// The whole log is dropped, also what lies behind the snapshot, which section 7 would keep where it agrees. There is
// nothing of the kind that counts: a leader sends a snapshot only to a peer whose log ends, or parts from its own,
// before what it still has.
func (m *Member) install(term uint64, from string, snap *snapshot) (ok bool, ours uint64) {
	if term < m.s.term {
		return false, m.s.term
	}
	m.hear(term, from)
	if snap.index <= m.commit {
		return true, m.s.term
	}
	if m.applying.Lock(m.ctx) != nil {
		return false, m.s.term
	}
	defer m.applying.Unlock()
	if snap.index <= m.commit { // it came by the log meanwhile
		return true, m.s.term
	}
	// The store first: a crash between the two must not find a state that is ahead of its log.
	m.sync()
	if m.over() {
		return false, m.s.term
	}
	stateInstalled.Reached(m.node)
	m.s.snap = snap
	m.s.log, m.s.trimmed, m.s.before, m.s.synced = nil, snap.index, snap.term, snap.index
	m.s.scanned, m.s.changed = snap.index, nil
	m.cuts++
	m.commit, m.applied = snap.index, snap.index
	if err := m.restore(snap); err != nil {
		panic(fmt.Sprintf("simjournal: restore a snapshot: %v", err)) // in memory
	}
	m.heard = m.now()
	m.change()
	return true, m.s.term
}

// restore gives the state machine a snapshot.
// The directory is the state machine's to consume. What a crash leaves of it is overwritten by the next restore of
// that snapshot.
func (m *Member) restore(snap *snapshot) error {
	fs := m.node.FS()
	dir := fmt.Sprintf("simjournal-restore-%s-%d", m.id, snap.index)
	for _, name := range slices.Sorted(maps.Keys(snap.files)) {
		path := fs.PathJoin(dir, name)
		if err := fs.MkdirAll(fs.PathDir(path), 0o755); err != nil {
			return err
		}
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		// A copy: a file system in memory may spoil what it was given to write (Pebble's does under the race detector), and
		// the snapshot is the leader's, too.
		if _, err := f.Write(slices.Clone(snap.files[name])); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if len(snap.files) == 0 {
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return m.sm.Restore(dir)
}

// readTree reads all files below dir.
func readTree(fs vfs.FS, dir, below string, into map[string][]byte) error {
	names, err := fs.List(fs.PathJoin(dir, below))
	if err != nil {
		return err
	}
	for _, name := range names {
		path := fs.PathJoin(below, name)
		info, err := fs.Stat(fs.PathJoin(dir, path))
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := readTree(fs, dir, path, into); err != nil {
				return err
			}
			continue
		}
		f, err := fs.Open(fs.PathJoin(dir, path))
		if err != nil {
			return err
		}
		data, err := io.ReadAll(f)
		_ = f.Close() // only read from
		if err != nil {
			return err
		}
		into[path] = data
	}
	return nil
}
