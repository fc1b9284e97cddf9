// Package worker is a Forebay worker: it keeps pages of files on its tiers, serves them to clients, and does what the
// master tells it. It owns the worker's identity, its conversation with the masters and its under stores; pages belong to
// package blockstore, streams to package dataserver. Package node builds one from a configuration.
//
// A worker needs no master to serve what it holds, and needs one only for the mount table to fetch more. What it holds is
// soft state for the master: it is registered whole when the master asks, and reported by changes in heartbeats.
//
//	INV-1  What was taken from the store's changes is sent until a master acknowledges it, or a registration takes its
//	       place. While it waits, further changes stay in the store, under its bound; past that everything is registered.
//	INV-2  A registration forgets the store's changes before it lists what is held: a change during the listing is in the
//	       first heartbeat behind it, whichever of the two the listing saw. A change told twice does no harm.
//	INV-3  The outcome of a PERSIST is sent until a heartbeat that carried it is acknowledged. One that is lost with the
//	       process is told again by the master, which sees the blocks reported as unpersisted; writing a file a second
//	       time replaces it by the same content.
//	INV-4  An under store is closed only once its mount has been gone for closeGrace.
//
//	starting --New--> unregistered --register--> registered --heartbeat each interval--+
//	                     ^   ^                       |  ^                              |
//	                     |   +-- failed: pause ------+  +------------------------------+
//	                     +------ the master asks for it, or the changes overflowed
//
// Bounds: maxCommands commands wait (then reports do), maxPersistQueue files wait to be persisted (then the master hears
// ResourceExhausted), maxPendingResult outcomes wait for a master (then the oldest are told again).
package worker

import (
	"context"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/worker/blockstore"
	"github.com/forebay/forebay/system/worker/dataserver"
	"github.com/forebay/forebay/system/worker/dataserver/fetch"
	"github.com/forebay/forebay/system/worker/tier"
)

// Config is what a worker is made of. Zero fields of the second part take the defaults.
// OpenUFS and ReadRemote are called by several tasks at once; the worker closes the stores that OpenUFS gave.
type Config struct {
	Host    host.Host
	Dir     string        // of its identity; kept with its data
	Address string        // where clients reach its Data service, "host:port"
	Tiers   []tier.Config // the fastest first
	Masters []string      // addresses, in any order
	// OpenUFS opens a mount's under store.
	OpenUFS func(ctx context.Context, mount *proto.Mount) (ufs.Store, error)

	// ReadRemote reads from other workers, for persisting a file of which this one does not hold every block. Without it
	// such a file fails to persist.
	ReadRemote func(ctx context.Context, ref *proto.FileRef, offset, length int64) (io.ReadCloser, error)
	// Inventory wraps the store's lists for reports. nil: they are told as they are.
	Inventory          func(*blockstore.Store) Inventory
	HeartbeatInterval  time.Duration // 1 s
	MountRefresh       time.Duration // how soon a changed or removed mount is noticed; 10 s
	PersistConcurrency int           // files written to under stores at a time; 4
	Version            string        // of the build, for the list of workers
	Store              blockstore.Config
	Fetch              fetch.Config
	Data               dataserver.Config
	Logger             *slog.Logger
}

