package raftjournal

import (
	"context"
	"errors"

	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/host"
)

// trimLoop is the task that keeps the log bounded, on every member by itself, a lone one too.
// After a failure it tries again at the next tick: a disk that is full may have room then. It ends with the
// journal.
func (j *Journal) trimLoop() {
	// Raft's own loop looks at entries only, and at random times; it is switched off (never, in config.go).
	ticker := host.NewTicker(j.host, j.config.Timing.TrimInterval)
	marked := int64(0) // log.appended at the last snapshot
	for ticker.Wait(j.ctx) == nil {
		entries, bytes := j.untrimmed(), j.log.appended.Load()-marked
		if entries < j.config.SnapshotEntries && (bytes < j.config.SnapshotBytes || entries == 0) {
			continue
		}
		// Before the snapshot: what is appended while it is being taken counts for the next one.
		mark := j.log.appended.Load()
		if _, err := j.Snapshot(j.ctx); err != nil {
			if j.ctx.Err() == nil {
				j.logger.Error("no snapshot, so the log grows", "error", err)
			}
			continue
		}
		marked = mark
	}
}

// untrimmed is how many entries lie above the newest snapshot.
// A log that is being reopened has none to trim: 0.
func (j *Journal) untrimmed() uint64 {
	last, err := j.log.LastIndex()
	if err != nil {
		return 0
	}
	if snap := j.snapshots.newest(); snap != nil {
		last -= min(last, snap.description.Raft.Index)
	}
	return last
}

// Snapshot implements journal.Journal. With nothing new it leaves the present snapshot as it is.
// It runs on any member, at any time, beside proposals. It fails when the disk has no room for the links and files of a
// checkpoint; the log then stays as long as it is.
// When ctx ends first it goes on, and nobody hears of its end (await). The index is that of the newest snapshot, 0
// when there is none.
func (j *Journal) Snapshot(ctx context.Context) (uint64, error) {
	j.setTrailing()
	err := j.await(ctx, "snapshot", func() raft.Future { return ignoreNothingNew{j.raft.Snapshot()} })
	if err != nil {
		return 0, err
	}
	if snap := j.snapshots.newest(); snap != nil {
		return snap.description.Raft.Index, nil
	}
	return 0, nil
}

// ignoreNothingNew makes "nothing new to snapshot" a success.
type ignoreNothingNew struct{ raft.SnapshotFuture }

// Error implements raft.Future.
func (f ignoreNothingNew) Error() error {
	if err := f.SnapshotFuture.Error(); !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	return nil
}

// setTrailing bounds the entries that stay behind a snapshot by their bytes, too: Raft knows only a number.
func (j *Journal) setTrailing() {
	trailing := j.config.TrailingLogs
	if entries := j.untrimmed(); entries > 0 {
		average := uint64(j.log.appended.Load())/entries + 1 // too high after a snapshot, which keeps fewer
		trailing = min(trailing, uint64(j.config.TrailingBytes)/average)
	}
	// Raft reads this when it trims behind the snapshot that the caller takes next.
	rc := j.raft.ReloadableConfig()
	rc.TrailingLogs = trailing
	if err := j.raft.ReloadConfig(rc); err != nil {
		j.logger.Error("trailing logs", "error", err)
	}
}
