package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/ufs/drivers"
)

// UpConfig says what cluster to run in this process.
// "As before" is what the last start in Dir was given (layout); a field that is left at zero there changes nothing.
//
// Up needs Out. A nil Log logs nothing.
type UpConfig struct {
	Dir      string // of all state; it is made if missing
	Masters  int    // 1, 3 or 5; 0: as before, or 1
	Workers  int    // 0: as before, or 1
	Port     int    // of the first master; others follow; 0: as before, or DefaultPort
	Capacity string // of each worker's cache; "": as before, or 4GiB
	Out      io.Writer
	Log      *slog.Logger
}

// Ports of an embedded cluster, counted from the first master's.
const (
	DefaultPort     = 19998
	portsPerMaster  = 2 // clients, journal
	workerPort      = 20
	httpMasterPort  = 40
	httpWorkerPort  = 60
	maxUpWorkers    = 20
	upReadyTimeout  = 60 * time.Second
	upReadyInterval = 20 * time.Millisecond
)

// layout is what a second start needs to find its data: it lies in Dir as cluster.json.
type layout struct {
	Masters  int    `json:"masters"`
	Workers  int    `json:"workers"`
	Port     int    `json:"port"`
	Capacity string `json:"capacity"`
}

// Cluster is an embedded cluster that is running: real masters and workers over loopback, with real ports, so that it
// behaves as one on several machines does, and any client can use it.
//
// Its lists are filled by start and not changed afterwards: Ready, Stop and Masters may be called by several tasks.
type Cluster struct {
	Dir     string
	h       host.Host
	layout  layout
	masters []*Master
	workers []*Worker
}

// Up runs an embedded cluster until ctx ends, and says on Out how to use it. An end of ctx is a clean stop and no error, also
// when it comes before the cluster is ready.
// It waits at most stopTimeout for the stop, and gives the first failure of either with that of the stop.
func Up(ctx context.Context, h host.Host, cfg UpConfig) error {
	c, err := StartCluster(h, cfg)
	if err != nil {
		return err
	}
	err = c.Ready(ctx)
	if err == nil {
		c.explain(cfg.Out)
		<-ctx.Done()
		fmt.Fprintln(cfg.Out, "stopping; start it again with the same --dir to find everything as it was")
	}
	stop, cancel := h.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, c.Stop(stop))
}

// StartCluster starts masters and workers in this process. It returns once a master leads; Ready waits for the rest. When
// it fails, everything that was started is stopped. State is kept in cfg.Dir; a second start finds it, also after a crash.
// Two clusters in one Dir are refused by the locks of the masters' state; two on one port by the ports.
//
// Errors: InvalidArgument for numbers that cannot run or that contradict what Dir has, Corrupted for a layout that cannot be
// read, Unavailable for a folder that cannot be written, a server's port in use, or masters of which none came to lead.
func StartCluster(h host.Host, cfg UpConfig) (*Cluster, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	l, err := settle(dir, cfg)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, h: h, layout: l}
	if err := c.start(cfg.Log); err != nil {
		ctx, cancel := h.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return nil, errors.Join(err, c.Stop(ctx))
	}
	return c, nil
}

// settle decides the layout: what is asked for, else what the directory has, else the defaults. The number of masters
// cannot change here: it is the quorum's, which has its own members in its journal. Fewer workers are allowed; what the others
// held is away until they are started again.
func settle(dir string, cfg UpConfig) (layout, error) {
	if err := os.MkdirAll(filepath.Join(dir, "under"), 0o755); err != nil {
		return layout{}, dfs.Errorf(dfs.Unavailable, "start cluster", dir, "%v: name a folder that can be written with --dir", err)
	}
	l := layout{Masters: 1, Workers: 1, Port: DefaultPort, Capacity: "4GiB"}
	path := filepath.Join(dir, "cluster.json")
	saved, err := os.ReadFile(path)
	existed := err == nil
	if existed {
		if err := json.Unmarshal(saved, &l); err != nil {
			return l, dfs.Errorf(dfs.Corrupted, "read the cluster's layout", path, "%v: restore it, or name an empty --dir", err)
		}
	}
	if existed && cfg.Masters != 0 && cfg.Masters != l.Masters {
		return l, dfs.Errorf(dfs.InvalidArgument, "start cluster", dir,
			"it has %d masters and not %d: change the quorum with 'forebay admin journal quorum', or name an empty --dir", l.Masters, cfg.Masters)
	}
	override(&l.Masters, cfg.Masters)
	override(&l.Workers, cfg.Workers)
	override(&l.Port, cfg.Port)
	override(&l.Capacity, cfg.Capacity)
	if err := l.check(); err != nil {
		return l, err
	}
	return l, l.save(path, saved)
}

