package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/host/hosttest"
	"github.com/forebay/forebay/system/metrics"
	"github.com/forebay/forebay/system/ufs/drivers"
)

var quiet = slog.New(slog.DiscardHandler)

// taken listens on a port until the test ends, and returns its address.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// file makes a file where a folder would have to be.
func file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// free fails the test when nobody can listen on address: somebody still does.
func free(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("the port was not given back: %v", err)
		return
	}
	_ = l.Close()
}

// aCluster is the configuration of one master and one worker with ports of their own.
func aCluster(t *testing.T) *Cluster {
	t.Helper()
	l := layout{Masters: 1, Workers: 1, Port: basePort(t), Capacity: "64MiB"}
	c := &Cluster{Dir: t.TempDir(), h: host.NewReal(), layout: l}
	if err := os.MkdirAll(filepath.Join(c.Dir, "under"), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

func stopNow(t *testing.T, s stoppable) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestMasterHalfStarted: whatever keeps a master from starting is told with the key to change, everything that was opened is
// given back, and a start with the fault removed works on the same folders.
func TestMasterHalfStarted(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, m *config.Master)
		kind  dfs.Kind
		words string
	}{
		"its port is taken":              {func(t *testing.T, m *config.Master) { m.Address = taken(t) }, dfs.Unavailable, "in use"},
		"its http port is taken":         {func(t *testing.T, m *config.Master) { m.HTTP.Address = taken(t) }, dfs.Unavailable, "http.address"},
		"its journal's port is taken":    {func(t *testing.T, m *config.Master) { m.Journal.Address = taken(t) }, dfs.Unknown, ""},
		"its store's folder is a file":   {func(t *testing.T, m *config.Master) { m.Metadata.Dir = file(t) }, dfs.Unavailable, "master.metadata.dir"},
		"its journal's folder is a file": {func(t *testing.T, m *config.Master) { m.Journal.Dir = file(t) }, dfs.Unknown, ""},
		"it is not among its peers":      {func(_ *testing.T, m *config.Master) { m.Peers = []string{"other=h:1/h:2"} }, dfs.InvalidArgument, "master.id"},
	} {
		t.Run(name, func(t *testing.T) {
			c := aCluster(t)
			cfg := c.masterConfig(0)
			good := cfg.Master
			tt.spoil(t, &cfg.Master)
			m, err := StartMaster(c.h, cfg, quiet, drivers.Drivers{})
			if err == nil || m != nil {
				t.Fatalf("it started: %v", err)
			}
			if tt.words != "" && (!dfs.IsKind(err, tt.kind) || !strings.Contains(err.Error(), tt.words)) {
				t.Errorf("got %v, want %v with %q", err, tt.kind, tt.words)
			}
			for _, address := range []string{good.Address, good.HTTP.Address, good.Journal.Address} {
				free(t, address)
			}
			cfg.Master = good
			m, err = StartMaster(c.h, cfg, quiet, drivers.Drivers{})
			if err != nil {
				t.Fatalf("with the fault removed: %v", err)
			}
			c.masters = []*Master{m}
			if err := c.led(); err != nil {
				t.Error(err)
			}
			stopNow(t, m)
		})
	}
}

// TestWorkerHalfStarted is the same for a worker.
func TestWorkerHalfStarted(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, w *config.Worker)
		kind  dfs.Kind
		words string
	}{
		"its port is taken":      {func(t *testing.T, w *config.Worker) { w.Address = taken(t) }, dfs.Unavailable, "in use"},
		"its http port is taken": {func(t *testing.T, w *config.Worker) { w.HTTP.Address = taken(t) }, dfs.Unavailable, "http.address"},
		"its folder is a file":   {func(t *testing.T, w *config.Worker) { w.Dir = file(t) }, dfs.Unavailable, "worker.dir"},
		"its tier is a file":     {func(t *testing.T, w *config.Worker) { w.Tiers[0].Dir = file(t) }, dfs.Unknown, ""},
		"it knows no master":     {func(_ *testing.T, w *config.Worker) { w.Masters = nil }, dfs.InvalidArgument, "master"},
		"it has no tier":         {func(_ *testing.T, w *config.Worker) { w.Tiers = nil }, dfs.InvalidArgument, "tier"},
	} {
		t.Run(name, func(t *testing.T) {
			c := aCluster(t)
			cfg, err := c.workerConfig(0)
			if err != nil {
				t.Fatal(err)
			}
			good := cfg.Worker
			good.Tiers = append([]config.Tier(nil), cfg.Worker.Tiers...)
			tt.spoil(t, &cfg.Worker)
			w, err := StartWorker(c.h, cfg, quiet, drivers.Drivers{})
			if err == nil || w != nil {
				t.Fatalf("it started: %v", err)
			}
			if tt.words != "" && (!dfs.IsKind(err, tt.kind) || !strings.Contains(err.Error(), tt.words)) {
				t.Errorf("got %v, want %v with %q", err, tt.kind, tt.words)
			}
			free(t, good.Address)
			free(t, good.HTTP.Address)
			cfg.Worker = good
			w, err = StartWorker(c.h, cfg, quiet, drivers.Drivers{})
			if err != nil {
				t.Fatalf("with the fault removed: %v", err)
			}
			stopNow(t, w)
		})
	}
}

