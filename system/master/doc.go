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
//
// # The life of a request
//
// Execute and Stream take a batch to the leadership of that moment (execute), which notes that the session lives and
// makes an execution. Each operation goes one of three ways:
//
//   - fast (mutations.go): evaluated at once against the namespace, and answered when its entry is applied;
//   - read (reads.go): answered from the applied state inside a View, after one proof of leadership for the batch;
//     where the answer is too old for the sync interval, syncread.go asks the store and answers again;
//   - slow (slow.go, dispatch.go): in a task, with one of the leader's places, after a look for its remembered answer.
//     The functions behind dispatch load what the namespace does not know, claim the paths, check, change the store, and
//     then log.
//
// Results keep the places of their operations. Errors that rest on the namespace are settled first: what they were
// judged on is applied, and this master still leads, or the client is sent on.
//
// # What becomes of a file's bytes
//
// The master sees no content. A writer tells where its blocks are when it completes a version; a worker tells what it
// holds when it registers and with each heartbeat. The block map keeps both as hints. Files that were written with
// ASYNC_THROUGH stand in a logged queue until a worker has written them to the store and publish has logged that; the
// persister tells workers which, one page at a time. What is removed, replaced or freed is told to the workers that
// hold it, as a command of their next heartbeat; a lost command costs place and never truth, since versions are not
// used again.
//
// # Bounds
//
// Everything that a client, a worker or a store can make grow has one: operations in a batch, batches in a stream,
// slow operations, sessions, answers of a session, files of a report, blocks of an answer, commands of a worker,
// registrations, files being persisted, reports being taken in. At a bound the caller waits, with its own deadline, or
// is refused with ResourceExhausted or InvalidArgument; which of the two lies beside the constant.
//
// # Failures
//
//   - A client that gives up: its fast mutations go on and are remembered; its slow ones go on when they change a store,
//     and are cut off when they do not.
//   - A store that hangs or is away: operations on its mount wait, up to their deadline or slowLimit; reads are answered
//     from the namespace where it knows the answer; all other mounts are served.
//   - A disk that refuses the journal: the leadership ends and begins anew while the term goes on (watch), and clients
//     hear the reason meanwhile.
//   - A worker that is lost: its blocks leave the map, what it was persisting is told to another holder, and it
//     registers anew when it comes back.
//   - A leader that dies: the next one passes its Barrier, begins an epoch, and starts with an empty block map; for
//     SafeStart and until the workers have registered it calls nothing lost.
package master
