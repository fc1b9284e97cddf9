// Package raftjournal is the journal of production: hashicorp/raft on a raft-wal log, with snapshots that are hard-linked
// checkpoints of the state machine. It owns one directory (lock file, log, snapshots) and one TCP address; it never looks
// into entries or into the state machine's files. The master opens it.
//
// # Where an entry is
//
// INV-1: every committed entry is in this member's log, or its effects are in the state that the state machine has
// flushed, or in the newest snapshot on this disk. The log is trimmed only behind a snapshot that is complete and synced,
// and taking one flushes the state machine. Open checks the chain: it restores the snapshot when the state is older, it
// replays the log above the applied index, and it refuses to start when an entry is missing.
//
// A start never copies the state: NoSnapshotRestoreOnStart is set, and the state machine comes with what it had flushed.
//
// # Order
//
// INV-2: a proposal enters Raft in the call of Propose and never later; at most three are in Raft at a time. Raft gives
// indexes in the order of entry, and when it refuses one in a term (a failed write, a lost leadership) it refuses all
// later ones of that term. Leadership transfers, during which Raft would refuse some and take later ones if the transfer
// fails, wait until nothing is in flight and hold new proposals back.
//
// # A disk that fails
//
// A full disk fails the proposal with dfs.NoSpace and the leadership with it. The log is closed and opened before the next
// write, as a restart would, at most a few times a second (logstore.go); its last segment is settled first, since raft-wal's
// recovery leaves one that was being sealed unusable (tail.go). So all heals when there is space again. Terms and votes are
// written in place into a file that has its space from the start, since hashicorp/raft panics when it cannot save them
// (metafile.go, stable.go).
//
// An entry that cannot be read back (every one carries a CRC32C from its proposal to its application) stops this member with
// dfs.Corrupted; the others go on.
package raftjournal
