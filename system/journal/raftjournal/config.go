package raftjournal

import (
	"log/slog"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
)

// Config says who a member is and how it behaves. Host, ID and Dir are required; zero values elsewhere mean the defaults.
type Config struct {
	Host host.Host
	// ID names the member for ever.
	ID string
	// Dir holds the member's lock, log and snapshots. Keep it on the file system of the state machine's files: snapshots
	// are hard links to them.
	Dir string
	// BindAddr is where the journal's transport listens. "127.0.0.1:0".
	BindAddr string
	// AdvertiseAddr is how the others reach it, "host:port"; a name is resolved at each connection. The bound address.
	AdvertiseAddr string
	// Peers is the first quorum, this member included, with the same list at each of them. It counts only while the
	// directory is new. Empty: this member waits until the leader adds it.
	Peers []journal.Member

	Timing Timing

	// SnapshotEntries and SnapshotBytes make a snapshot, and trim the log, once the log above the last one has as many.
	// 100,000; 256 MiB.
	SnapshotEntries uint64
	SnapshotBytes   int64
	// TrailingLogs are kept behind a snapshot, so that a follower that is a little behind needs no snapshot, unless they
	// take more than TrailingBytes. 10,000; 64 MiB.
	TrailingLogs  uint64
	TrailingBytes int64
	// SegmentBytes is the size of the log's files, which get their space when they are made. 64 MiB.
	SegmentBytes int

	// Logger hears what an operator should know. slog.Default().
	Logger *slog.Logger
}

// Timing is about noticing that a leader is gone. With the defaults a follower notices after 250 to 500 ms, and writes go
// on within a second, on two loaded cores.
type Timing struct {
	// Heartbeat is how long a follower hears nothing from the leader before it asks for an election (one to two times
	// this). The leader sends ten heartbeats in it. 250 ms.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes (one to two times this). 250 ms.
	Election time.Duration
	// Lease is how long a leader goes on without hearing from a quorum; at most Heartbeat. 200 ms.
	Lease time.Duration
	// TrimInterval is how often the size of the log is looked at. 1 s.
	TrimInterval time.Duration
}

// Limits.
const (
	// MaxEntryBytes bounds one proposal. With maxAppendEntries it bounds what replication holds in memory.
	MaxEntryBytes = 4 << 20
	// MaxInFlight is how many proposals are in Raft at a time. Three keep the disk busy (one being synced, one being
	// prepared, one being applied) and let the next ones grow into larger batches meanwhile: 296k operations a second
	// against 105k without this (DESIGN section 14).
	MaxInFlight = 3
	// maxAppendEntries bounds the entries in one message to a follower and in one batch for the state machine.
	maxAppendEntries = 64
	// cacheBytes bounds the recent entries that followers are served from memory.
	cacheBytes = 16 << 20
)

// setDefaults fills in what is zero and refuses what cannot work. That the directory is usable, Open finds out.
func (c *Config) setDefaults() error {
	if c.Host == nil || c.ID == "" || c.Dir == "" {
		return dfs.Errorf(dfs.InvalidArgument, "open journal", c.Dir, "Host, ID and Dir are needed")
	}
	setDefault(&c.BindAddr, "127.0.0.1:0")
	setDefault(&c.Timing.Heartbeat, 250*time.Millisecond)
	setDefault(&c.Timing.Election, max(250*time.Millisecond, c.Timing.Heartbeat))
	setDefault(&c.Timing.Lease, min(200*time.Millisecond, c.Timing.Heartbeat))
	setDefault(&c.Timing.TrimInterval, time.Second)
	setDefault(&c.SnapshotEntries, 100_000)
	setDefault(&c.SnapshotBytes, 256<<20)
	setDefault(&c.TrailingLogs, 10_000)
	setDefault(&c.TrailingBytes, 64<<20)
	setDefault(&c.SegmentBytes, 64<<20)
	setDefault(&c.Logger, slog.Default())
	if len(c.Peers) > 0 {
		for _, p := range c.Peers {
			if p.ID == c.ID {
				return nil
			}
		}
		return dfs.Errorf(dfs.InvalidArgument, "open journal", c.Dir, "the first quorum does not list this member, %q", c.ID)
	}
	return nil
}

// setDefault takes zero for "not given".
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// never is an interval that does not come: the journal decides by itself when to take snapshots.
const never = 24 * 365 * time.Hour

// raft is the configuration of the library.
// What differs from its defaults on purpose: a removed member goes on until it is closed; Open has
// restored the snapshot before Raft starts; snapshots are taken by trimLoop alone.
func (c *Config) raft() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.HeartbeatTimeout = c.Timing.Heartbeat
	rc.ElectionTimeout = c.Timing.Election
	rc.LeaderLeaseTimeout = c.Timing.Lease
	rc.CommitTimeout = 20 * time.Millisecond
	rc.MaxAppendEntries = maxAppendEntries
	rc.BatchApplyCh = true
	rc.ShutdownOnRemove = false
	rc.NoSnapshotRestoreOnStart = true
	rc.NoLegacyTelemetry = true
	rc.TrailingLogs = c.TrailingLogs
	rc.SnapshotInterval = never
	rc.SnapshotThreshold = math.MaxUint64
	return rc
}
