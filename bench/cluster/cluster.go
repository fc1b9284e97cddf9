// Package cluster runs real Forebay processes on loopback, for the demo, the crash loop, benchmarks and checks: it
// writes their configuration, starts, kills and restarts them, and waits until they serve. It knows nothing of what is
// done with them. Everything lies in one directory, and nothing runs on after Close.
//
// # What is real
//
// The processes are the forebay binary with a configuration file each, as an operator would run them: their own memory, disks
// below the directory, gRPC on loopback. So a kill is the kernel's, a restart reads what the last life left, and CPU time is that
// of a process. What is not as in a data centre: one machine's disk, clock and cores are shared by all, and loopback loses
// nothing.
//
// # Life of a node
//
// Start executes it, Ready waits until it serves, Kill and Stop end it and reap it, Start starts it again on its data and ports.
// One that ends by itself is never started again: Ready reports it with the end of its log, since an experiment that went on
// would be one of fewer nodes. A test that hangs or dies takes its processes along: the kernel kills them with their parent.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/proto"
)

// Config says what to run: 1, 3 or 5 masters, and any number of workers, on loopback.
type Config struct {
	Binary   string // path of forebay
	Dir      string // of configurations, data and logs
	Masters  int
	Workers  int
	Capacity string // of each worker's tier, as configuration has it
	RootURI  string // under store of /; empty: none
	// TierDir holds the workers' tiers; empty: beside their data.
	TierDir string
	// Env is added to the processes' environment.
	Env []string
}

// Cluster is a set of running processes. Its nodes do not change after Start, so that its methods may be called concurrently;
// which of them run does.
type Cluster struct {
	cfg   Config
	h     host.Host
	nodes []*Node
}

// Node is one process, or the place of one that was killed.
type Node struct {
	Name    string
	Role    string // "master" or "worker"
	Address string // for clients
	config  string
	log     string
	cluster *Cluster

	mu  sync.Mutex
	cmd *exec.Cmd // nil before Start and after Kill and Stop; of a process that ended by itself it is still set
	// done is closed once the process has been reaped.
	done chan struct{}
}

// Start writes configurations and starts every process; Ready waits for them. When one cannot be started, those that were are
// killed. The processes end with this one, however it ends; who ends earlier calls Close. Dir must exist, and stays.
func Start(cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, h: host.NewReal()}
	ports, err := freePorts(2*cfg.Masters + cfg.Workers)
	if err != nil {
		return nil, err
	}
	if err := c.plan(ports); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if err := n.Start(); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// freePorts finds ports that are free, and that no outgoing connection takes while a process is down.
func freePorts(n int) ([]string, error) {
	base, err := hosttest.FreePorts(n)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for i := range n {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", base+i))
	}
	return addresses, nil
}

// plan lays the processes out: two ports for each master (clients, journal), one for each worker. Probes are off, since their
// default ports would collide.
func (c *Cluster) plan(ports []string) error {
	var peers, masters []string
	for i := range c.cfg.Masters {
		masters = append(masters, ports[2*i])
		peers = append(peers, fmt.Sprintf("m%d=%s/%s", i+1, ports[2*i+1], ports[2*i]))
	}
	for i := range c.cfg.Masters {
		name := fmt.Sprintf("m%d", i+1)
		dir := filepath.Join(c.cfg.Dir, name)
		err := c.add(name, "master", ports[2*i], map[string]any{"master": map[string]any{
			"id": name, "address": ports[2*i], "http": map[string]any{"address": ""}, "peers": peers,
			"journal":  map[string]any{"address": ports[2*i+1], "dir": filepath.Join(dir, "journal")},
			"metadata": map[string]any{"dir": filepath.Join(dir, "metadata")},
			"root":     map[string]any{"uri": c.cfg.RootURI},
		}})
		if err != nil {
			return err
		}
	}
	for i := range c.cfg.Workers {
		name := fmt.Sprintf("w%d", i+1)
		dir := filepath.Join(c.cfg.Dir, name)
		tier := filepath.Join(dir, "tier")
		if c.cfg.TierDir != "" {
			tier = filepath.Join(c.cfg.TierDir, name)
		}
		err := c.add(name, "worker", ports[2*c.cfg.Masters+i], map[string]any{"worker": map[string]any{
			"address": ports[2*c.cfg.Masters+i], "http": map[string]any{"address": ""}, "masters": masters, "dir": dir,
			"tiers": []any{map[string]any{"name": "SSD", "dir": tier, "capacity": c.cfg.Capacity}},
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// add writes one process's configuration. It is readable by its owner only, as an operator's with secrets would be.
func (c *Cluster) add(name, role, address string, config map[string]any) error {
	n := &Node{Name: name, Role: role, Address: address, cluster: c,
		config: filepath.Join(c.cfg.Dir, name+".yaml"), log: filepath.Join(c.cfg.Dir, name+".log")}
	text, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, name), 0o755); err != nil {
		return err
	}
	c.nodes = append(c.nodes, n)
	return os.WriteFile(n.config, text, 0o600)
}

// Start starts the node's process on the data that it left, with the configuration and the ports that it had. Its output is
// appended to the log of its earlier lives. One that runs must be stopped first. An error means that it could not be executed;
// one that ends at once is found by Ready.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.cluster.cfg.Binary, n.Role, "--config", n.config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), n.cluster.cfg.Env...)
	// A process must not outlive this one, however it ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.cmd, n.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait() // its end is seen by done; why is in its log
		close(done)
	}(n.done)
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone: nothing of it is written or answered any more when Kill
// returns. What it had written without syncing is with the kernel, and stays; only a machine's crash would lose it. Without a
// process it does nothing.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop asks the process to end with SIGTERM, which it does cleanly, and waits.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

// end sends a signal and reaps the process. One that ignores the signal for 20 s is killed: a hang at shutdown is reported
// by what its log lacks, and must not hang whoever tests it.
func (n *Node) end(sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-n.done:
	case <-time.After(20 * time.Second):
		_ = n.cmd.Process.Kill()
		<-n.done
	}
	n.cmd = nil
}

// Running tells whether the process lives. One that ended by itself does not, whether or not anybody has noticed.
func (n *Node) Running() bool {
	n.mu.Lock()
	started := n.cmd != nil
	n.mu.Unlock()
	return started && !n.ended()
}

// ended tells whether the process ended without having been told to.
func (n *Node) ended() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}