// save writes the layout, unless that is what the file has. It is written aside and renamed: a stop in the middle must not
// leave half a layout, without which the data would not be found again.
func (l layout) save(path string, before []byte) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if bytes.Equal(text, before) {
		return nil
	}
	aside := path + ".new"
	if err := os.WriteFile(aside, text, 0o644); err != nil {
		return dfs.Errorf(dfs.Unavailable, "save the cluster's layout", path, "%v: make room, or name another --dir", err)
	}
	return os.Rename(aside, path)
}

// override takes what was asked for, if anything was.
func override[T comparable](to *T, from T) {
	var zero T
	if from != zero {
		*to = from
	}
}

// check refuses what could not run. Even numbers of masters are refused since they survive no more failures than one less.
// Everything is checked before anything is started or saved, so a refused start leaves the former layout.
func (l layout) check() error {
	if l.Masters != 1 && l.Masters != 3 && l.Masters != 5 {
		return dfs.Errorf(dfs.InvalidArgument, "start cluster", "", "%d masters: want 1, 3 or 5", l.Masters)
	}
	if most := 65535 - httpWorkerPort - maxUpWorkers; l.Port < 1 || l.Port > most {
		return dfs.Errorf(dfs.InvalidArgument, "start cluster", "", "port %d: want 1 to %d, others follow it", l.Port, most)
	}
	if l.Workers < 1 || l.Workers > maxUpWorkers {
		return dfs.Errorf(dfs.InvalidArgument, "start cluster", "", "%d workers: want 1 to %d in one process", l.Workers, maxUpWorkers)
	}
	if _, err := config.ParseSize(l.Capacity); err != nil {
		return err
	}
	return nil
}

// address is a port of this cluster on loopback, counted from the first master's.
func (l layout) address(offset int) string { return fmt.Sprintf("127.0.0.1:%d", l.Port+offset) }

// masterAddresses is what clients are given.
func (l layout) masterAddresses() []string {
	var out []string
	for i := range l.Masters {
		out = append(out, l.address(portsPerMaster*i))
	}
	return out
}

// start starts masters, waits for a leader, and starts workers. What was started is kept for Stop, also when a later one
// fails. All masters come before the wait: a quorum needs most of them to elect one.
//
// The ports are not reserved together: a start that meets a foreign process on one of them fails there, and StartCluster
// stops what runs by then.
func (c *Cluster) start(log *slog.Logger) error {
	for i := range c.layout.Masters {
		m, err := StartMaster(c.h, c.masterConfig(i), log.With("node", fmt.Sprintf("m%d", i+1)), drivers.Drivers{})
		if err != nil {
			return err
		}
		c.masters = append(c.masters, m)
	}
	if err := c.led(); err != nil {
		return err
	}
	for i := range c.layout.Workers {
		cfg, err := c.workerConfig(i)
		if err != nil {
			return err
		}
		w, err := StartWorker(c.h, cfg, log.With("node", fmt.Sprintf("w%d", i+1)), drivers.Drivers{})
		if err != nil {
			return err
		}
		c.workers = append(c.workers, w)
	}
	return nil
}

// led waits until a master leads, so that the workers find one at once.
// It has a deadline of its own and no caller's: StartCluster either has a leader or stops what it started.
func (c *Cluster) led() error {
	ctx, cancel := c.h.WithTimeout(context.Background(), upReadyTimeout)
	defer cancel()
	for {
		for _, m := range c.masters {
			if m.Serving() {
				return nil
			}
		}
		if err := c.h.Sleep(ctx, upReadyInterval); err != nil {
			return dfs.Errorf(dfs.Unavailable, "start cluster", c.Dir, "no master came to lead within %v: see the log above", upReadyTimeout)
		}
	}
}

