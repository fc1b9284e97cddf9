package master

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/journal"
	"github.com/forebay/forebay/system/master/blockmap"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/master/workerregistry"
	"github.com/forebay/forebay/system/proto"
	"google.golang.org/grpc"
)

// Master is one master process.
// leader is read without a lock by every request: nil while this master does not lead. A request keeps what it has
// read, so a leadership may end under it; everything in a leadership fails from then on instead of acting on a state
// that is another's. Fields up to started are set by New and never change.
type Master struct {
	proto.UnimplementedMetadataServer
	proto.UnimplementedBlocksServer
	proto.UnimplementedAdminServer

	cfg     Config
	h       host.Host
	log     *slog.Logger
	machine *namespace.Machine
	journal journal.Journal
	stores  *stores
	blocks  *blockmap.Map
	workers *workerregistry.Registry
	started time.Time

	registering *host.Semaphore
	leader      atomic.Pointer[leadership]
	trouble     atomic.Pointer[trouble]
	leading     *host.Mutex   // held while a leadership starts or ends
	term        atomic.Uint64 // what the journal said last; 0: another leads
	ctx         context.Context
	cancel      context.CancelFunc
	tasks       *host.Group
}

// New opens the state and joins the journal. Call RegisterServices, then serve; the master works until Stop.
// The order is the state first and then the journal, which replays into it. The error says which of the two could not
// be opened; nothing runs then, and the store stays the caller's to close.
func New(cfg Config) (*Master, error) {
	cfg = withDefaults(cfg)
	machine, err := namespace.NewMachine(cfg.Host, cfg.Store)
	if err != nil {
		return nil, dfs.Wrap(err, "open the master's state", "")
	}
	j, err := cfg.OpenJournal(machine)
	if err != nil {
		return nil, dfs.Wrap(err, "open the journal", "")
	}
	m := &Master{
		cfg: cfg, h: cfg.Host, log: cfg.Log, machine: machine, journal: j, started: cfg.Host.Now(),
		stores: newStores(cfg.Host, cfg.OpenStore), blocks: blockmap.New(),
		workers:     workerregistry.New(cfg.WorkerLostAfter),
		registering: host.NewSemaphore(cfg.Host, maxRegistrations),
		tasks:       host.NewGroup(cfg.Host, 0),
		leading:     host.NewMutex(cfg.Host),
	}
	m.ctx, m.cancel = m.h.WithCancel(context.Background())
	return m, nil
}

// RegisterServices adds the master's services to s.
// Requests that come before Start get NotLeader.
func (m *Master) RegisterServices(s grpc.ServiceRegistrar) {
	proto.RegisterMetadataServer(s, m)
	proto.RegisterBlocksServer(s, m)
	proto.RegisterAdminServer(s, m)
}

// Start begins to follow the journal's leadership. It returns at once; Serving tells when this master leads. Start is
// called once.
func (m *Master) Start() error {
	return m.tasks.Go(m.ctx, "leadership", func() error { m.followLeadership(); return nil })
}

// Stop hands leadership over, ends every task and closes journal and store. It waits for tasks as long as ctx lasts,
// and closes what they read in any case: a task that hangs in a store then gets an error from it. The first error is
// returned.
// The order matters: no new work, then the tasks, then the journal, so that nothing is applied any more when the store
// is closed last. ctx bounds the wait for tasks alone. Stop is called once.
func (m *Master) Stop(ctx context.Context) error {
	m.cancel()
	if l := m.leader.Swap(nil); l != nil {
		l.end()
	}
	err := m.tasks.Wait(ctx)
	if l := m.leader.Swap(nil); l != nil { // one that started while the first was ended
		l.end()
	}
	if e := m.journal.Close(); err == nil {
		err = e
	}
	m.stores.close()
	if e := m.cfg.Store.Close(); err == nil {
		err = e
	}
	return err
}

// Ready tells whether requests can be answered through this master, by itself or by naming the leader. A master that
// follows is ready: it names the leader to whoever asks.
func (m *Master) Ready() error {
	if m.leader.Load() != nil || m.journal.Leader() != "" {
		return nil
	}
	return dfs.Errorf(dfs.Unavailable, "check readiness", m.cfg.Address, "no leader is known: are a majority of the masters up?")
}

// Serving tells whether this master leads and has passed its barrier.
func (m *Master) Serving() bool { return m.leader.Load() != nil }

// notLeader is the answer of a master that does not lead; it names the leader where it can.
// A leader that never led before has no known address until its first entry is applied here; Leader is "" then, and
// the client tries the next master of its list.
func (m *Master) notLeader(op string) *dfs.Error {
	err := dfs.Errorf(dfs.NotLeader, op, "", "this master does not lead")
	if id := m.journal.Leader(); id != "" && id != m.cfg.ID {
		err.Leader = m.machine.Address(id)
		return err
	}
	// Nobody leads that this master knows of: what keeps it from leading is what the client needs to hear.
	if fault := m.journal.Status().Fault; fault != nil {
		err.Detail += "; its journal cannot be written: " + fault.Error()
	} else if t := m.trouble.Load(); t != nil && m.h.Now().Sub(t.at) < troubleLasts {
		err.Detail += "; it could not: " + t.err.Error()
	}
	return err
}