func (c *Config) setDefaults() {
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = time.Second
	}
	if c.MountRefresh == 0 {
		c.MountRefresh = 10 * time.Second
	}
	if c.PersistConcurrency == 0 {
		c.PersistConcurrency = 4
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func (c *Config) check() error {
	const op = "start worker"
	switch {
	case c.Host == nil || c.OpenUFS == nil:
		return dfs.Errorf(dfs.InvalidArgument, op, "", "a worker needs a host and a way to open under stores")
	case c.Dir == "":
		return dfs.Errorf(dfs.InvalidArgument, op, "", "a worker needs a directory for its identity")
	case c.Address == "":
		return dfs.Errorf(dfs.InvalidArgument, op, "", "a worker needs an address that clients can reach")
	case len(c.Masters) == 0:
		return dfs.Errorf(dfs.InvalidArgument, op, "", "a worker needs the address of at least one master")
	}
	return nil
}

// Worker is one worker. Make it with New, Register its services, Start it, and Stop it once its server has stopped.
type Worker struct {
	c       Config
	h       host.Host
	log     *slog.Logger
	id      dfs.WorkerID
	lock    io.Closer
	started time.Time

	store   *blockstore.Store
	held    Inventory // of store
	fetcher *fetch.Fetcher
	data    *dataserver.Server
	mounts  *mountCache
	masters *masters
	persist *persister

	ctx      context.Context
	cancel   context.CancelFunc
	tasks    *host.Group
	commands *host.Queue[*proto.WorkerCommand]
}

// New recovers what the tiers hold and makes a worker that is not yet known to any master.
// An error leaves nothing behind: no task, no lock, no file open. The tiers that fail to open do not make it fail as
// long as one works.
func New(ctx context.Context, c Config) (*Worker, error) {
	c.setDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	h := c.Host
	w := &Worker{c: c, h: h, log: c.Logger, started: h.Now(), tasks: host.NewGroup(h, 0),
		commands: host.NewQueue[*proto.WorkerCommand](h, maxCommands)}
	var err error
	if w.id, w.lock, err = identity(h, c.Dir); err != nil {
		return nil, err
	}
	w.log = w.log.With("worker", string(w.id))
	c.Store.Tiers, c.Store.Logger = c.Tiers, w.log
	if w.store, err = blockstore.Open(ctx, h, c.Store); err != nil {
		_ = w.lock.Close()
		return nil, err
	}
	w.held = w.store
	if c.Inventory != nil {
		w.held = c.Inventory(w.store)
	}
	w.ctx, w.cancel = h.WithCancel(context.Background())
	w.masters = newMasters(h, c.Masters)
	w.mounts = newMountCache(h, c.OpenUFS, w.masters.mounts, w.log)
	c.Fetch.Store, c.Fetch.Mount, c.Fetch.Logger = w.store, w.mounts.get, w.log
	w.fetcher = fetch.New(h, c.Fetch)
	c.Data.Store, c.Data.Fetcher, c.Data.Mount, c.Data.Logger = w.store, w.fetcher, w.mounts.get, w.log
	w.data = dataserver.New(h, c.Data)
	w.persist = newPersister(w)
	return w, nil
}

// ID names the worker, the same after every restart.
func (w *Worker) ID() dfs.WorkerID { return w.id }

// Store is the worker's pages, for counters and tests.
func (w *Worker) Store() *blockstore.Store { return w.store }

// Fetcher is the worker's reads, for counters and tests.
func (w *Worker) Fetcher() *fetch.Fetcher { return w.fetcher }

// Register adds the worker's services to a server. Call it before the server serves.
func (w *Worker) Register(s grpc.ServiceRegistrar) { proto.RegisterDataServer(s, w.data) }

// Start begins to talk to the masters. It does not wait for one.
// It is called once. Reads and writes are served before and without it; only no master knows of the worker then.
func (w *Worker) Start() {
	for _, loop := range []struct {
		name string
		run  func()
	}{{"heartbeat", w.reportLoop}, {"commands", w.commandLoop}, {"mounts", w.mountLoop}} {
		_ = w.tasks.Go(w.ctx, loop.name, func() error { loop.run(); return nil })
	}
}

// Stop ends what the worker does in the background and closes its files. Stop its server first.
// ctx bounds the wait for tasks only: persists that are cut off, the report that is being sent. What is cached stays on
// the tiers; what is unpersisted is told again after the next start.
func (w *Worker) Stop(ctx context.Context) error {
	w.cancel()
	w.commands.Close()
	err := w.tasks.Wait(ctx)
	w.fetcher.Close()
	w.store.Close()
	w.mounts.close()
	w.masters.close()
	if closeErr := w.lock.Close(); err == nil {
		err = closeErr
	}
	return dfs.Wrap(err, "stop worker", string(w.id))
}

// info is the worker as it registers.
func (w *Worker) info() *proto.WorkerInfo {
	return &proto.WorkerInfo{Id: string(w.id), Address: w.c.Address, Tiers: w.store.Tiers(), Started: w.started.UnixNano(), Version: w.c.Version}
}
