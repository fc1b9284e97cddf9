package raftjournal

import (
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
)

// fsm shows the state machine to Raft.
// Raft calls ApplyBatch, Snapshot and Restore from one task, and Persist from another.
type fsm struct {
	journal *Journal
	sm      journal.StateMachine

	restoreMu sync.Mutex // Restore against Checkpoint, which Raft runs beside it
}

var _ raft.BatchingFSM = (*fsm)(nil)

// ApplyBatch implements raft.BatchingFSM. Configurations come too, and are Raft's own business; entries that the state
// machine has (it came with them, or took them from a checkpoint) are skipped.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	entries := make([]journal.Entry, 0, len(logs))
	places := make([]int, 0, len(logs))
	// Read once: only this task moves it, and Restore does not run beside this.
	applied := f.sm.AppliedIndex()
	for i, l := range logs {
		if l.Type != raft.LogCommand || l.Index <= applied {
			continue
		}
		if !intact(l) {
			f.journal.fail(corruptedError("apply entry", f.journal.config.Dir, "entry %d does not match its checksum", l.Index))
			runtime.Goexit() // ends Raft's task for the state machine: nothing may be applied behind this
		}
		entries = append(entries, journal.Entry{Index: l.Index, Data: l.Data})
		places = append(places, i)
	}
	if len(entries) == 0 {
		return answers
	}
	// An answer is an answer to the proposal. That an entry was refused is no failure of the journal, and is the same at each
	// member.
	refusals := f.sm.Apply(entries)
	if len(refusals) != len(entries) {
		panic(fmt.Sprintf("raftjournal: the state machine gave %d answers to %d entries", len(refusals), len(entries)))
	}
	for i, err := range refusals {
		if err != nil {
			answers[places[i]] = err
		}
	}
	return answers
}

// Apply implements raft.FSM; with BatchingFSM it is not called.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// Snapshot implements raft.FSM. Everything is left to Persist, so that Apply goes on meanwhile. The checkpoint then has
// entries above Raft's index of the snapshot, which replay skips.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	return &checkpointer{fsm: f, least: f.sm.AppliedIndex()}, nil
}

// checkpointer takes a checkpoint into a sink of ours.
type checkpointer struct {
	fsm   *fsm
	least uint64 // what Raft's index of the snapshot stands for
}

// Persist implements raft.FSMSnapshot.
// A failure leaves the sink to Raft, which cancels it: its directory is temporary until it is closed. Nothing of
// the state machine has changed.
func (c *checkpointer) Persist(sink raft.SnapshotSink) error {
	s := sink.(*snapshotSink) // our store made it
	c.fsm.restoreMu.Lock()
	defer c.fsm.restoreMu.Unlock()
	// Apply goes on beside this: the checkpoint may be ahead of Raft's index of the snapshot, never behind it.
	index, err := c.fsm.sm.Checkpoint(s.stateDir())
	if err != nil {
		return err
	}
	if index < c.least {
		return fmt.Errorf("checkpoint at %d, but %d was applied", index, c.least)
	}
	s.description.StateIndex = index
	return nil
}

// Release implements raft.FSMSnapshot.
func (c *checkpointer) Release() {}

// Restore implements raft.FSM: a snapshot from the leader has arrived.
func (f *fsm) Restore(rc io.ReadCloser) error {
	if w, ok := rc.(raft.ReadCloserWrapper); ok {
		rc = w.WrappedReadCloser()
	}
	r, ok := rc.(*snapshotReader)
	if !ok {
		return fmt.Errorf("raftjournal: a snapshot of type %T, not of its own store", rc)
	}
	return f.restore(r.store, r.snapshot)
}

// restore gives the state machine a copy of a snapshot's state, of hard links, to consume.
// An error leaves the state machine wherever it failed; the next start
// restores from the same snapshot.
func (f *fsm) restore(store *snapshotStore, snap *snapshot) error {
	f.restoreMu.Lock()
	defer f.restoreMu.Unlock()
	fs := store.fs
	// The suffix makes the next start remove what a crash leaves of it. The snapshot itself stays whole: the state machine
	// gets links to consume, and if it fails half-way, or the machine crashes, the restore begins again from the snapshot.
	dir := snap.dir + ".restore" + temporarySuffix
	if err := fs.RemoveAll(dir); err != nil && fs.exists(dir) {
		return diskError(err, "restore snapshot", dir)
	}
	if err := fs.linkTree(snap.stateDir(fs), dir); err != nil {
		return diskError(err, "restore snapshot", dir)
	}
	if err := f.sm.Restore(dir); err != nil {
		return err
	}
	if fs.exists(dir) {
		if err := fs.RemoveAll(dir); err != nil {
			return diskError(err, "restore snapshot", dir)
		}
	}
	if applied := f.sm.AppliedIndex(); applied != snap.description.StateIndex {
		return dfs.Errorf(dfs.Corrupted, "restore snapshot", snap.dir, "the state is at %d, the snapshot says %d", applied,
			snap.description.StateIndex)
	}
	return nil
}
