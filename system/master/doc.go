// Package master is the master process: it serves Metadata to clients, Blocks to workers and Admin to operators, on the
// namespace's state machine and a journal. One master leads; the others follow and name the leader. It owns the leader's
// soft state (block map, worker registry, under-store handles, upkeep tasks). Package node builds it.
package master
