// Package cluster builds production masters, workers and clients on the nodes of a simulated world, as package node builds
// them on machines. It owns how they are wired and which of them lives; what they do is the production code's.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/sim/simjournal"
	"github.com/forebay/forebay/sim/store"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/node"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker"
	"github.com/forebay/forebay/system/worker/tier"
)

// The ports of a cluster's services, and who runs it.
const (
	masterPort  = "19998"
	journalPort = "19997"
	workerPort  = "29999"
	superuser   = "root"
	storeNode   = "store"
	storeURI    = "sim://" + storeNode
)

// Config is the size and make of a cluster. Zero values mean the defaults.
// Left out of such a cluster: TLS and logins (everybody is the superuser), what workers read from each other, and an inode
// store on disk: masters keep theirs in the heap store.
type Config struct {
	Masters     int
	Workers     int
	WorkerBytes int64 // cache of each worker
	Listed      int   // blocks that each worker reports besides those that it holds (listing)
	Racks       int   // over which nodes are spread
	Store       store.Model
	Log         *slog.Logger

	// What a master and its journal have by themselves at 0.
	SessionTimeout, WorkerLostAfter time.Duration
	SnapshotEntries                 int
	// Model is what a calibration found; nil: the defaults of the world. With it the under store is a file system of the machine.
	Model *model.Model
	// OneMachine has all nodes share the cores and the disk of one machine, as the processes of an experiment do. It wants a Model.
	OneMachine bool
}

