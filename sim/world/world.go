// Package world is the machines of a simulation: each Node is a host.Host, so that masters, workers and clients run on it
// as they are, with a modelled network between them and a disk that a crash leaves as it would be.
//
// A World has one scheduler (package sched) and any number of nodes. A node's address is its name: it listens on
// "name:port", and others dial that. Crash ends its tasks, loses what its disk had not synced, and resets its connections;
// Restart gives it a new life on the disk that is left. Partitions, loss and slow links are the network's (Net).
//
// # The life of a call
//
// A conn connects at its first call: a round trip, then a session, which is two pipes, one each way. Each call sends its
// header through one pipe, in order with all that the connection carries; on arrival a task of the server's node runs the
// handler, and the status comes back behind the messages. Every message is encoded when it is sent and decoded when it is
// received, so that the ends share nothing. A call ends at its client once, by the first of: its status, its context's
// end, the connection's end; and at its server when the handler returns, whose context the latter two end as well.
//
// # What dies how
//
// A crash ends the node's tasks where they wait, and only then tells anybody: peers hear of it a message later, or when
// their keep-alive finds out if the way is cut. Nothing of an earlier life acts in a later one: sessions, servers and
// posted messages know the life that they belong to. Crash and Restart are called between tasks, by timers or between
// runs; cuts, loss and clocks may be changed by anybody at any time.
//
// # Time
//
// The disk charges the running task (sched.Spend), since file operations may be called under a lock; the network and the
// cores make tasks wait. Each has a queue that is a single number: when it is free again.
//
// What a run does follows from its seed alone: the scheduler's, and one stream of randomness for each node and for the
// network, so that one more message somewhere does not change what a disk elsewhere loses.
package world

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/sim/sched"
	"github.com/forebay/forebay/system/host"
)

// World is a set of nodes in one virtual time.
// Left out: memory that runs out, and processes that slow down. It is used between runs and by the tasks and timers of its scheduler, and so needs no lock.
type World struct {
	Sched    *sched.Scheduler
	Net      *Net
	CPU      CPUModel // nil: requests cost no CPU
	costsRng *rand.Rand
	Costs    Costs // in place of CPU; nil: none. It is set before the first node is made
	seed     uint64
	nodes    map[string]*Node
	order    []*Node // as they were made

	observer Observer // nil: nobody; it changes nothing of what happens
	calls    uint64
	rare     rareRun
	pathRand *rand.Rand
}

// New makes a world without nodes. Everything in it follows from seed.
func New(seed uint64) *World {
	w := &World{Sched: sched.New(seed), seed: seed, nodes: map[string]*Node{}}
	w.Net = newNet(w)
	return w
}

// stream is a source of randomness of its own for each purpose.
// It follows from the seed and the purpose alone: how much another stream was drawn from changes nothing here, so
// that a fault added to one node leaves the luck of the others as it was.
func (w *World) stream(purpose string) *rand.Rand {
	h := uint64(14695981039346656037)
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(w.seed, h))
}

// Close ends all tasks. Nothing of the world may be used afterwards.
// It is called between runs, also after one that failed; a world that is not closed leaks a goroutine for each
// task.
func (w *World) Close() { w.Sched.Teardown() }

// Nodes lists the nodes in the order in which they were made.
func (w *World) Nodes() []*Node { return w.order }

// Zone is where the node stands.
func (n *Node) Zone() string { return n.nic.zone }

// Node is one machine with one process on it.
// What belongs to the machine (disk, network card, cores, skew) outlives a crash; group, rng and servers are the
// process's, and each life has new ones.
type Node struct {
	w         *World
	name      string
	nic       *nic
	disk      *disk
	on        *Machine
	used      time.Duration // of cores, since the beginning
	queue     time.Duration // the longest wait for a core since it was asked for
	busyUntil time.Duration // of what was charged so far
	clock     clock
	life      int // of the process: a crash begins the next

	group   *sched.Group
	rng     *rand.Rand
	servers map[string]*server // by address; of this life
	ports   int
}

var _ host.Host = (*Node)(nil)

// Defaults of NodeConfig.
const (
	defaultCores       = 4
	defaultNICBytes    = 1.25e9 // 10 Gbit/s
	firstEphemeralPort = 40_000
)

// NodeConfig is a machine. Zero values mean the defaults.
// Racks and zones are names only: nodes are in one rack when both names are equal, and so two zones may each have
// a rack of one name.
type NodeConfig struct {
	Rack  string   // nodes of one rack are near each other; see Topology
	Zone  string   // and those of one zone nearer than the rest
	Cores int      // requests that are served at a time
	On    *Machine // whose cores and disk the node shares with others; nil: Cores and a disk of its own
	NIC   float64  // bytes a second, each way; negative: no limit
	Disk  DiskConfig
}

