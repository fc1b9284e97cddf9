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
package namespace
