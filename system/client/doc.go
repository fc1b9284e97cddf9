// Package client is the public Go API of Forebay: a namespace and its files, as seen by one process. It owns the routing
// to masters and workers, retries, the session with the master, placement and the data streams. It never caches
// metadata or pages across calls, and holds no state that a restart would miss. Gateways, FUSE, jobs and the command
// line are its callers.
//
// A Client is safe for concurrent use and meant to be shared: concurrent callers' metadata operations travel together
// (rpc.Coalescer), and there is one connection per server. As gives a view of the same client for another identity.
//
// # Time
//
// Every operation ends: with its context, or after Config.Timeout when the context has no deadline. The context given to
// Open and Create belongs to the File or Writer: when it ends, reading and writing end.
//
// # Exactly once
//
// A mutation carries the session's id and a sequence number of its own, and every retry of it the same ones, so that the
// master can tell a retry from a new request (contract C2). A mutation fails in three ways: with an error of the master,
// and nothing happened; with DeadlineExceeded or Canceled, and its outcome is unknown; with SessionExpired, when the
// master forgot the session while the outcome was in doubt. An operation that provably never started is retried in a new
// session.
//
// # Reading
//
// Blocks of a file in the under store are read from the worker that rendezvous hashing names, so that each is fetched
// once, and from the next ones in rank when that fails. Blocks that only workers have are read from their holders. Every
// chunk's checksum is verified; a bad chunk is read again from another worker. An open File reads the version that it
// opened (contract C4).
//
// # Writing
//
// A Writer's file becomes visible at Close, which returns once the data is where its write type wants it. A worker's
// death is survived as long as the bytes that it had not yet acknowledged, at most one block of at most 64 MiB, are
// still buffered.
//
// # The life of an operation
//
// A call of Client makes an operation (proto.Operation) and gives it to read or mutate. mutate takes a place among the
// outstanding mutations, the session, which is opened at need, and a sequence. execute then runs attempts until one is
// answered: each asks the master that probably leads (masters), either in a batch with other callers' operations (route
// shared) or in a call of its own (alone). An answer of NotLeader or Unavailable moves the guess, for all callers at once.
// Between attempts it waits (retrier): exponentially longer with jitter, and for a token of the budget that the whole
// process draws from. What is slow by nature, because an under store is asked or the answer is large, goes alone, so that
// it does not hold up the answers of a batch, and has a session of its own, so that it does not keep the master from
// forgetting the others'.
//
// # The life of a read
//
// File asks content for a rangeReader over one range of one block. It takes the candidates (content.candidates): workers
// in rank order if any of them can fill the block from the under store, else those that hold it. It opens a rangeStream
// at the first, verifies each chunk, and goes on where it stopped at the next candidate when one fails. A round asks each
// candidate once; between rounds it waits as every retry does, and finds the candidates anew. What no retry can help, such
// as DataLost or Stale, ends it. Sequential reads keep one rangeReader open ahead of the position, over ranges that double.
//
// # The life of a write
//
// Writer cuts the bytes into pages, which never cross a block, and hands each to a sink, which the write type chooses:
// blockSink sends each block to as many workers as copies are wanted; throughSink streams the whole file to the under
// store through one worker, and copies of blocks beside it to the workers that readers will ask. Both send by upload, which
// keeps what it sent and starts over at another worker when one fails. Close commits the last block, then completes the
// file at the master with the places of its blocks: the file appears whole, or not at all.
//
// # Silence
//
// A connection that breaks is noticed by its keep-alive. A server that answers pings and nothing else is noticed by a watch:
// of masters by probes (rpc.Coalescer), of workers by time without progress (stallWatch), from half of Config.Timeout on.
//
// # When things fail
//
// A master dies: calls in flight end as Unavailable or by a probe, the guess moves, and they are tried again within
// their own time, mutations with their sequence. A worker dies: reads go on at the next one where they stopped, writes
// from the beginning of what they keep; it is suspected for ten seconds and asked last. No master leads: open files are
// read on, by the last list of workers and, where only workers have the data, the holders already known; all else
// waits. The client dies: what it had not closed stays invisible, and the master forgets its sessions and clears its
// unfinished files away. A worker's data is damaged: the checksum shows it, another worker is asked, and Stats counts
// it.
//
// # Locks
//
// A sync.Mutex here guards memory and is never held while waiting; the mutexes of package host are those that are:
// sessions.opening, workerList.loading, File.turn and File.exchanging. At most one of those is held at a time, but that
// turn is held while a read looks for workers (loading) or for another version (exchanging); and loading is the innermost,
// under which only the master is asked.
//
// # Contexts
//
// An operation that ends by its context ends at once, whatever it waits for: each wait here is one of package host, or a call
// of gRPC. What it leaves behind ends by itself: an operation that has gone out in a batch is answered to nobody, a stream is
// cancelled with its owner. Only the farewell of a Writer outlives its context, by abandonTimeout at most.
//
// # Bounds
//
// Outstanding mutations (4,096 for each route), masters known (16), connections (rpc.Pool), bytes kept by writers (64 MiB
// each, 512 MiB in a process), holders of blocks remembered for an open file (about 4,096), candidates in a round (4 for
// a block that any worker can fill), retries (the budget delays them, the caller's time ends them). At each bound callers
// wait, except that a writer that finds no room to keep its bytes goes on without, and then a worker's death fails its file.
package client