func (c Config) withDefaults() Config {
	c.Masters, c.Workers = max(c.Masters, 1), max(c.Workers, 1)
	c.Racks = max(c.Racks, 1)
	if c.WorkerBytes == 0 {
		c.WorkerBytes = 1 << 30
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Cluster is a set of nodes with Forebay on them.
// INV-1: masters[i] is nil from CrashMaster until the service has started again; what asks for the leader never
// sees a dead life's. It is used by tasks and timers of the world, one at a time, and needs no lock.
type Cluster struct {
	World   *world.World
	Store   *store.Store // the under store, mounted at /
	cfg     Config
	quorum  *simjournal.Quorum
	Masters []*world.Node
	masters []*master.Master
	Workers []*world.Node
	workers []*worker.Worker
	machine *world.Machine // of all nodes; nil: each has its own
}

// New makes the nodes and starts the services on them, as tasks of theirs: they are up when the world has run for a while.
// The under store takes no time unless Config.Store says so: then every delay in a run is Forebay's. A model that cannot
// be is a fault of the caller's, who checks it first.
func New(w *world.World, cfg Config) *Cluster {
	c := &Cluster{World: w, cfg: cfg.withDefaults()}
	c.calibrate()
	var founders []journal.Member
	for i := range c.cfg.Masters {
		id := fmt.Sprintf("m%d", i+1)
		founders = append(founders, journal.Member{ID: id, Address: id + ":" + journalPort, Voter: true})
		c.Masters = append(c.Masters, w.NewNode(id, c.Place(i)))
	}
	c.quorum = simjournal.NewQuorum(w, founders, c.timing())
	c.masters = make([]*master.Master, c.cfg.Masters)
	var err error
	if c.Store, err = store.New(w, storeNode, c.cfg.Store); err != nil {
		panic(err)
	}
	for i := range c.Masters {
		c.StartMaster(i)
	}
	c.workers = make([]*worker.Worker, c.cfg.Workers)
	for i := range c.cfg.Workers {
		n := w.NewNode(fmt.Sprintf("w%d", i+1), c.Place(i))
		c.Workers = append(c.Workers, n)
		c.StartWorker(i)
	}
	return c
}

// Place is where the i-th node of a kind stands: nodes are spread over the racks, and racks over three zones.
// Clients are spread the same way, so that a cut of a zone takes some of each kind.
func (c *Cluster) Place(i int) world.NodeConfig {
	rack := i % c.cfg.Racks
	cfg := world.NodeConfig{Rack: fmt.Sprintf("r%d", rack), Zone: fmt.Sprintf("z%d", rack%3)}
	return c.modelled(cfg)
}

// mustStart ends the run when a service does not start: nothing that follows would mean anything.
// The panic is a fault of the run with the task's name and the time (sched.Fault), which a report can be made of.
func (c *Cluster) mustStart(name string, err error) {
	if err != nil {
		panic(fmt.Sprintf("start %s: %v", name, err))
	}
}

// openStore is the under store as a process on n has it, within the wrappers of production.
func (c *Cluster) openStore(n *world.Node) ufs.Store {
	return node.WrapStore(n, c.charged(n, c.Store.On(n)), &ufs.Counters{})
}

// StartMaster starts the service on a master's node, on the disk and the log that are there.
// The node must live and not run the service already. It returns at once; the service is up when its task has run,
// and an error there ends the run.
func (c *Cluster) StartMaster(i int) {
	n := c.Masters[i]
	n.Go("start", func() { c.mustStart(n.Name(), c.startMaster(i)) })
}

// CrashMaster ends a master's process.
// Node first, then the journal, whose store goes back to what was synced. It is called between tasks, as
// Node.Crash is.
func (c *Cluster) CrashMaster(i int) {
	c.Masters[i].Crash()
	c.quorum.Crashed(c.Masters[i].Name())
	c.masters[i] = nil
}

// Leader is the index of the master that serves; -1 when none does.
// More than one may believe to serve for a moment, after a cut: the first in order is told then.
func (c *Cluster) Leader() int {
	return slices.IndexFunc(c.masters, func(m *master.Master) bool { return m != nil && m.Serving() })
}

func (c *Cluster) startMaster(i int) error {
	n := c.Masters[i]
	server, err := n.Listen(n.Name() + ":" + masterPort)
	if err != nil {
		return err
	}
	state, err := inodestore.OpenHeap(n, "state")
	if err != nil {
		return err
	}
	m, err := master.New(master.Config{
		Host: n, ID: n.Name(), Address: server.Addr(), Store: state,
		OpenStore: func(context.Context, string, map[string]string) (ufs.Store, error) { return c.openStore(n), nil },
		Superuser: superuser, Group: superuser, Log: c.log(n), RootURI: storeURI,
		SessionTimeout: c.cfg.SessionTimeout, WorkerLostAfter: c.cfg.WorkerLostAfter,
		OpenJournal: func(sm journal.StateMachine) (journal.Journal, error) { return c.quorum.Open(n, n.Name(), sm) },
	})
	if err != nil {
		return err
	}
	m.RegisterServices(server)
	if err := m.Start(); err != nil {
		return err
	}
	server.Serve()
	c.masters[i] = m
	return nil
}

// Addresses are the masters' addresses for clients and workers.
func (c *Cluster) Addresses() []string {
	var all []string
	for _, n := range c.Masters {
		all = append(all, n.Name()+":"+masterPort)
	}
	return all
}

// StartWorker starts the service on a worker's node, on the disk that is there. One that does not start because its disk has
// faults is started again every second, as by a supervisor.
func (c *Cluster) StartWorker(i int) {
	n := c.Workers[i]
	n.Go("start", func() {
		server, err := n.Listen(n.Name() + ":" + workerPort)
		c.mustStart(n.Name(), err)
		for err = c.startWorker(i, server); err != nil && n.DiskFaults() != (world.DiskFaults{}); err = c.startWorker(i, server) {
			if n.Sleep(context.Background(), time.Second) != nil {
				return
			}
		}
		c.mustStart(n.Name(), err)
	})
}

func (c *Cluster) startWorker(i int, server host.Server) error {
	n := c.Workers[i]
	peers, err := client.New(client.Config{Host: n, Masters: c.Addresses(), Name: n.Name(), Identity: c.root(), ReadType: dfs.ReadNoCache})
	if err != nil {
		return err
	}
	w, err := worker.New(context.Background(), worker.Config{
		Host: n, Dir: "worker", Address: server.Addr(), Masters: c.Addresses(), Logger: c.log(n),
		Tiers:      []tier.Config{{Name: "SSD", Dir: "tier", CapacityBytes: c.cfg.WorkerBytes}},
		OpenUFS:    func(context.Context, *proto.Mount) (ufs.Store, error) { return c.openStore(n), nil },
		Inventory:  c.inventory(i),
		ReadRemote: node.ReadRemote(peers),
	})
	if err != nil {
		return err
	}
	w.Register(server)
	server.Serve()
	w.Start()
	c.workers[i] = w
	return nil
}

// log is the logger of a node's services, which names the node.
func (c *Cluster) log(n *world.Node) *slog.Logger { return c.cfg.Log.With("node", n.Name()) }

func (c *Cluster) root() dfs.Identity {
	return dfs.Identity{User: superuser, Groups: []string{superuser}}
}

// Client makes a client on a node.
// It does no call yet, and belongs to the present life of the node. Whoever made it need not close it: a node's
// end takes its connections with it.
func (c *Cluster) Client(n *world.Node) (*client.Client, error) { return c.ClientOn(n, nil) }

// ClientOn is Client with a configuration that change changes, unless it is nil.
func (c *Cluster) ClientOn(n *world.Node, change func(*client.Config)) (*client.Client, error) {
	cfg := client.Config{Host: n, Masters: c.Addresses(), Name: n.Name(), Identity: c.root(), Timeout: 30 * time.Second}
	if change != nil {
		change(&cfg)
	}
	return client.New(cfg)
}
