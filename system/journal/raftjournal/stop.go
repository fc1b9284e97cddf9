package raftjournal

import (
	"errors"
	"runtime"

	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
)

// Close implements journal.Journal. A leader hands over first, so that nobody waits for an election.
// It waits for Raft's tasks, and returns the first errors of transport, Raft and disk together. Proposals under way are answered, with an open outcome.
// It may be called more than once, and after a failure.
func (j *Journal) Close() error {
	if j.raft.State() == raft.Leader && j.otherVoters() {
		ctx, cancel := j.host.WithTimeout(background, 2*j.config.Timing.Election)
		if err := j.Transfer(ctx, ""); err != nil {
			j.logger.Warn("leadership was not handed over", "error", err)
		}
		cancel()
	}
	return j.stop(nil)
}

// otherVoters tells whether there is anyone to hand leadership to.
func (j *Journal) otherVoters() bool {
	members, err := j.Members(background)
	if err != nil {
		return false
	}
	for _, m := range members {
		if m.Voter && m.ID != j.config.ID {
			return true
		}
	}
	return false
}

// fail stops this member because it cannot go on. It returns at once: Raft's tasks call it.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	if j.failure == nil && !j.closing {
		j.failure = err
		j.config.Logger.Error("journal: this member has stopped", "err", err)
	}
	j.mu.Unlock()
	j.host.Go("journal failure", func() { _ = j.stop(err) })
}

// stop ends everything; the first call does it, the others wait for it. Every answer that is still awaited is given.
func (j *Journal) stop(cause error) error {
	j.stopOnce.Do(func() {
		// The order matters. No new answers are registered; the tasks that wait for a disk end, since Raft's shutdown waits
		// for them; the transport goes before Raft, whose tasks may hang in a call to a dead peer; then Raft, the last one
		// to write; then the disk; and only now what Raft left unanswered is answered, so that a caller who hears of the
		// end finds the directory free.
		j.mu.Lock()
		j.closing = true
		j.mu.Unlock()
		j.cancel()
		err := j.transport.Close()
		err = errors.Join(err, j.raft.Shutdown().Error())
		close(j.notify)
		j.setTerm(0)
		err = errors.Join(err, j.closeDisk())
		j.resolveAll(cause)
		j.stopErr = err
		j.stopped.Set()
	})
	_ = j.stopped.Wait(background)
	return j.stopErr
}

// resolveAll answers what Raft has left unanswered.
func (j *Journal) resolveAll(cause error) {
	if cause == nil {
		cause = dfs.Errorf(dfs.Unavailable, "wait for the journal", "", "it was closed meanwhile; whether the proposal takes "+
			"effect is for the leader to tell")
	}
	j.mu.Lock()
	var all []*pending
	for p := range j.waiting {
		all = append(all, p)
	}
	j.mu.Unlock()
	for _, p := range all {
		p.resolve(0, cause)
	}
}

// logReader is the log as Raft sees it. hashicorp/raft panics, or asks again for ever, when it cannot read an entry; so
// while the disk does not work the read waits, and an entry that is damaged stops this member.
type logReader struct {
	*logStore
	journal *Journal
}

// GetLog implements raft.LogStore.
// It returns ErrLogNotFound only for what the log need not have; it may block until the disk works again or the
// journal stops, and then ends the task that called it.
func (l logReader) GetLog(index uint64, log *raft.Log) error {
	err := l.logStore.GetLog(index, log)
	for dfs.IsKind(err, dfs.Unavailable) && l.journal.running.Load() {
		if l.journal.host.Sleep(l.journal.ctx, stableRetryInterval) != nil {
			runtime.Goexit()
		}
		l.tryRepair()
		err = l.logStore.GetLog(index, log)
	}
	if err == nil || !l.journal.running.Load() || errors.Is(err, raft.ErrLogNotFound) && !l.has(index) {
		return err
	}
	// Readers take no lock against trimming, so the first look may have been at an entry that was just going.
	if err = l.logStore.GetLog(index, log); err == nil { // it has come, or was trimmed, in between
		return nil
	}
	return l.journal.unreadable(index, err)
}

// has tells whether the log ought to have the entry.
func (l logReader) has(index uint64) bool {
	first, err := l.FirstIndex()
	if err != nil || index < first || first == 0 {
		return false
	}
	last, err := l.LastIndex()
	return err == nil && index <= last
}

// unreadable stops this member because of its log. It does not return: it ends the task of Raft's that asked.
func (j *Journal) unreadable(index uint64, err error) error {
	if j.ctx.Err() == nil {
		j.fail(corruptedError("read log", j.config.Dir, "entry %d cannot be read: %v", index, err))
	}
	runtime.Goexit()
	return err
}