// NewNode adds a machine, with a process that runs.
func (w *World) NewNode(name string, cfg NodeConfig) *Node {
	if w.nodes[name] != nil {
		panic(fmt.Sprintf("world: a second node %q", name))
	}
	if cfg.Cores <= 0 {
		cfg.Cores = defaultCores
	}
	shared := cfg.On != nil
	if !shared {
		cfg.On = NewMachine(cfg.Cores)
	}
	if cfg.NIC == 0 {
		cfg.NIC = defaultNICBytes
	}
	n := &Node{w: w, name: name, on: cfg.On}
	n.nic = &nic{node: name, rack: cfg.Rack, zone: cfg.Zone, rate: cfg.NIC}
	n.disk = newDisk(n, cfg.Disk, shared)
	w.nodes[name] = n
	w.order = append(w.order, n)
	n.begin()
	return n
}

// begin starts a life.
// Its randomness is named after the life, so that a restart does not repeat the choices of the life before.
func (n *Node) begin() {
	n.life++
	n.group = n.w.Sched.NewGroup(n.name)
	n.rng = n.w.stream(n.name + "#" + strconv.Itoa(n.life))
	n.servers = map[string]*server{}
}

// Name is the node's name, which is its address without a port.
func (n *Node) Name() string { return n.name }

// Alive tells whether its process runs.
func (n *Node) Alive() bool { return !n.group.Dead() }

// Now implements host.Host.
func (n *Node) Now() time.Time {
	return time.Unix(sched.Epoch, 0).Add(n.w.Sched.Elapsed() + n.Skew())
}

// Sleep implements host.Host.
func (n *Node) Sleep(ctx context.Context, d time.Duration) error {
	return n.w.Sched.Sleep(ctx, n.clock.span(d))
}

// Go implements host.Host.
func (n *Node) Go(name string, task func()) { n.group.Go(name, n.delayed(task)) }

// NewEvent implements host.Host.
func (n *Node) NewEvent() host.Event {
	if n.w.Costs != nil {
		return &queuedEvent{n.w.Sched.NewEvent(), n}
	}
	return n.w.Sched.NewEvent()
}

// WithCancel implements host.Host.
func (n *Node) WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	return n.w.Sched.WithCancel(ctx)
}

// WithTimeout implements host.Host.
func (n *Node) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	span := n.clock.span(d)
	return n.w.Sched.WithTimeout(ctx, n.Now().Add(d-span), span)
}

// Rand implements host.Host.
func (n *Node) Rand() *rand.Rand { return n.rng }

// FS implements host.Host.
func (n *Node) FS() vfs.FS { return n.disk }

// Compute charges the node with CPU time and waits until a core has given it: requests queue at busy cores.
// A crash ends the wait with the task. When ctx ends first the core stays taken: its queue is one number and
// cannot be given back in the middle.
func (n *Node) Compute(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	return n.Sleep(ctx, n.core(n.w.Sched.Elapsed(), d))
}

// core takes d of a core of the machine, for work that comes at a moment, and tells how long it is until it is done.
func (n *Node) core(at, d time.Duration) time.Duration {
	took := n.on.core(at, d)
	n.busyUntil = max(n.busyUntil, at+took)
	n.queue = max(n.queue, took-d)
	n.used += d
	return took
}

// Queue is how long a request that comes now waits for a core.
func (n *Node) Queue() time.Duration {
	return time.Duration(max(0, slices.Min(n.on.cores)-int64(n.w.Sched.Elapsed())))
}

// LongestQueue is how long the request waited for a core that waited longest since LongestQueue was called last.
func (n *Node) LongestQueue() time.Duration {
	longest := n.queue
	n.queue = 0
	return longest
}

// Cores is how many requests the machine serves at a time.
func (n *Node) Cores() int { return len(n.on.cores) }

// Crash ends the process now, wherever its tasks are: what its disk had not synced may be lost, and peers see their
// connections reset. It is called between tasks (sched.After), never by one.
// The order matters: tasks end first, so that none sees its connections break or its disk change; servers and
// connections next; the disk last, when nothing can write to it any more.
func (n *Node) Crash() {
	if !n.Alive() {
		return
	}
	n.w.Note(n.name, "process", "crashes")
	n.group.Kill()
	n.group.Retire()
	for _, s := range n.servers {
		s.dead, s.methods = true, nil // who was connected may keep the server for long: not the process behind it
	}
	n.w.Net.reset(n)
	n.servers = map[string]*server{}
	n.disk.crash()
}

// Wipe gives a crashed node an empty disk, as a machine that was replaced. What is wrong with the disk stays as it was set.
func (n *Node) Wipe() {
	if n.Alive() {
		panic(fmt.Sprintf("world: node %q is alive, and its disk is in use", n.name))
	}
	n.disk.mem = vfs.NewCrashableMem()
	n.disk.FS, n.disk.renames = n.disk.mem, nil
	n.w.Note(n.name, "disk", "its disk is empty")
}

// Restart gives a crashed node its next life, on the disk that is left.
// It starts nothing: the caller builds the node's services anew.
func (n *Node) Restart() {
	if n.Alive() {
		panic(fmt.Sprintf("world: node %q is alive", n.name))
	}
	n.begin()
	n.w.Note(n.name, "process", "starts again, life "+strconv.Itoa(n.life))
}
