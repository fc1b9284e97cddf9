// Package node builds processes from their configuration and a host: a master, a worker, or a whole cluster in one
// process for trying out (Up). It owns start and stop order, probes and metrics, and no behaviour. The command line and
// tests call it.
//
// # Start
//
// A process listens first, so that a port in use costs nothing, then opens its state, then its HTTP door, then serves. A
// step that fails gives back what the steps before it have taken, by the same Stop that ends a process that runs: parts
// that were never opened are nil there. The first error is the one that is told.
//
// # Stop
//
// Stop goes the other way: the door, the server, the service, the files. It may be called more than once and by several
// tasks at a time; it runs once (once). Its context bounds the waits of each step; what does not end by then is cut off,
// and everything is closed all the same, so that a process always ends.
//
// # Kill
//
// Nothing here is needed for the data's safety: a process that is killed loses what it had not acknowledged, and its next
// start recovers from journal, stores and tiers.
//
// # What is wired here
//
// A master is journal, inode store and service on one gRPC server, and stores opened through opener. A worker is tiers,
// service and a client of its own, which reads what other workers hold when it is told to replicate or persist that. Both
// get everything through the host, except the HTTP door and the folders that they make, which are the machine's: the
// simulator builds its nodes itself.
//
// # An embedded cluster
//
// Up is these parts several times in one process, on ports counted from one number and in folders below one directory.
// What must be the same at the next start is in cluster.json there (layout). It has no code path of its own: whatever works
// in it works on several machines.
package node

// Version is the build's, set by the linker.
var Version = "dev"
