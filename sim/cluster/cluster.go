// Package cluster builds production masters, workers and clients on the nodes of a simulated world, as package node builds
// them on machines. It owns how they are wired and which of them lives; what they do is the production code's.
package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/memjournal"
	"github.com/forebay/forebay/system/master"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/mem"
	"github.com/forebay/forebay/system/worker"
	"github.com/forebay/forebay/system/worker/tier"
)

// The ports of a cluster's services, and who runs it.
const (
	masterPort = "19998"
	workerPort = "29999"
	superuser  = "root"
	storeURI   = "mem://store"
)

// Config is the size and make of a cluster. Zero values mean the defaults.
type Config struct {
	Workers     int
	WorkerBytes int64 // cache of each worker
	Racks       int   // over which nodes are spread
	Log         *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Workers = max(c.Workers, 1)
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
type Cluster struct {
	World   *world.World
	Store   *mem.Store // the under store, mounted at /
	cfg     Config
	Master  *world.Node
	master  *master.Master
	Workers []*world.Node
	workers []*worker.Worker
}

// New makes the nodes and starts the services on them, as tasks of theirs: they are up when the world has run for a while.
func New(w *world.World, cfg Config) *Cluster {
	c := &Cluster{World: w, cfg: cfg.withDefaults()}
	c.Master = w.NewNode("m1", world.NodeConfig{Rack: "r0", Zone: "z0"})
	c.Store = mem.New(c.Master)
	c.Master.Go("start", func() { c.mustStart("m1", c.startMaster()) })
	c.workers = make([]*worker.Worker, c.cfg.Workers)
	for i := range c.cfg.Workers {
		n := w.NewNode(fmt.Sprintf("w%d", i+1), c.Place(i))
		c.Workers = append(c.Workers, n)
		c.StartWorker(i)
	}
	return c
}

// Place is where the i-th node of a kind stands: nodes are spread over the racks, and racks over three zones.
func (c *Cluster) Place(i int) world.NodeConfig {
	rack := i % c.cfg.Racks
	return world.NodeConfig{Rack: fmt.Sprintf("r%d", rack), Zone: fmt.Sprintf("z%d", rack%3)}
}

// mustStart ends the run when a service does not start: nothing that follows would mean anything.
func (c *Cluster) mustStart(name string, err error) {
	if err != nil {
		panic(fmt.Sprintf("start %s: %v", name, err))
	}
}

func (c *Cluster) openStore(context.Context, string, map[string]string) (ufs.Store, error) {
	return c.Store, nil
}

func (c *Cluster) startMaster() error {
	n := c.Master
	server, err := n.Listen(n.Name() + ":" + masterPort)
	if err != nil {
		return err
	}
	store, err := inodestore.OpenHeap(n, "state")
	if err != nil {
		return err
	}
	c.master, err = master.New(master.Config{
		Host: n, ID: n.Name(), Address: server.Addr(), Store: store, OpenStore: c.openStore,
		Superuser: superuser, Group: superuser, Log: c.cfg.Log, RootURI: storeURI,
		OpenJournal: func(sm journal.StateMachine) (journal.Journal, error) { return memjournal.Open(n, sm), nil },
	})
	if err != nil {
		return err
	}
	c.master.RegisterServices(server)
	if err := c.master.Start(); err != nil {
		return err
	}
	server.Serve()
	return nil
}

// Masters are the addresses of the masters.
func (c *Cluster) Masters() []string { return []string{c.Master.Name() + ":" + masterPort} }

// StartWorker starts the service on a worker's node, on the disk that is there.
func (c *Cluster) StartWorker(i int) {
	n := c.Workers[i]
	n.Go("start", func() { c.mustStart(n.Name(), c.startWorker(i)) })
}

func (c *Cluster) startWorker(i int) error {
	n := c.Workers[i]
	server, err := n.Listen(n.Name() + ":" + workerPort)
	if err != nil {
		return err
	}
	peers, err := client.New(client.Config{Host: n, Masters: c.Masters(), Name: n.Name(), Identity: c.root(), ReadType: dfs.ReadNoCache})
	if err != nil {
		return err
	}
	w, err := worker.New(context.Background(), worker.Config{
		Host: n, Dir: "worker", Address: server.Addr(), Masters: c.Masters(), Logger: c.cfg.Log,
		Tiers:   []tier.Config{{Name: "SSD", Dir: "tier", CapacityBytes: c.cfg.WorkerBytes}},
		OpenUFS: func(context.Context, *proto.Mount) (ufs.Store, error) { return c.Store, nil },
		ReadRemote: func(ctx context.Context, ref *proto.FileRef, offset, length int64) (io.ReadCloser, error) {
			return nil, dfs.Errorf(dfs.UnsupportedFeature, "read remote", "", "not in the simulator yet")
		},
	})
	if err != nil {
		return err
	}
	_ = peers
	w.Register(server)
	server.Serve()
	w.Start()
	c.workers[i] = w
	return nil
}

func (c *Cluster) root() dfs.Identity {
	return dfs.Identity{User: superuser, Groups: []string{superuser}}
}

// Client makes a client on a node.
func (c *Cluster) Client(n *world.Node) (*client.Client, error) {
	return client.New(client.Config{Host: n, Masters: c.Masters(), Name: n.Name(), Identity: c.root(), Timeout: 30 * time.Second})
}
