package raftjournal

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// ownEntries remembers which entries of the log are Raft's own (no-ops, barriers, configurations), so that a commit index
// can be told that the state machine will reach. There are few: one for each election, barrier and change of members.
//
// INV-1: of the indexes in since..next-1, those in indexes are Raft's own and the others are commands.
type ownEntries struct {
	mu      sync.Mutex
	since   uint64
	next    uint64
	indexes map[uint64]struct{}
}

// note hears of every entry that is stored.
func (o *ownEntries) note(l *raft.Log) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// A gap: what is known from before it cannot be told apart from what was not seen, so it is forgotten.
	if l.Index != o.next { // the first one, or the first one behind a snapshot from the leader
		o.since, o.indexes = l.Index, make(map[uint64]struct{})
	}
	o.next = l.Index + 1
	if l.Type != raft.LogCommand {
		o.indexes[l.Index] = struct{}{}
	}
}

// cutFrom hears that a suffix of the log was removed.
func (o *ownEntries) cutFrom(index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if index >= o.next {
		return
	}
	o.next = max(index, o.since)
	for i := range o.indexes {
		if i >= index {
			delete(o.indexes, i)
		}
	}
}

// forget drops what is at or below index, which the state machine has applied.
func (o *ownEntries) forget(index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if index < o.since || index >= o.next {
		return
	}
	o.since = index + 1
	for i := range o.indexes {
		if i <= index {
			delete(o.indexes, i)
		}
	}
}

// known tells whether index is Raft's own, if it was seen.
// Unseen is what was stored before this process began, or forgotten: the log itself is asked then.
func (o *ownEntries) known(index uint64) (own, seen bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, own = o.indexes[index]
	return own, index >= o.since && index < o.next
}

// count is how many are remembered.
func (o *ownEntries) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.indexes)
}

// ownEntriesKept is how many are remembered before the applied ones are forgotten.
const ownEntriesKept = 256

// lastCommand is the highest command at or below index, or applied when all commands up to index are applied.
// An entry that cannot be read counts as a command: a reader that waits for it is late or in vain, never served
// old data.
func (s *logStore) lastCommand(index, applied uint64) uint64 {
	// The bound, at the reader: elections and barriers without reads in between are few.
	if s.own.count() > ownEntriesKept {
		s.own.forget(applied)
	}
	for ; index > applied; index-- {
		own, seen := s.own.known(index)
		if seen && own {
			continue
		}
		// A command ends the search, so the loop is as long as the run of Raft's own entries at the end.
		if seen {
			return index
		}
		var l raft.Log
		err := s.GetLog(index, &l)
		switch {
		case errors.Is(err, raft.ErrLogNotFound): // a snapshot covers it, and with it the state
			return applied
		case err != nil || l.Type == raft.LogCommand:
			return index
		}
	}
	return applied
}
