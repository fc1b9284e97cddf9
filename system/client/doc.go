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
package client
