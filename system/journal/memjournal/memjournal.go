// Package memjournal is a journal of one member that keeps nothing: every proposal is committed at once, and what the
// state machine has not flushed is lost with the process. Tests and masters for a single process use it; it has the
// shape of the real one (proposals are applied by a task of their own, three may be in flight), and runs on any host.
package memjournal

import (
	"context"
	"sync"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// MemberID is the id of the only member, and of the leader.
const MemberID = "memory"

// inFlight is how many proposals wait for the state machine before Propose does.
const inFlight = 3

// Open starts a journal over sm; the first entry follows what sm has applied already.
// The journal's task runs until Close. It never fails, whatever sm holds: what sm has applied is taken as it is.
func Open(h host.Host, sm journal.StateMachine) *Journal {
	j := &Journal{host: h, sm: sm, last: sm.AppliedIndex(), closed: h.NewEvent(), stopped: h.NewEvent()}
	j.queue = host.NewQueue[*pending](h, inFlight)
	j.order = host.NewMutex(h)
	h.Go("memjournal", j.apply)
	return j
}

// Journal implements journal.Journal.
// INV-1: indexes ascend by one in the order in which proposals got into the queue, which is the order in which they are
// applied.
//
// order is held over the wait for room in the queue; mu is innermost and never held over a wait or a call of the state
// machine other than AppliedIndex.
type Journal struct {
	host    host.Host
	sm      journal.StateMachine
	queue   *host.Queue[*pending]
	order   *host.Mutex // makes the order of indexes the order of the queue
	closed  host.Event
	stopped host.Event

	mu   sync.Mutex
	last uint64 // index of the last proposal
	told bool   // Leadership has told of the gain
}

var _ journal.Journal = (*Journal)(nil)

// pending is a proposal, or a marker of a Barrier: when the queue has come to it, everything before it is applied.
type pending struct {
	entry  journal.Entry
	marker bool
	done   host.Event
	err    error
}

// Wait implements journal.Pending.
// An end of ctx ends the wait and not the proposal, which is applied all the same. It may be called again, and by
// several.
func (p *pending) Wait(ctx context.Context) (uint64, error) {
	if err := p.done.Wait(ctx); err != nil {
		return 0, err
	}
	return p.entry.Index, p.err
}

// resolve is called once, by whoever has p: the caller that could not queue it, or the applying task.
func (p *pending) resolve(err error) {
	p.err = err
	p.done.Set()
}

// errClosed is Unavailable: nothing was proposed, and another master may take it.
func errClosed(op string) error {
	return dfs.Errorf(dfs.Unavailable, op, "", "the journal is closed")
}

// Propose implements journal.Journal.
// A proposal that could not be queued is answered at once, with the caller's own error or Unavailable.
func (j *Journal) Propose(ctx context.Context, data []byte) journal.Pending {
	p := &pending{done: j.host.NewEvent()}
	if err := j.enqueue(ctx, p, data); err != nil {
		p.resolve(err)
	}
	return p
}

// enqueue gives the proposal the next index and a place in the queue, or neither.
func (j *Journal) enqueue(ctx context.Context, p *pending, data []byte) error {
	if err := j.order.Lock(ctx); err != nil {
		return err
	}
	// order is held until the proposal is in the queue: an index is taken only by one that gets there, so a caller that gives
	// up leaves no gap, and the state machine sees them ascending.
	defer j.order.Unlock()
	p.entry = journal.Entry{Index: j.CommitIndex() + 1, Data: data}
	switch err := j.queue.Send(ctx, p); err {
	case nil:
	case host.ErrQueueClosed:
		return errClosed("propose")
	default:
		return err
	}
	j.mu.Lock()
	j.last = p.entry.Index
	j.mu.Unlock()
	return nil
}

// apply is the task that hands proposals to the state machine, as many as there are at a time.
func (j *Journal) apply() {
	defer j.stopped.Set()
	for {
		p, err := j.queue.Recv(context.Background())
		if err != nil {
			return
		}
		batch := []*pending{p}
		for len(batch) < inFlight {
			more, ok := j.queue.TryRecv()
			if !ok {
				break
			}
			batch = append(batch, more)
		}
		j.applyBatch(batch)
	}
}

// applyBatch applies what is between markers too in one call: a marker may be answered late, never early, and here all that
// came before it is applied when it is answered.
func (j *Journal) applyBatch(batch []*pending) {
	var entries []journal.Entry
	for _, p := range batch {
		if !p.marker {
			entries = append(entries, p.entry)
		}
	}
	var answers []error
	if len(entries) > 0 {
		answers = j.sm.Apply(entries)
	}
	for _, p := range batch {
		if p.marker {
			p.resolve(nil)
			continue
		}
		p.resolve(answers[0])
		answers = answers[1:]
	}
}

// Barrier implements journal.Journal.
// It takes a place in the queue like a proposal, and waits for room there as long as ctx lets it.
func (j *Journal) Barrier(ctx context.Context) error {
	if j.closed.IsSet() {
		return errClosed("barrier")
	}
	marker := &pending{done: j.host.NewEvent(), marker: true}
	if err := j.queue.Send(ctx, marker); err != nil {
		if err == host.ErrQueueClosed {
			return errClosed("barrier")
		}
		return err
	}
	_, err := marker.Wait(ctx)
	return err
}

// VerifyLeader implements journal.Journal: there is nobody else.
func (j *Journal) VerifyLeader(context.Context) error {
	if j.closed.IsSet() {
		return errClosed("verify leader")
	}
	return nil
}

// CommitIndex implements journal.Journal. The state machine may be ahead of last for a moment.
func (j *Journal) CommitIndex() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return max(j.last, j.sm.AppliedIndex())
}

