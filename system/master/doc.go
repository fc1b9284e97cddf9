// Package master is the master process: it serves Metadata to clients, Blocks to workers and Admin to operators, on the
// namespace's state machine and a journal. One master leads; the others follow and name the leader. It owns the leader's
// soft state (block map, worker registry, under-store handles, upkeep tasks). Package node builds it.
//
// # A batch
//
// Operations of one batch come from callers that do not wait for each other, so their order is free. Mutations that the
// namespace alone can judge are evaluated first and commit together. Reads share one proof of leadership. What must ask
// an under store runs in tasks, at most maxSlowOperations of a leader at a time, so that a store that hangs holds up
// nothing but itself; slow.go says what keeps their answers exact when callers give up and ask again.
//
// # Leaderships
//
// Everything that a leader knows beyond the applied state hangs on one leadership and ends with it: the evaluator, the
// proofs for reads, who was told to persist what, when each session was heard. Master.leading is held while one starts
// or ends, so there is never more than one. A request keeps the leadership that it began with; when that ends, its
// evaluator refuses, and the client goes to the next leader with the same sequence.
//
// # Two trees
//
// The under store changes first and the namespace after it, under a claim on the paths:
//
//   - INV-1 What the namespace calls Persisted was seen in the store by this master, or by the worker that wrote it, with
//     the fingerprint that is logged. What a client says of it is not believed.
//   - INV-2 Between the change of the store and the entry that follows it, the claim is held: nobody syncs or changes
//     these paths. A crash between leaves the store ahead, never the namespace; the retry goes on from there.
//   - INV-3 What a removal or rename takes away is gone from the store as well, also what an earlier version left there,
//     or the next sync would bring it back.
//   - INV-4 Files that only Forebay has are never dropped for what a store says (contract C3).
//
// # Locks
//
// Master.leading is the outermost and the only one that is held while waiting. Under it, or alone: leadership.mu,
// persister.mu, readIndex.mu, stores.mu, each for a few lines in memory, none inside another except that persister.mu is
// held while the registry and the block map, which call nobody, are asked. Claims are not locks: they are taken all at
// once (namespace.Evaluator.Claim), so they cannot deadlock, and released on every path by the function that took them.
package master