// masterConfig is the configuration that an operator would write for master i, in code.
// All masters name the same peers, and the same folder as the under store of /, which is mounted once.
func (c *Cluster) masterConfig(i int) *config.Config {
	cfg := config.Default()
	m := &cfg.Master
	dir := filepath.Join(c.Dir, fmt.Sprintf("m%d", i+1))
	m.ID = fmt.Sprintf("m%d", i+1)
	m.Address, m.Journal.Address = c.layout.address(portsPerMaster*i), c.layout.address(portsPerMaster*i+1)
	m.HTTP.Address = c.layout.address(httpMasterPort + i)
	m.Journal.Dir, m.Metadata.Dir = filepath.Join(dir, "journal"), filepath.Join(dir, "metadata")
	m.Root.URI = filepath.Join(c.Dir, "under")
	for j := range c.layout.Masters {
		m.Peers = append(m.Peers, fmt.Sprintf("m%d=%s/%s", j+1, c.layout.address(portsPerMaster*j+1), c.layout.address(portsPerMaster*j)))
	}
	return cfg
}

// workerConfig is the configuration of worker i. Each has its own identity and tier below the cluster's folder.
func (c *Cluster) workerConfig(i int) (*config.Config, error) {
	cfg := config.Default()
	w := &cfg.Worker
	capacity, err := config.ParseSize(c.layout.Capacity)
	if err != nil {
		return nil, err
	}
	w.Dir = filepath.Join(c.Dir, fmt.Sprintf("w%d", i+1))
	w.Address, w.HTTP.Address = c.layout.address(workerPort+i), c.layout.address(httpWorkerPort+i)
	w.Masters = c.layout.masterAddresses()
	w.Tiers = []config.Tier{{Name: "SSD", Dir: filepath.Join(w.Dir, "ssd"), Capacity: capacity}}
	return cfg, nil
}

// Masters lists the addresses of the masters, for clients.
func (c *Cluster) Masters() []string { return c.layout.masterAddresses() }

// Ready waits until a master leads and every worker has registered with it, at most upReadyTimeout. Workers that are slow to
// recover their tiers make it late, not wrong: it may be called again.
// An end of ctx is its error, wrapped.
func (c *Cluster) Ready(ctx context.Context) error {
	ctx, cancel := c.h.WithTimeout(ctx, upReadyTimeout)
	defer cancel()
	for !c.isReady() {
		if err := c.h.Sleep(ctx, upReadyInterval); err != nil {
			return fmt.Errorf("the cluster did not become ready: %w; see the log above", err)
		}
	}
	return nil
}

// isReady tells whether a client would find everything in place, the root's under store included.
func (c *Cluster) isReady() bool {
	for _, m := range c.masters {
		if m.Serving() && m.master.RegisteredWorkers() >= len(c.workers) && m.master.RootMounted() {
			return true
		}
	}
	return false
}

// Stop ends workers first, so that masters hear of nothing lost, then masters. It stops all of them, whatever fails, and may
// be called again, also beside the Stop of a single one.
// ctx bounds each of them; the errors of all are joined.
func (c *Cluster) Stop(ctx context.Context) error {
	var errs []error
	for _, w := range c.workers {
		errs = append(errs, w.Stop(ctx))
	}
	for _, m := range c.masters {
		errs = append(errs, m.Stop(ctx))
	}
	return errors.Join(errs...)
}

// explain prints what to try, with the addresses and paths of this cluster.
func (c *Cluster) explain(out io.Writer) {
	masters := strings.Join(c.Masters(), ",")
	fmt.Fprintf(out, "Forebay is up: %d master(s), %d worker(s), all on loopback.\n", c.layout.Masters, c.layout.Workers)
	fmt.Fprintf(out, "  state          %s\n", c.Dir)
	fmt.Fprintf(out, "  under store    %s, mounted at /\n", filepath.Join(c.Dir, "under"))
	fmt.Fprintf(out, "  masters        %s\n", masters)
	fmt.Fprintf(out, "  metrics        http://%s/metrics\n", c.layout.address(httpMasterPort))
	fmt.Fprintln(out, "In another terminal:")
	if masters != fmt.Sprintf("127.0.0.1:%d", DefaultPort) {
		fmt.Fprintf(out, "  export FOREBAY_MASTERS=%s\n", masters)
	}
	fmt.Fprintln(out, "  forebay fs ls /")
	fmt.Fprintln(out, "  forebay fs put README.md /readme")
	fmt.Fprintln(out, "  forebay fs mount /go $(go env GOROOT) --read-only")
	fmt.Fprintln(out, "  forebay admin report")
	fmt.Fprintln(out, "Ctrl-C stops it; everything is kept.")
}
