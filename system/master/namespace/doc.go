// Package namespace is the master's logged state machine: the tree of inodes, sessions, mounts and everything else that
// must survive a failover.
//
// It has two halves. The Machine is every replica's: it applies committed entries blindly and in order, and serves reads
// of the applied state. The Evaluator is the leader's: it checks a request against the applied state plus the overlay of
// what is proposed and not yet applied, and logs plain effects. Package master is the caller of both.
//
// Invariants:
//
//   - INV-1 Apply never fails on what an Evaluator checked: an entry is a list of sets and deletes with no conditions.
//   - INV-2 Within one epoch (one leadership of one master) entries apply without a gap; an entry whose predecessor was
//     lost is refused as a whole, so nothing evaluated against a lost proposal takes effect.
//   - INV-3 A mutation is answered only after its entry is applied; an error that may stem from a pending proposal is
//     answered only after that proposal is applied.
//   - INV-4 A mutation's compact answer lies in the same entry as its effects (contract C2).
//   - INV-5 Applied state is read under Machine's read lock, so that a path lookup of several steps sees one state.
//   - INV-6 One evaluator of a process proposes at a time, and the next one's Barrier stands behind its last proposal.
//   - INV-7 No id is given out beyond the reservation that is logged in the same entry or an earlier one.
//
// Lock order: Evaluator.mu, then Machine.mu, then Machine.waitMu. Nothing waits under any of them.
//
// # The state
//
// The inode store holds the tree: an inode lies at (parent id, name), so a directory is one range of keys and a rename
// of it touches one inode, whatever lies below. Beside the inodes lie records, in tables of inodestore:
//
//   - location: where an inode is found by its id. Directories have one always; files only while something refers to
//     them by id (a pin, a TTL, content that is not in the under store yet), since most files of a large store are never
//     asked for by id.
//   - open write: who is writing which version of a file, and where the file is. It stands in for the location of a file
//     that has no content yet, so that a create writes two records and not three. A rename moves both.
//   - TTL, persist and garbage: the leader's lists of what is due, what waits to be persisted, and which removed
//     directories still have entries. They are found again after a failover since they are part of the state.
//   - session and mount, with what the process keeps of them in memory: the session table and the mount table are
//     derived from the records, by every replica, when an entry changes them and when it starts.
//
// Every function that changes an inode keeps its records in step in the same entry: reindex for a change, relocate for
// a rename, drop for a removal. Tests hold the records against the inodes (checkRecords).
//
// # The life of a mutation
//
// Evaluator.do waits for what stands in the way (a full batch, a claim), looks whether the session had this mutation
// evaluated before, and runs the operation on a txn: it checks against the overlay and gathers effects. An error drops
// the txn whole. Otherwise commit notes the effects in the overlay, so that the next request sees them, and adds them
// and the answer to the open batch. The commit loop closes the batch, proposes it as one entry and starts the next.
// The machine applies the entry in one step of the store; then the overlay lets the effects go, the leader's soft
// state is told, and the callers who wait on their tickets are answered.
//
// A follower, and a leader that starts anew, have the same entries and no overlay. They decode what the leader has in
// memory, and end with the same state: nothing in Apply looks at a clock, a random number, or anything else that is
// not in the entry.
//
// # Failures
//
// A proposal that the journal refuses ends the evaluator, since all later ones are refused by their gap (INV-2).
// Callers get Unavailable or NotLeader and ask the next leader with the same sequence; it knows from the state whether
// the mutation took effect. A store that cannot be read fails the operation that asked, before it has effects. A store
// that cannot be written stops the replica: the log says that the entry took effect.
package namespace