// TestOneWorkerForAFolder: a second worker on a folder in use is refused, and does not disturb the first one; after a stop
// the next one has the same identity.
func TestOneWorkerForAFolder(t *testing.T) {
	c := aCluster(t)
	cfg, err := c.workerConfig(0)
	if err != nil {
		t.Fatal(err)
	}
	first, err := StartWorker(c.h, cfg, quiet, drivers.Drivers{})
	if err != nil {
		t.Fatal(err)
	}
	id := first.worker.ID()
	second := *cfg
	second.Worker.Address, second.Worker.HTTP.Address = "127.0.0.1:0", ""
	if _, err := StartWorker(c.h, &second, quiet, drivers.Drivers{}); err == nil {
		t.Error("two workers have one folder")
	}
	stopNow(t, first)
	again, err := StartWorker(c.h, &second, quiet, drivers.Drivers{})
	if err != nil {
		t.Fatal(err)
	}
	if again.worker.ID() != id {
		t.Errorf("it is %s now and was %s", again.worker.ID(), id)
	}
	stopNow(t, again)
}

// TestStopTwice: Stop of a master, a worker and a cluster may be called again, also by several at once; all calls return
// what the first one did, none before it is done.
func TestStopTwice(t *testing.T) {
	h := host.NewReal()
	c, err := StartCluster(h, UpConfig{Dir: t.TempDir(), Masters: 1, Workers: 1, Port: basePort(t), Capacity: "64MiB"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(context.Background()); err != nil {
		t.Error(err)
	}
	ports := []string{c.masters[0].Address(), c.workers[0].Address(), c.masters[0].door.Addr(), c.workers[0].door.Addr()}
	var wg sync.WaitGroup
	for range 4 {
		for _, s := range []stoppable{c, c.masters[0], c.workers[0]} {
			wg.Go(func() { stopNow(t, s) })
		}
	}
	wg.Wait()
	stopNow(t, c)
	for _, p := range ports {
		free(t, p)
	}
	if c.masters[0].Serving() {
		t.Error("a stopped master serves")
	}
}

// TestOnce: the work is done once; the others get its result, wait for it, and give up with their own contexts; on both hosts.
func TestOnce(t *testing.T) {
	body := func(t *testing.T, h host.Host) {
		ctx := context.Background()
		var o once
		var runs atomic.Int32
		boom := errors.New("boom")
		gate := h.NewEvent()
		stop := func() error {
			runs.Add(1)
			_ = gate.Wait(ctx)
			return boom
		}
		began := h.NewEvent()
		g := host.NewGroup(h, 0)
		_ = g.Go(ctx, "first", func() error { began.Set(); return o.do(ctx, h, stop) })
		_ = began.Wait(ctx)
		for runs.Load() == 0 {
			_ = h.Sleep(ctx, time.Millisecond)
		}
		short, cancel := h.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		if err := o.do(short, h, stop); !dfs.IsKind(err, dfs.DeadlineExceeded) {
			t.Errorf("a caller without patience got %v", err)
		}
		for range 5 {
			_ = g.Go(ctx, "another", func() error {
				if err := o.do(ctx, h, stop); !errors.Is(err, boom) {
					t.Errorf("another caller got %v", err)
				}
				return nil
			})
		}
		gate.Set()
		if err := g.Wait(ctx); !errors.Is(err, boom) {
			t.Errorf("the first caller got %v", err)
		}
		if err := o.do(ctx, h, stop); !errors.Is(err, boom) || runs.Load() != 1 {
			t.Errorf("later: %v, %d runs", err, runs.Load())
		}
	}
	t.Run("real", func(t *testing.T) { body(t, host.NewReal()) })
	t.Run("virtual", func(t *testing.T) {
		v := hosttest.NewVirtual(1)
		if err := v.Run(func() { body(t, v) }); err != nil {
			t.Error(err)
		}
	})
}

// stopProbe notes what Stop was given.
type stopProbe struct {
	live     bool
	deadline time.Duration
	err      error
}

func (s *stopProbe) Stop(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	s.live, s.deadline = ctx.Err() == nil, time.Until(deadline)
	return s.err
}

// TestRunStopsInTime: a process stops when its context ends, with time of its own for it, and passes errors of start and stop on.
func TestRunStopsInTime(t *testing.T) {
	h, boom := host.NewReal(), errors.New("boom")
	ctx, cancel := context.WithCancel(context.Background())
	if err := run(ctx, h, quiet, "test", func() (stoppable, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Errorf("a start that fails: %v", err)
	}
	probe := &stopProbe{err: boom}
	err := run(ctx, h, quiet, "test", func() (stoppable, error) { cancel(); return probe, nil })
	if !errors.Is(err, boom) || !probe.live || probe.deadline <= 0 || probe.deadline > stopTimeout {
		t.Errorf("got %v, %+v", err, probe)
	}
}

// TestDoor: a door that is not opened costs nothing to close or to ask, nil included; an open one serves until it is closed.
func TestDoor(t *testing.T) {
	var none *door
	none.close()
	if none.Addr() != "" {
		t.Error("no door has an address")
	}
	d, err := openDoor("", metrics.New(), nil, nil)
	if err != nil || d.Addr() != "" {
		t.Errorf("without an address: %v", err)
	}
	d.close()
	if _, err := openDoor(taken(t), metrics.New(), nil, nil); !dfs.IsKind(err, dfs.Unavailable) {
		t.Errorf("a port in use: %v", err)
	}
	d, err = openDoor("127.0.0.1:0", metrics.New(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	address := d.Addr()
	d.close()
	d.close()
	free(t, address)
}

// TestParsePeers: who founds a quorum, and which lists cannot be one.
func TestParsePeers(t *testing.T) {
	for name, tt := range map[string]struct {
		join  bool
		peers []string
		want  string // id@address, "error" for none
	}{
		"alone":      {false, nil, "[me@own:1]"},
		"joins":      {true, []string{"me=a:1/b:1"}, "[]"},
		"three":      {false, []string{"me=a:1/x:1", "p=b:2/x:2", "q=c:3/x:3"}, "[me@a:1 p@b:2 q@c:3]"},
		"not named":  {false, []string{"p=b:2/x:2"}, "error"},
		"no id":      {false, []string{"=a:1/x:1"}, "error"},
		"no address": {false, []string{"me=/x:1"}, "error"},
		"no port":    {false, []string{"me=a/x:1"}, "error"},
		"no equals":  {false, []string{"me"}, "error"},
	} {
		c := &config.Master{ID: "me", Join: tt.join, Peers: tt.peers, Journal: config.Journal{Address: "own:1"}}
		members, err := parsePeers(c)
		var got []string
		for _, m := range members {
			if !m.Voter {
				t.Errorf("%s: %s has no vote", name, m.ID)
			}
			got = append(got, m.ID+"@"+m.Address)
		}
		if tt.want == "error" != (err != nil) || err == nil && fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, tt.want)
		}
		if err != nil && !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLayout: what is asked for wins over what was saved, which wins over the defaults; what cannot run is refused and not
// saved; the file is written whole.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cluster.json")
	standard := layout{Masters: 1, Workers: 1, Port: DefaultPort, Capacity: "4GiB"}
	for i, step := range []struct {
		ask  UpConfig
		want layout
		kind dfs.Kind // of the refusal
	}{
		{UpConfig{Masters: 4}, layout{}, dfs.InvalidArgument},
		{UpConfig{}, standard, 0},
		{UpConfig{Workers: 3}, layout{1, 3, DefaultPort, "4GiB"}, 0},
		{UpConfig{Masters: 1, Port: 7000}, layout{1, 3, 7000, "4GiB"}, 0},
		{UpConfig{Masters: 3}, layout{}, dfs.InvalidArgument}, // another quorum
		{UpConfig{Workers: maxUpWorkers + 1}, layout{}, dfs.InvalidArgument},
		{UpConfig{Workers: -1}, layout{}, dfs.InvalidArgument},
		{UpConfig{Port: -1}, layout{}, dfs.InvalidArgument},
		{UpConfig{Port: 65500}, layout{}, dfs.InvalidArgument},
		{UpConfig{Capacity: "1 apple"}, layout{}, dfs.InvalidArgument},
		{UpConfig{Capacity: "1GiB", Workers: maxUpWorkers}, layout{1, maxUpWorkers, 7000, "1GiB"}, 0},
		{UpConfig{}, layout{1, maxUpWorkers, 7000, "1GiB"}, 0},
	} {
		got, err := settle(dir, step.ask)
		if step.kind != 0 {
			if !dfs.IsKind(err, step.kind) {
				t.Errorf("step %d: got %v", i, err)
			}
			continue
		}
		if err != nil || got != step.want {
			t.Errorf("step %d: %+v, %v; want %+v", i, got, err, step.want)
		}
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil { // nothing to write: an unchanged layout is not
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }()
	if _, err := settle(dir, UpConfig{}); err != nil {
		t.Errorf("an unchanged layout: %v", err)
	}
	if after, err := os.Stat(path); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("an unchanged layout was written: %v", err)
	}
}

// TestPortsDoNotMeet: no two services of the largest cluster have one port.
func TestPortsDoNotMeet(t *testing.T) {
	c := &Cluster{Dir: "/x", layout: layout{Masters: 5, Workers: maxUpWorkers, Port: 1000, Capacity: "1GiB"}}
	seen := map[string]string{}
	claim := func(what, address string) {
		if seen[address] != "" {
			t.Errorf("%s and %s are both at %s", what, seen[address], address)
		}
		seen[address] = what
	}
	dirs := map[string]bool{}
	for i := range c.layout.Masters {
		m := c.masterConfig(i).Master
		claim(m.ID, m.Address)
		claim(m.ID+" journal", m.Journal.Address)
		claim(m.ID+" http", m.HTTP.Address)
		dirs[m.Journal.Dir], dirs[m.Metadata.Dir] = true, true
		if len(m.Peers) != 5 || !strings.Contains(m.Peers[i], m.ID+"="+m.Journal.Address+"/"+m.Address) {
			t.Errorf("%s has the peers %v", m.ID, m.Peers)
		}
	}
	for i := range c.layout.Workers {
		cfg, err := c.workerConfig(i)
		if err != nil {
			t.Fatal(err)
		}
		w := cfg.Worker
		claim(w.Dir, w.Address)
		claim(w.Dir+" http", w.HTTP.Address)
		dirs[w.Dir], dirs[w.Tiers[0].Dir] = true, true
		if len(w.Masters) != 5 || w.Tiers[0].Capacity != 1<<30 {
			t.Errorf("worker %d: %v, %v", i, w.Masters, w.Tiers)
		}
	}
	if len(dirs) != 2*5+2*maxUpWorkers {
		t.Errorf("%d folders for %d stores", len(dirs), 2*5+2*maxUpWorkers)
	}
}

// TestWorkerSettings: configuration in the worker's terms: a scrub rate of 0 is none, and watermarks are those of each tier.
func TestWorkerSettings(t *testing.T) {
	c := config.Default().Worker
	c.Scrub.Rate = 0
	if scrubRate(&c) >= 0 {
		t.Error("a rate of 0 scrubs")
	}
	c.Scrub.Rate = 7
	if scrubRate(&c) != 7 {
		t.Errorf("the rate is %d", scrubRate(&c))
	}
	c.Tiers = []config.Tier{{Name: "MEM", Dir: "/m", Capacity: 1 << 20}, {Name: "HDD", Dir: "/h", Capacity: 2 << 20}}
	got := tiers(&c)
	if len(got) != 2 || got[1].Name != "HDD" || got[1].Dir != "/h" || got[1].CapacityBytes != 2<<20 || got[1].High != c.Watermark.High || got[0].Low != c.Watermark.Low {
		t.Errorf("tiers %+v", got)
	}
}
