// Package host is the seam between Forebay's code and the world: time, tasks, randomness, network and disk.
//
// It owns the Host interface, the real implementation of it, and the waiting helpers (Queue, Mutex, Semaphore, Group,
// Ticker) that are built on nothing but Host, so that they behave alike on a machine and in the simulator. It never
// knows what runs on it. Everything under system/ calls it; TestSeam (system/seam_test.go) refuses what goes around it.
//
// Rules for code that runs on a Host:
//
//   - A task that waits does so in Host.Sleep, Event.Wait or a helper of this package, or in a gRPC call. Bare
//     channels, select, and sync.Cond are invisible to virtual time.
//   - A sync.Mutex may guard memory but is never held while waiting. Mutex of this package may be.
//   - Deadlines come from Host.WithTimeout; context.WithTimeout would run on the machine's clock.
//
// # The waiting helpers
//
// Each has a sync.Mutex of its own that guards its memory, and parks waiters on Events of the Host. Three rules hold for all
// of them. A wake-up is given to one waiter, never to all, so that no herd runs. Who is woken while its context ends
// passes the wake-up on, so that none is lost. Events are set after the mutex is released, since a host may run the waiter
// at once. What they wait for ends with the caller's context and its error; what they were waiting for is then not taken.
//
// # Real and virtual
//
// Real is the machine. hosttest.Virtual has a clock that moves when all tasks wait, one task at a time, and no network; it
// is for tests of waiting. The simulator has a third Host, with a network and faults. Code cannot tell them apart, except
// by what it must not rely on: that time passes while it computes, and that two tasks run at the same moment.
package host

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
)

// Host is one node's view of its surroundings.
type Host interface {
	// Now is this node's clock. It can jump: use it for stamps, and Sleep for durations.
	Now() time.Time
	// Sleep waits d, or returns ctx.Err() when ctx ends first.
	Sleep(ctx context.Context, d time.Duration) error
	// Go starts a task of this node. The name appears in traces; the task ends with the node.
	Go(name string, task func())
	// NewEvent makes a one-shot latch.
	NewEvent() Event
	// WithCancel is context.WithCancel on this host.
	WithCancel(ctx context.Context) (context.Context, context.CancelFunc)
	// WithTimeout is context.WithTimeout on this host's clock.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// Rand is this node's random stream, safe for concurrent use. It is not for secrets: a simulated host's stream is
	// repeated by its seed.
	Rand() *rand.Rand
	// Dial makes a connection to target ("host:port"). It does not wait for the server.
	Dial(target string) (Conn, error)
	// Listen opens addr ("host:port", port 0 for any). Register services, then Serve.
	Listen(addr string) (Server, error)
	// FS is this node's disk.
	FS() vfs.FS
}

// Event is a one-shot latch: once set it stays set.
type Event interface {
	// Set releases every waiter, present and future. Further calls do nothing.
	Set()
	// Wait returns nil once the event is set, or ctx.Err().
	Wait(ctx context.Context) error
	// IsSet tells without waiting.
	IsSet() bool
}

// Conn is a client's connection to one server, shared by all tasks of a process.
// Close ends the calls under way with an error. Who dialed closes it; rpc.Pool does for all of a process.
type Conn interface {
	grpc.ClientConnInterface
	Close() error
}

// Server is a listening gRPC server.
//
// Stop must be called in the end also when Serve was not: it gives the port back. No call
// starts after it has returned.
type Server interface {
	grpc.ServiceRegistrar
	// Addr is the bound address, "host:port".
	Addr() string
	// Serve starts answering in the background. Register everything first.
	Serve()
	// Stop refuses new calls and waits for running ones until ctx ends, then cuts them off and returns within a second,
	// even when one of them does not end.
	Stop(ctx context.Context)
}

// HolePuncher is implemented by a vfs.File whose host can give a range's space back. A file without it keeps the space
// until it is removed.
type HolePuncher interface {
	PunchHole(offset, length int64) error
}
