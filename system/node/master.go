package node

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strings"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/journal/raftjournal"
	"github.com/forebay/forebay/system/master"
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/metrics"
	"github.com/forebay/forebay/system/ufs/drivers"
)

// Master is a running master: a gRPC server, the service behind it, and an HTTP door.
//
// What open sets is not changed afterwards, so that its methods need no lock.
type Master struct {
	h      host.Host
	master *master.Master // nil when its state could not be opened
	server host.Server
	door   *door
	stop   once
}

// RunMaster runs a master until ctx ends, then hands leadership over and stops, within stopTimeout. The process is the
// master's alone: its garbage collection is set for that.
//
// An error to start is returned at once. So is that of the stop, when something could not be closed in time; the process
// may exit all the same, since nothing that was acknowledged depends on it.
func RunMaster(ctx context.Context, h host.Host, cfg *config.Config, log *slog.Logger) error {
	tuneMemory(&cfg.Master)
	return run(ctx, h, log, "master", func() (stoppable, error) {
		m, err := StartMaster(h, cfg, log, drivers.Drivers{})
		if err != nil {
			return nil, err
		}
		log.Info("master is up", "id", cfg.Master.ID, "address", m.Address(), "http", m.door.Addr())
		return m, nil
	})
}

// StartMaster starts a master. It listens before it opens its state, so that a port in use costs nothing; it answers only
// once everything is open, and callers that connected meanwhile wait. When it fails, ports and files are free again.
//
// It does not wait for a leader: Serving, and the door's readiness, tell of that. A bad address or peer is InvalidArgument
// or Unavailable, and needs its setting changed; what a damaged state returns is the store's or the journal's own error.
func StartMaster(h host.Host, cfg *config.Config, log *slog.Logger, d drivers.Drivers) (*Master, error) {
	c := &cfg.Master
	peers, err := parsePeers(c)
	if err != nil {
		return nil, err
	}
	server, err := h.Listen(c.Address)
	if err != nil {
		return nil, dfs.Errorf(dfs.Unavailable, "start master", c.Address, "%v", err)
	}
	m := &Master{h: h, server: server}
	if err := m.open(c, peers, d, log); err != nil {
		ctx, cancel := h.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		_ = m.Stop(ctx) // the first error says why
		return nil, err
	}
	server.Serve()
	return m, nil
}

// open opens state, door and services, in this order: probes must not answer for a master that cannot open its state.
// What it has opened when it fails is Stop's to close.
func (m *Master) open(c *config.Master, peers []journal.Member, d drivers.Drivers, log *slog.Logger) error {
	reg := metrics.New()
	var err error
	if m.master, err = openMaster(m.h, c, m.server.Addr(), peers, newOpener(m.h, d, reg), log); err != nil {
		return err
	}
	exportMaster(reg.Part("master"), m.master)
	if m.door, err = openDoor(c.HTTP.Address, reg, nil, m.master.Ready); err != nil {
		return err
	}
	m.master.RegisterServices(m.server)
	return m.master.Start()
}

// Address is where clients find this master.
func (m *Master) Address() string { return m.server.Addr() }

// Serving tells whether this master leads and answers clients. It is false from the moment when Stop was called.
func (m *Master) Serving() bool { return m.master.Serving() }

// Stop ends the master in order: no new requests, leadership handed over, state closed. ctx bounds how long it waits for
// requests and tasks; it closes everything also when they do not end. Further calls return what the first one did.
func (m *Master) Stop(ctx context.Context) error {
	return m.stop.do(ctx, m.h, func() error {
		m.door.close()
		stopServer(ctx, m.h, m.server)
		if m.master == nil {
			return nil
		}
		return m.master.Stop(ctx)
	})
}

