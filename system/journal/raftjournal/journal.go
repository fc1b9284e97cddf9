package raftjournal

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// Journal is one member. It implements journal.Journal.
// The fields up to notify are set by Open and do not change; it is safe for concurrent use. It owns the
// directory's lock, the log, the snapshots, the transport and Raft, which stop gives back in its order.
type Journal struct {
	config Config
	host   host.Host
	fs     fileSystem
	logger hclog.Logger
	sm     journal.StateMachine
	fsm    *fsm
	ctx    context.Context // of the journal's tasks
	cancel context.CancelFunc

	lock      io.Closer
	log       *logStore
	snapshots *snapshotStore
	transport *raft.NetworkTransport
	raft      *raft.Raft

	slots  *host.Semaphore // INV-2 of the package: a slot is held from Propose until the answer
	notify chan bool       // Raft tells of leadership

	running atomic.Bool // Raft's tasks call, not Open

	mu sync.Mutex
	// Lock order: mu is innermost. It is never held while Raft, the log or the state machine is called.
	waiting map[*pending]struct{} // answers that a caller may wait for
	closing bool
	failure error      // why this member has stopped by itself
	term    uint64     // of our leadership; 0: we do not lead
	told    uint64     // what Leadership last returned
	changed host.Event // set when term differs from what it was at the event's making, or at the end

	stopOnce sync.Once
	stopErr  error
	stopped  host.Event
}

var _ journal.Journal = (*Journal)(nil)

// pending is an answer to come. Exactly one resolve counts, the first.
// INV-1: it is in Journal.waiting from newPending until it is resolved, and whoever takes it out of there writes
// index and err before done is set; readers look at them only after that.
type pending struct {
	journal *Journal
	done    host.Event
	slot    bool // resolve gives the slot back
	index   uint64
	err     error
}

// newPending registers an answer, so that the end of the journal resolves it: Raft leaves some unanswered then.
func (j *Journal) newPending() *pending {
	p := &pending{journal: j, done: j.host.NewEvent()}
	j.mu.Lock()
	// Under the same lock as closing is set under: either resolveAll sees this one, or it is refused here.
	err := j.stoppedError("")
	if err == nil {
		j.waiting[p] = struct{}{}
	}
	j.mu.Unlock()
	if err != nil {
		p.err = err
		p.done.Set()
	}
	return p
}

// resolve gives the answer. Raft's answer and the end of the journal may both come: the first one counts, and it alone gives
// the slot back. done is set outside of the lock, as whoever waits for it may call the journal at once.
func (p *pending) resolve(index uint64, err error) {
	p.journal.mu.Lock()
	_, first := p.journal.waiting[p]
	delete(p.journal.waiting, p)
	if first {
		p.index, p.err = index, err
	}
	slot := first && p.slot
	p.journal.mu.Unlock()
	if first {
		p.done.Set()
	}
	if slot {
		p.journal.slots.Release(1)
	}
}

// holdSlot tells that the proposal has its slot. At the end of the journal, when it may be resolved already, it is given
// back at once.
func (p *pending) holdSlot() {
	p.journal.mu.Lock()
	_, waiting := p.journal.waiting[p]
	p.slot = waiting
	p.journal.mu.Unlock()
	if !waiting {
		p.journal.slots.Release(1)
	}
}

// Wait implements journal.Pending.
// ctx ends the wait, not the proposal: its outcome is open then. NotLeader and Unavailable may leave it open, too
// (raftError says which).
func (p *pending) Wait(ctx context.Context) (uint64, error) {
	if err := p.done.Wait(ctx); err != nil {
		return 0, err
	}
	return p.index, p.err
}

// stoppedError is why the journal answers no more; nil while it does. j.mu is held.
func (j *Journal) stoppedError(op string) error {
	switch {
	case j.failure != nil:
		return j.failure
	case j.closing:
		return dfs.Errorf(dfs.Unavailable, op, "", "the journal is closed")
	}
	return nil
}

// Propose implements journal.Journal. data is kept, and must be at most MaxEntryBytes.
// It waits for a slot as long as ctx lets it, and then for a place in Raft's queue, which ctx does not end; from
// there on the proposal stands.
func (j *Journal) Propose(ctx context.Context, data []byte) journal.Pending {
	p := j.newPending()
	if p.done.IsSet() {
		return p
	}
	if len(data) > MaxEntryBytes {
		p.resolve(0, dfs.Errorf(dfs.InvalidArgument, "propose", "", "%d bytes, the limit is %d: propose less at a time",
			len(data), MaxEntryBytes))
		return p
	}
	if err := j.slots.Acquire(ctx, 1); err != nil {
		p.resolve(0, err)
		return p
	}
	p.holdSlot()
	// With no timeout the entry is in Raft's queue when this returns, and the queue keeps order (INV-2).
	// The checksum travels with the entry and is checked when it is read and when it is applied.
	f := j.raft.ApplyLog(raft.Log{Data: data, Extensions: checksum(data)}, 0)
	// One task for each proposal in flight: at most MaxInFlight. It ends with Raft's answer, or with Raft, whose shutdown
	// answers what it can; resolveAll answers the rest.
	j.host.Go("journal proposal", func() {
		err := f.Error()
		var index uint64
		if err == nil {
			index = f.Index()
			err, _ = f.Response().(error)
		} else {
			err = j.raftError(err, "propose")
		}
		p.resolve(index, err)
	})
	return p
}