// Leadership implements journal.Journal: it is gained once, at the start.
func (j *Journal) Leadership(ctx context.Context) (uint64, error) {
	j.mu.Lock()
	told := j.told
	j.told = true
	j.mu.Unlock()
	if !told && !j.closed.IsSet() {
		return 1, nil
	}
	if err := j.closed.Wait(ctx); err != nil {
		return 0, err
	}
	return 0, errClosed("watch leadership")
}

// Leader implements journal.Journal.
func (j *Journal) Leader() string { return MemberID }

// Members implements journal.Journal.
//
// It answers after Close, too, as the membership does not change.
func (j *Journal) Members(context.Context) ([]journal.Member, error) {
	return []journal.Member{{ID: MemberID, Voter: true, Leader: true}}, nil
}

// errAlone is for what takes a second member; it has no effect.
func errAlone(op string) error {
	return dfs.Errorf(dfs.UnsupportedFeature, op, "", "a journal in memory has one member: use the Raft journal for more")
}

// Add implements journal.Journal.
func (j *Journal) Add(context.Context, journal.Member) error { return errAlone("add member") }

// Remove implements journal.Journal.
func (j *Journal) Remove(context.Context, string) error { return errAlone("remove member") }

// Transfer implements journal.Journal.
func (j *Journal) Transfer(context.Context, string) error { return errAlone("transfer leadership") }

// Snapshot implements journal.Journal. There is no log to trim: it tells what would survive.
func (j *Journal) Snapshot(context.Context) (uint64, error) { return j.sm.FlushedIndex(), nil }

// Status implements journal.Journal.
func (j *Journal) Status() journal.Status {
	return journal.Status{Term: 1, CommitIndex: j.CommitIndex(), AppliedIndex: j.sm.AppliedIndex(), LeaderID: MemberID}
}

// Close implements journal.Journal. It waits until what was proposed is applied.
// Proposals that wait for room are told Unavailable. A second Close waits for the same end.
func (j *Journal) Close() error {
	// closed first: whoever finds the queue closed finds the journal closed, too. The queue still gives what is in it.
	j.closed.Set()
	j.queue.Close()
	return j.stopped.Wait(context.Background())
}