// openMaster opens the store, and the journal on it. The store's errors come first: a damaged store must not touch the
// quorum.
// It owns the store until the master has it: when that cannot be made, the store is closed here.
func openMaster(h host.Host, c *config.Master, address string, peers []journal.Member, stores *opener, log *slog.Logger) (*master.Master, error) {
	store, err := openInodeStore(h, c, log)
	if err != nil {
		return nil, err
	}
	name, group := processUser()
	m, err := master.New(master.Config{
		Host: h, ID: c.ID, Address: address, Store: store, OpenStore: stores.open, Superuser: name, Group: group,
		Version: Version, Log: log, WorkerLostAfter: c.Worker.Lost.Timeout, SessionTimeout: c.Session.Timeout,
		BlockSizeBytes: int64(c.Block.Size), RootURI: rootURI(c),
		OpenJournal: func(sm journal.StateMachine) (journal.Journal, error) {
			return raftjournal.Open(raftjournal.Config{Host: h, ID: c.ID, Dir: c.Journal.Dir, BindAddr: c.Journal.Address, Peers: peers, Logger: log}, sm)
		},
	})
	if err != nil {
		_ = store.Close() // the first error says why
	}
	return m, err
}

// openInodeStore makes the folder if it is missing; what lies in it is the store's to judge.
// Unavailable names the setting to change. The caller closes the store.
func openInodeStore(h host.Host, c *config.Master, log *slog.Logger) (inodestore.Store, error) {
	if err := os.MkdirAll(c.Metadata.Dir, 0o700); err != nil {
		return nil, dfs.Errorf(dfs.Unavailable, "open the inode store", c.Metadata.Dir, "%v: set master.metadata.dir to a folder that can be written", err)
	}
	if c.Metadata.Store == "heap" {
		return inodestore.OpenHeap(h, c.Metadata.Dir)
	}
	return inodestore.OpenPebble(h, c.Metadata.Dir, inodestore.Options{
		InodeCacheBytes: int64(c.Metadata.Cache.Size), BlockCacheBytes: int64(c.Metadata.Cache.Blocks), Logger: log,
	})
}

// parsePeers reads "id=journal-address/client-address". A master without peers is a quorum of its own; one that joins
// founds none, and so has no members to begin with.
//
// The members found the quorum at the first start only; later the journal has its own list, and this one changes nothing
// (config's doc of master.peers). The client address is not used here: clients have settings of their own.
func parsePeers(c *config.Master) ([]journal.Member, error) {
	if c.Join {
		return nil, nil
	}
	if len(c.Peers) == 0 {
		return []journal.Member{{ID: c.ID, Address: c.Journal.Address, Voter: true}}, nil
	}
	var members []journal.Member
	found := false
	for _, peer := range c.Peers {
		id, rest, ok := strings.Cut(peer, "=")
		address, _, _ := strings.Cut(rest, "/")
		if _, _, err := net.SplitHostPort(address); !ok || id == "" || err != nil {
			return nil, dfs.Errorf(dfs.InvalidArgument, "read master.peers", peer, "want id=journal-host:port/client-host:port")
		}
		found = found || id == c.ID
		members = append(members, journal.Member{ID: id, Address: address, Voter: true})
	}
	if !found {
		return nil, dfs.Errorf(dfs.InvalidArgument, "read master.peers", c.ID, "master.id is not among the peers: name this master too")
	}
	return members, nil
}

// rootURI is the under store mounted at / of a new cluster; "" leaves / to be mounted by an operator. A cluster that has a
// mount already is left as it is.
func rootURI(c *config.Master) string { return c.Root.URI }

// processUser is who the process runs as: the superuser. Where there is no such thing as a user, as in some containers, it is
// root.
func processUser() (name, group string) {
	u, err := user.Current()
	if err != nil {
		return "root", "root"
	}
	group = u.Username
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		group = g.Name
	}
	return u.Username, group
}

// exportMaster shows what an operator watches of a master. Gauges are read on each scrape, also of a master that does not
// lead.
// It is called before the door opens, so that the first scrape has all of it.
func exportMaster(reg *metrics.Registry, m *master.Master) {
	for name, read := range m.Gauges() {
		reg.GaugeFunc(name, "see docs/operate.md", read)
	}
}
