package raftjournal

import (
	"context"

	"github.com/hashicorp/raft"
)

// watchLeadership is the task that hears from Raft. Raft waits for it to take each change, so between a gain and the loss
// that follows, the term that it reads is the term of this leadership, or the loss is on its way.
// It ends when stop closes notify, after Raft has ended.
func (j *Journal) watchLeadership() {
	for gained := range j.notify {
		term := uint64(0)
		if gained {
			term = j.raft.CurrentTerm()
			if j.raft.State() != raft.Leader {
				continue // it is lost already, and the loss of what nobody heard of is no news
			}
		}
		j.setTerm(term)
	}
}

// setTerm wakes the one who waits in Leadership. A gain that is lost before it was told is never told: told is compared
// with the present term, so that only the latest state counts, and two leaderships in a row differ by their terms.
func (j *Journal) setTerm(term uint64) {
	j.mu.Lock()
	old := j.changed
	j.term = term
	j.changed = j.host.NewEvent()
	j.mu.Unlock()
	old.Set()
}

// Leadership implements journal.Journal.
// One task calls it at a time: each change is told once, to whoever asks first. ctx ends the wait and loses no
// change.
func (j *Journal) Leadership(ctx context.Context) (uint64, error) {
	for {
		j.mu.Lock()
		// A change comes before the end of the journal: stop sets the term to 0, and the master has to hear of that loss
		// to stop acting as a leader before it hears that nothing more will come.
		if j.told != j.term {
			j.told = j.term
			defer j.mu.Unlock()
			return j.term, nil
		}
		err := j.stoppedError("watch leadership")
		changed := j.changed
		j.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if err := changed.Wait(ctx); err != nil {
			return 0, err
		}
	}
}
