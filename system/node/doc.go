// Package node builds processes from their configuration and a host: a master, a worker, or a whole cluster in one
// process for trying out (Up). It owns start and stop order, probes and metrics, and no behaviour. The command line and
// tests call it.
package node

// Version is the build's, set by the linker.
var Version = "dev"
