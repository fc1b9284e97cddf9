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
	"github.com/forebay/forebay/system/master/inodestore"
	"github.com/forebay/forebay/system/master/namespace"
	"github.com/forebay/forebay/system/master/workerregistry"
	"github.com/forebay/forebay/system/proto"
	"google.golang.org/grpc"
)

// Config is what a master is made of.
type Config struct {
	Host    host.Host
	ID      string // its member id in the journal
	Address string // for clients and workers, as they reach it
	// Store and OpenJournal: the journal is opened on the state machine that lies in the store.
	Store       inodestore.Store
	OpenJournal func(journal.StateMachine) (journal.Journal, error)
	OpenStore   OpenStore
	Superuser   string // passes permission checks and owns the root
	Group       string // of the root
	Version     string
	Log         *slog.Logger
	// RootURI is mounted at / when the cluster is made; empty: nothing is.
	RootURI        string
	BlockSizeBytes int64 // of files whose writers do not say; 0: dfs.DefaultBlockSizeBytes

	WorkerLostAfter time.Duration // 0: DefaultWorkerLostAfter
	SessionTimeout  time.Duration // 0: DefaultSessionTimeout
	SafeStart       time.Duration // 0: DefaultSafeStart
}

// Defaults.
const (
	DefaultWorkerLostAfter = 30 * time.Second
	DefaultSessionTimeout  = 10 * time.Minute
	DefaultSafeStart       = 10 * time.Second // a new leader does not call data lost before
)

// Master is one master process.
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

func withDefaults(cfg Config) Config {
	if cfg.WorkerLostAfter == 0 {
		cfg.WorkerLostAfter = DefaultWorkerLostAfter
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = DefaultSessionTimeout
	}
	if cfg.SafeStart == 0 {
		cfg.SafeStart = DefaultSafeStart
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// RegisterServices adds the master's services to s.
func (m *Master) RegisterServices(s grpc.ServiceRegistrar) {
	proto.RegisterMetadataServer(s, m)
	proto.RegisterBlocksServer(s, m)
	proto.RegisterAdminServer(s, m)
}

// Start begins to follow the journal's leadership.
func (m *Master) Start() error {
	return m.tasks.Go(m.ctx, "leadership", func() error { m.followLeadership(); return nil })
}

// Stop hands leadership over, ends every task and closes journal and store.
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

// Ready tells whether requests can be answered through this master, by itself or by naming the leader.
func (m *Master) Ready() error {
	if m.leader.Load() != nil || m.journal.Leader() != "" {
		return nil
	}
	return dfs.Errorf(dfs.Unavailable, "check readiness", m.cfg.Address, "no leader is known: are a majority of the masters up?")
}

// Serving tells whether this master leads and has passed its barrier.
func (m *Master) Serving() bool { return m.leader.Load() != nil }

// notLeader is the answer of a master that does not lead; it names the leader where it can.
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

// Gauges are the figures that an operator watches, by metric name. They are read when asked for.
func (m *Master) Gauges() map[string]func() float64 {
	store := m.machine.Store()
	return map[string]func() float64{
		"serving": func() float64 {
			if m.Serving() {
				return 1
			}
			return 0
		},
		"applied_index":         func() float64 { return float64(store.AppliedIndex()) },
		"flushed_index":         func() float64 { return float64(store.FlushedIndex()) },
		"commit_index":          func() float64 { return float64(m.journal.CommitIndex()) },
		"term":                  func() float64 { return float64(m.journal.Status().Term) },
		"journal_bytes":         func() float64 { return float64(m.journal.Status().LogBytes) },
		"inodes":                func() float64 { return float64(store.Stats().Inodes) },
		"store_bytes":           func() float64 { return float64(store.Stats().DiskBytes) },
		"cache_bytes":           func() float64 { return float64(store.Stats().CacheBytes) },
		"cache_hits_total":      func() float64 { return float64(store.Stats().CacheHits) },
		"cache_misses_total":    func() float64 { return float64(store.Stats().CacheMisses) },
		"sessions":              func() float64 { return float64(m.machine.Sessions()) },
		"blocks":                func() float64 { return float64(m.blocks.Len()) },
		"workers":               func() float64 { return float64(len(m.workers.List())) },
		"registrations_running": func() float64 { return float64(m.registering.Held()) },
	}
}

// RegisteredWorkers is how many live workers have reported all of their blocks.
func (m *Master) RegisteredWorkers() int {
	n := 0
	for _, w := range m.workers.List() {
		if w.Live && w.Registered {
			n++
		}
	}
	return n
}

// RootMounted tells whether the configured under store of / is in place, or none is configured.
func (m *Master) RootMounted() bool {
	return m.cfg.RootURI == "" || len(m.machine.Mounts().All()) > 0
}
