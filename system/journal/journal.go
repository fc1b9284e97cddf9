// Package journal is the replicated log seam: a Journal orders entries, and a StateMachine applies them. It never knows
// what an entry means. raftjournal (hashicorp/raft on raft-wal) serves production, memjournal tests and single-process
// use; both pass the conformance suite in journaltest. The master is its caller.
package journal

import (
	"context"
	"io"
)

// Entry is one committed record.
// Data is not changed by anybody from its proposal on: journals, caches and state machines share it.
type Entry struct {
	Index uint64
	Data  []byte
}

// StateMachine is what a journal drives. Calls to Apply and Restore are serial.
type StateMachine interface {
	// Apply applies entries in ascending index order and returns one answer for each: nil, or why it was refused (a
	// refused entry changed nothing). Apply is deterministic. Indexes at or below AppliedIndex must be skipped with nil.
	Apply(entries []Entry) []error
	// AppliedIndex is the index of the last entry whose effects are readable; it survives restarts only as FlushedIndex.
	AppliedIndex() uint64
	// FlushedIndex is the last index whose effects are on disk: the log may be trimmed up to it and no further.
	FlushedIndex() uint64
	// Checkpoint flushes, and writes and syncs a consistent copy of the state in the new directory dir (hard links where
	// it can). It returns the index that the copy stands for. It may run beside Apply, never beside Restore. Nobody ever changes
	// the files of a checkpoint in place, since several directories may share them.
	Checkpoint(dir string) (uint64, error)
	// Restore replaces the state by a checkpoint read from dir, which the state machine may consume.
	Restore(dir string) error
}

// Pending is a proposal under way.
type Pending interface {
	// Wait returns the entry's index once it is applied here, or why it did not take effect: dfs.NotLeader when it was
	// refused or lost (after a lost leadership the outcome is unknown, which is what sessions are for), or the state
	// machine's refusal. When ctx ends the proposal goes on.
	Wait(ctx context.Context) (uint64, error)
}

// Member is one participant of the quorum.
type Member struct {
	ID      string
	Address string // of the journal's own transport
	Voter   bool
	Leader  bool
}

// Status is a journal's state for people and metrics.
// Its numbers are of slightly different moments.
type Status struct {
	Term          uint64
	CommitIndex   uint64
	AppliedIndex  uint64
	FirstLogIndex uint64 // 0: the log is empty
	LastLogIndex  uint64
	SnapshotIndex uint64
	LeaderID      string
	LogBytes      int64
	Fault         error // why the last write of the log failed, such as dfs.NoSpace; nil while writes succeed
}

// Journal is one member's access to the log.
type Journal interface {
	// Propose appends data, which the journal keeps, if this member leads. Proposals made one after the other keep their
	// order: if one takes effect, every earlier one of the same term by this member was committed before it. It waits for
	// room in the pipeline (three proposals); when ctx ends meanwhile the proposal was never made, and Wait says so at once.
	Propose(ctx context.Context, data []byte) Pending
	// Barrier returns when everything committed before the call is applied here and this member leads.
	Barrier(ctx context.Context) error
	// VerifyLeader proves with a quorum that this member still leads.
	VerifyLeader(ctx context.Context) error
	// CommitIndex is the highest index that this member knows to be committed and that goes to the state machine: wait
	// until AppliedIndex reaches it (entries of the journal's own, which the state machine never sees, are left out).
	CommitIndex() uint64
	// Leadership tells of every gain (term > 0) and loss (term 0) of leadership, in order; the latest state replaces
	// ones not yet seen. It returns ctx.Err() when ctx ends, and dfs.Unavailable when the journal was closed or has
	// failed. It has one caller.
	Leadership(ctx context.Context) (term uint64, err error)
	// Leader is the current leader's member id; "" when unknown.
	Leader() string
	// Members lists the quorum as this member knows it. Add joins or updates a voter, Remove drops one, Transfer hands
	// leadership over ("" picks the most advanced); these three are refused with NotLeader elsewhere.
	Members(ctx context.Context) ([]Member, error)
	Add(ctx context.Context, m Member) error
	Remove(ctx context.Context, id string) error
	Transfer(ctx context.Context, id string) error
	// Snapshot takes a snapshot now, trims the log to what the state machine has flushed, and returns the newest
	// snapshot's index.
	Snapshot(ctx context.Context) (uint64, error)
	Status() Status
	io.Closer
}
