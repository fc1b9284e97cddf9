package raftjournal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// background is for waits that end with the journal itself.
var background = context.Background()

const lockFileName = "LOCK"

// Open starts this member over sm, which comes with whatever it had flushed. It restores sm from the newest snapshot if
// that is newer, and returns before there is a leader; the log's entries arrive as the quorum confirms them. Errors:
// dfs.Unavailable when another process has the directory or the address, dfs.Corrupted when log, snapshot and state do
// not fit together or cannot be read.
// On an error nothing is left open and sm may be closed; otherwise the caller ends with Close, before it closes
// sm.
func Open(config Config, sm journal.StateMachine) (*Journal, error) {
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	j := &Journal{
		config:  config,
		host:    config.Host,
		fs:      fileSystem{config.Host.FS()},
		logger:  raftLogger(config.Logger),
		sm:      sm,
		slots:   host.NewSemaphore(config.Host, MaxInFlight),
		waiting: make(map[*pending]struct{}),
		changed: config.Host.NewEvent(),
		notify:  make(chan bool),
		stopped: config.Host.NewEvent(),
	}
	j.fsm = &fsm{journal: j, sm: sm}
	j.ctx, j.cancel = j.host.WithCancel(background)
	if err := j.open(); err != nil {
		j.cancel()
		return nil, errors.Join(err, j.closeDisk())
	}
	// From here on an entry that cannot be read stops the member; until here it is an error of Open.
	j.running.Store(true)
	j.host.Go("journal leadership", j.watchLeadership)
	j.host.Go("journal trim", j.trimLoop)
	return j, nil
}

// open takes what the journal owns, from the outside in: the directory's lock before anything in it is read, the snapshots
// before the log, since they tell where the log may begin, and Raft last, once INV-1 of the package holds. After an error
// the caller gives all of it back (closeDisk).
func (j *Journal) open() error {
	dir := j.config.Dir
	if err := j.fs.MkdirAll(dir, 0o755); err != nil {
		return diskError(err, "open journal", dir)
	}
	if err := j.fs.syncDir(j.fs.PathDir(dir)); err != nil {
		return diskError(err, "open journal", dir)
	}
	lock, err := j.fs.Lock(j.fs.PathJoin(dir, lockFileName))
	if err != nil {
		return &dfs.Error{Kind: dfs.Unavailable, Op: "open journal", Path: dir, Err: err, Detail: "another process has " +
			"this directory: stop it, or give this member a directory of its own; " + err.Error()}
	}
	j.lock = lock
	if j.snapshots, err = openSnapshots(j.host, j.fs, j.fs.PathJoin(dir, "snapshots")); err != nil {
		return err
	}
	if j.log, err = openLog(j.host, j.fs, j.fs.PathJoin(dir, "log"), j.config.SegmentBytes, j.logger); err != nil {
		return err
	}
	j.log.covered = func() uint64 {
		if snap := j.snapshots.newest(); snap != nil {
			return snap.description.Raft.Index
		}
		return 0
	}
	if err := j.recover(); err != nil {
		return err
	}
	return j.startRaft()
}

// recover establishes INV-1 of the package: state, snapshot and log make one chain, and every entry of it can be read.
func (j *Journal) recover() error {
	snap := j.snapshots.newest()
	if snap != nil && snap.description.StateIndex > j.sm.AppliedIndex() {
		if err := j.fsm.restore(j.snapshots, snap); err != nil {
			return err
		}
	}
	// Without a snapshot the log has to begin with the first entry.
	covered := uint64(0)
	if snap != nil {
		covered = snap.description.Raft.Index
	}
	first, err := j.log.FirstIndex()
	if err != nil {
		return diskError(err, "open journal", j.config.Dir)
	}
	last, err := j.log.LastIndex()
	if err != nil {
		return diskError(err, "open journal", j.config.Dir)
	}
	if last > 0 && last < covered {
		// A crash came between a snapshot from the leader and the removal of the log that it replaces. The log cannot be
		// continued behind a gap.
		if err := j.log.DeleteRange(first, last); err != nil {
			return err
		}
		first, last = 0, 0
	}
	return j.checkChain(first, last, covered)
}

// checkChain refuses a log that does not continue the snapshot, or ends before what the state has. It reads every entry
// above the snapshot once: a start costs that much, and in return no damaged entry is met later, when this member may lead.
func (j *Journal) checkChain(first, last, covered uint64) error {
	dir := j.config.Dir
	if first > covered+1 {
		return corruptedError("open journal", dir, "the log begins at entry %d, the newest snapshot ends at %d", first, covered)
	}
	// The state may be ahead of the snapshot's index by what was applied while it was taken, so only the log's end counts.
	if applied := j.sm.AppliedIndex(); applied > max(last, covered) {
		if snap := j.snapshots.newest(); snap == nil || applied > snap.description.StateIndex {
			return corruptedError("open journal", dir, "the state has entry %d, but log and snapshots end at %d: entries "+
				"that were acknowledged are missing", applied, max(last, covered))
		}
	}
	for index := max(covered+1, first); index <= last; index++ {
		var l raft.Log
		if err := j.log.GetLog(index, &l); err != nil {
			return corruptedError("open journal", dir, "entry %d cannot be read: %v", index, err)
		}
		j.log.appended.Add(int64(logBytes(&l)))
	}
	return nil
}

// startRaft starts the library, whose panics at the start are errors to us.
func (j *Journal) startRaft() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = corruptedError("start raft", j.config.Dir, "%v", r)
		}
	}()
	if j.transport, err = listen(&j.config, j.logger); err != nil {
		return err
	}
	rc := j.config.raft()
	rc.Logger = j.logger
	rc.NotifyCh = j.notify
	stable := &stableStore{host: j.host, ctx: j.ctx, meta: j.log.meta, logger: j.logger}
	if err := j.bootstrap(rc, stable); err != nil {
		return errors.Join(diskError(err, "bootstrap", j.config.Dir), j.transport.Close())
	}
	j.raft, err = raft.NewRaft(rc, j.fsm, logReader{j.log, j}, stable, j.snapshots, j.transport)
	if err != nil {
		return errors.Join(corruptedError("start raft", j.config.Dir, "%v", err), j.transport.Close())
	}
	return nil
}

// bootstrap writes the first quorum into a new directory. Each member of it writes the same one, so it does not matter who
// starts first, and a directory that has anything is left alone: its log knows the quorum better than the configuration.
// A member that joins a quorum later comes without peers, and waits until a leader adds it.
func (j *Journal) bootstrap(rc *raft.Config, stable raft.StableStore) error {
	exists, err := raft.HasExistingState(j.log, stable, j.snapshots)
	if err != nil || exists || len(j.config.Peers) == 0 {
		return err
	}
	var first raft.Configuration
	for _, p := range j.config.Peers {
		first.Servers = append(first.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID),
			Address: raft.ServerAddress(p.Address)})
	}
	return raft.BootstrapCluster(rc, j.log, stable, j.snapshots, j.transport, first)
}

// closeDisk gives back what open took. The lock goes last: the next owner may start as soon as it is free.
func (j *Journal) closeDisk() error {
	var err error
	if j.log != nil {
		err = j.log.close()
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("close journal %s: %w", j.config.Dir, err)
	}
	return nil
}

var _ io.Closer = (*Journal)(nil)