// CPU is the processor time that the process has used so far, user and system; 0 without a process, so
// that a measurement over a restart comes out too small, and must not be made.
func (n *Node) CPU() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return processCPU(n.cmd.Process.Pid)
}

// Log is the last lines that the process wrote, in all its lives; an error's text when there is no log, since it is only for
// people.
func (n *Node) Log(lines int) string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Nodes lists the nodes of a role ("" for all).
func (c *Cluster) Nodes(role string) []*Node {
	var out []*Node
	for _, n := range c.nodes {
		if role == "" || n.Role == role {
			out = append(out, n)
		}
	}
	return out
}

// Masters lists the masters' addresses, which clients are given, whether or not they run.
func (c *Cluster) Masters() []string {
	var out []string
	for _, n := range c.Nodes("master") {
		out = append(out, n.Address)
	}
	return out
}

// Client makes a client of the cluster, as root, with the default configuration unless change changes it. The caller closes
// it. No process needs to run for it.
func (c *Cluster) Client(change func(*client.Config)) (*client.Client, error) {
	cfg := client.Config{Host: c.h, Masters: c.Masters(), Identity: dfs.Identity{User: "root", Groups: []string{"root"}}}
	if change != nil {
		change(&cfg)
	}
	return client.New(cfg)
}

// Leader finds the master that serves; nil when none does now. It asks one after the other, each for two seconds at most, and
// the answer may be old by the time that it is used.
func (c *Cluster) Leader(ctx context.Context) *Node {
	for _, n := range c.Nodes("master") {
		if n.Running() && c.report(ctx, n).GetServing() {
			return n
		}
	}
	return nil
}

// report asks one master for its report; nil when it does not answer.
func (c *Cluster) report(ctx context.Context, n *Node) *proto.ReportResponse {
	conn, err := c.h.Dial(n.Address)
	if err != nil {
		return nil
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := proto.NewAdminClient(conn).Report(ctx, &proto.ReportRequest{})
	if err != nil {
		return nil
	}
	return r
}

// CommitIndex is the last entry of the journal that the leader knows to be committed; 0 when no master leads.
func (c *Cluster) CommitIndex(ctx context.Context) uint64 {
	if leader := c.Leader(ctx); leader != nil {
		return c.report(ctx, leader).GetCommitIndex()
	}
	return 0
}

// Ready waits until a master leads and every running worker has registered with it. Nodes that were killed are not waited for.
// A process that ended by itself is an error at once, with the end of its log, as is the end of ctx, with the folder of logs.
func (c *Cluster) Ready(ctx context.Context) error {
	const pause = 20 * time.Millisecond
	for {
		if c.isReady(ctx) {
			return nil
		}
		for _, n := range c.nodes {
			if n.ended() {
				return fmt.Errorf("%s ended by itself; its log:\n%s", n.Name, n.Log(20))
			}
		}
		if err := c.h.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("the cluster is not ready: %w; logs are in %s", err, c.cfg.Dir)
		}
	}
}

// isReady asks the leader alone: followers do not know workers. A worker that was killed a moment ago still counts as
// registered until it is heard or lost, so a caller that needs its blocks waits for them by reading.
func (c *Cluster) isReady(ctx context.Context) bool {
	leader := c.Leader(ctx)
	if leader == nil {
		return false
	}
	registered := map[string]bool{}
	for _, w := range c.report(ctx, leader).GetWorkers() {
		if w.Live && w.Registered {
			registered[w.Address] = true
		}
	}
	for _, n := range c.Nodes("worker") {
		if n.Running() && !registered[n.Address] {
			return false
		}
	}
	return true
}

// Close kills every process and waits until all are gone. It may be called again.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes {
		n.Kill()
		if n.Running() {
			errs = append(errs, fmt.Errorf("%s is still running", n.Name))
		}
	}
	return errors.Join(errs...)
}

// CPU is the processor time of all processes of a role ("" for all).
func (c *Cluster) CPU(role string) time.Duration {
	total := time.Duration(0)
	for _, n := range c.Nodes(role) {
		total += n.CPU()
	}
	return total
}