// await waits for one of Raft's futures. When ctx ends first, the operation goes on and nobody hears of its end; its task
// ends with Raft at the latest, so a member that stands still (stable.go) holds as many tasks as there were calls.
func (j *Journal) await(ctx context.Context, op string, start func() raft.Future) error {
	p := j.newPending()
	if !p.done.IsSet() {
		j.host.Go("journal "+op, func() { p.resolve(0, j.raftError(start().Error(), op)) })
	}
	_, err := p.Wait(ctx)
	return err
}

// raftError gives Raft's errors their kinds. It returns nil for nil.
func (j *Journal) raftError(err error, op string) error {
	switch {
	case err == nil:
		return nil
	// The entry is in this member's log, and a next leader may have it, too, and commit it: the outcome is open.
	case errors.Is(err, raft.ErrLeadershipLost):
		return dfs.Errorf(dfs.NotLeader, op, "", "leadership was lost meanwhile; whether it takes effect is for the next "+
			"leader to tell")
	// The entry never entered the log: it takes no effect.
	case errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipTransferInProgress):
		if failed := j.log.failed(); failed != nil { // it would lead if its disk let it
			return failed
		}
		return dfs.Errorf(dfs.NotLeader, op, "", "another member leads, or none does yet: ask for the leader and retry")
	case errors.Is(err, raft.ErrRaftShutdown):
		return dfs.Errorf(dfs.Unavailable, op, "", "the journal is closed")
	}
	return diskError(err, op, j.config.Dir)
}

// Barrier implements journal.Journal. It costs an entry of the log.
// It is NotLeader on a follower, and when leadership is lost before a quorum has the entry.
func (j *Journal) Barrier(ctx context.Context) error {
	return j.await(ctx, "barrier", func() raft.Future { return j.raft.Barrier(0) })
}

// VerifyLeader implements journal.Journal: one heartbeat to each follower, shared by the calls that arrive together.
// Raft counts the answers to heartbeats that were under way when it was called.
func (j *Journal) VerifyLeader(ctx context.Context) error {
	return j.await(ctx, "verify leader", func() raft.Future { return j.raft.VerifyLeader() })
}

// CommitIndex implements journal.Journal. Raft's own index counts entries that the state machine never sees; a read that
// waited for one of those would wait for ever.
func (j *Journal) CommitIndex() uint64 {
	return j.log.lastCommand(j.raft.CommitIndex(), j.sm.AppliedIndex())
}

// Leader implements journal.Journal. It is hearsay: a leader that was cut off names itself until its lease ends.
func (j *Journal) Leader() string {
	_, id := j.raft.LeaderWithID()
	return string(id)
}

// Members implements journal.Journal: the newest configuration in this member's log, committed or not.
// It answers at once, also while Raft stands still.
func (j *Journal) Members(context.Context) ([]journal.Member, error) {
	f := j.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, j.raftError(err, "list members")
	}
	leader := j.Leader()
	var members []journal.Member
	for _, s := range f.Configuration().Servers {
		members = append(members, journal.Member{ID: string(s.ID), Address: string(s.Address),
			Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader})
	}
	return members, nil
}

// Add implements journal.Journal.
// A member that is known by its id gets the new address. The call returns when the new quorum has agreed; the member
// may be far behind then, and counts all the same.
func (j *Journal) Add(ctx context.Context, m journal.Member) error {
	if m.ID == "" || m.Address == "" {
		return dfs.Errorf(dfs.InvalidArgument, "add member", m.ID, "a member needs an id and an address")
	}
	return j.await(ctx, "add member", func() raft.Future {
		return j.raft.AddVoter(raft.ServerID(m.ID), raft.ServerAddress(m.Address), 0, 0)
	})
}

// Remove implements journal.Journal. A leader that removes itself steps down.
// An id that nobody has is no error. Who was removed goes on running and is refused by the others; close it.
func (j *Journal) Remove(ctx context.Context, id string) error {
	return j.await(ctx, "remove member", func() raft.Future { return j.raft.RemoveServer(raft.ServerID(id), 0, 0) })
}

// Transfer implements journal.Journal. Proposals wait meanwhile (INV-2 of the package).
func (j *Journal) Transfer(ctx context.Context, id string) error {
	if j.raft.State() != raft.Leader {
		return j.raftError(raft.ErrNotLeader, "transfer leadership")
	}
	// Raft picks the follower whose log is longest.
	start := j.raft.LeadershipTransfer
	if id != "" {
		members, err := j.Members(ctx)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.ID == id && m.Voter {
				start = func() raft.Future {
					return j.raft.LeadershipTransferToServer(raft.ServerID(m.ID), raft.ServerAddress(m.Address))
				}
				id = ""
			}
		}
		if id != "" {
			return dfs.Errorf(dfs.InvalidArgument, "transfer leadership", id, "no voter has this id")
		}
	}
	// All slots: nothing is in flight then, and proposals that come meanwhile wait in Acquire (INV-2 of the package).
	if err := j.slots.Acquire(ctx, MaxInFlight); err != nil {
		return err
	}
	defer j.slots.Release(MaxInFlight)
	return j.await(ctx, "transfer leadership", start)
}

// Status implements journal.Journal. Its numbers are read one after the other and need not fit together.
func (j *Journal) Status() journal.Status {
	st := journal.Status{Term: j.raft.CurrentTerm(), CommitIndex: j.CommitIndex(), AppliedIndex: j.sm.AppliedIndex(),
		LeaderID: j.Leader(), LogBytes: j.log.sizeBytes(), Fault: j.log.failed()}
	// A log that is being reopened has no indexes to report.
	st.FirstLogIndex, _ = j.log.FirstIndex()
	st.LastLogIndex, _ = j.log.LastIndex()
	if snap := j.snapshots.newest(); snap != nil {
		st.SnapshotIndex = snap.description.Raft.Index
	}
	return st
}
