// Package crash kills random masters and workers of a real cluster with SIGKILL, again and again, under a mixed load, and
// checks that nothing acknowledged is lost, no byte is wrong, and the cluster serves again each time. Everything random
// follows from one seed.
//
// # What is checked
//
// Four writers make, rename and remove files of every write type, each path once; two readers compare random ones; the breaker
// kills, waits and starts again. A file counts as acknowledged when its write, and the rename after it, were answered without an
// error. For these:
//
//   - INV-1: while things break, a read gives the acknowledged bytes or an error that is not NotFound. An error says "not now";
//     NotFound and other bytes say something about the file that is not so.
//   - INV-2: once all serve again, every acknowledged file reads as it was written. Workers were killed and not their disks, so
//     that this holds for what only workers have, too.
//   - INV-3: after each kill everything serves again within a minute.
//
// An operation that was refused may or may not have happened, and its path is not looked at again.
//
// # What is not
//
// SIGKILL loses nothing that was given to the kernel: lost power, torn and reordered writes are for the simulator and the tests of
// the journal and the block store. Several kills at a time are not promised to be survived.
package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// Config says how much to break.
type Config struct {
	Binary string
	Kills  int
	Seed   uint64
	Out    io.Writer
}

// Report is what was seen. Kills counts those after which everything served again; MasterKills and WorkerKills count those
// that were begun, so that they add up to one more when the cluster did not come back.
type Report struct {
	Kills        int           `json:"kills"`
	MasterKills  int           `json:"master_kills"`
	WorkerKills  int           `json:"worker_kills"`
	Acknowledged int           `json:"acknowledged"`
	Refused      int64         `json:"refused"` // operations that failed with an error, as they may under kills
	Reads        int64         `json:"reads"`
	RecoverP50   time.Duration `json:"recover_p50_ns"` // from the kill until everything serves again, restart included
	RecoverMax   time.Duration `json:"recover_max_ns"`
}

const (
	writers     = 4
	readersN    = 2
	opTimeout   = 20 * time.Second
	readyWithin = 60 * time.Second
	maxTracked  = 20_000 // files whose content is remembered and checked
)

// types are the write types of the load; the first path component tells which.
var types = []dfs.WriteType{dfs.WriteCacheThrough, dfs.WriteMustCache, dfs.WriteAsyncThrough, dfs.WriteThrough}

// Run breaks a cluster and returns an error when it lost or changed anything, did not come back, or acknowledged nothing at
// all: a loop in which every operation was refused checked nothing.
//
// The report is whole up to the fault, and nil only when no process ran. The error names the seed and the folder of logs and
// data, which are kept after a fault and removed after a success. The end of ctx is an error, too. The same seed kills the
// same processes in the same order after the same pauses; what the load does meanwhile depends on the machine's timing.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	dir, err := os.MkdirTemp("", "forebay-crash-")
	if err != nil {
		return nil, err
	}
	under := filepath.Join(dir, "under")
	if err := os.Mkdir(under, 0o755); err != nil {
		return nil, err
	}
	c, err := cluster.Start(cluster.Config{Binary: cfg.Binary, Dir: dir, Masters: 3, Workers: 3, Capacity: "4GiB", RootURI: under})
	if err != nil { // nothing ran, so that nothing in the folder says why
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer c.Close()
	l := &load{cfg: cfg, c: c, files: map[dfs.Path][]byte{}, report: &Report{}}
	err = l.run(ctx)
	if err != nil {
		return l.report, fmt.Errorf("%w\nseed %d; logs and data are kept in %s", err, cfg.Seed, dir)
	}
	if err := c.Close(); err != nil {
		return l.report, err
	}
	return l.report, os.RemoveAll(dir)
}

// load is the mixed load and what it knows to be acknowledged. Writers add to files and order, readers and the breaker look;
// all under mu. A path is in files once it is acknowledged and never changes or goes again: whoever reads it later, at any
// time, must get these bytes. report belongs to the goroutine that breaks and judges.
type load struct {
	cfg    Config
	c      *cluster.Cluster
	client *client.Client
	report *Report

	mu     sync.Mutex
	files  map[dfs.Path][]byte // acknowledged content
	order  []dfs.Path
	faults []error

	stop    atomic.Bool
	refused atomic.Int64
	reads   atomic.Int64
}

// run loads the cluster, breaks it, and judges. Writers and readers stop before judgement, so that what is remembered is
// exactly what was acknowledged.
func (l *load) run(ctx context.Context) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	var err error
	if l.client, err = l.c.Client(func(c *client.Config) { c.Timeout = opTimeout }); err != nil {
		return err
	}
	defer l.client.Close()
	for _, t := range types {
		if err := l.client.Mkdir(ctx, dfs.Path("/"+t.String())); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { l.write(ctx, i) })
	}
	for i := range readersN {
		wg.Go(func() { l.readBack(ctx, i) })
	}
	err = l.breakThings(ctx)
	l.stop.Store(true)
	wg.Wait()
	l.report.Refused, l.report.Reads = l.refused.Load(), l.reads.Load()
	if err != nil {
		return err
	}
	return l.judge(ctx)
}

// ready waits until everything serves; not coming back within the bound is a failure of its own.
func (l *load) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	return l.c.Ready(ctx)
}

// breakThings kills one process at a time, starts it again, and waits until all serve. One at a time is what the cluster
// promises to bear: a majority of masters stays, and a file that only one worker has waits on that worker's disk. It stops
// at the first fault that a reader has noted, while the processes are still as they were when it was seen.
func (l *load) breakThings(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(l.cfg.Seed, 1))
	nodes := l.c.Nodes("")
	var recoveries []time.Duration
	for i := range l.cfg.Kills {
		n := nodes[rng.IntN(len(nodes))]
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond) // the load goes on for a while
		if n.Role == "master" {
			l.report.MasterKills++
		} else {
			l.report.WorkerKills++
		}
		begin := time.Now()
		n.Kill()
		time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
		if err := n.Start(); err != nil {
			return err
		}
		if err := l.ready(ctx); err != nil {
			return fmt.Errorf("after kill %d (%s): %w; its log:\n%s", i+1, n.Name, err, n.Log(15))
		}
		recoveries = append(recoveries, time.Since(begin))
		l.report.Kills++
		if err := l.fault(); err != nil {
			return fmt.Errorf("after kill %d (%s): %w", i+1, n.Name, err)
		}
		if (i+1)%10 == 0 {
			l.mu.Lock()
			fmt.Fprintf(l.cfg.Out, "crash: %d kills, %d files acknowledged, %d operations refused, %d reads checked\n",
				i+1, len(l.files), l.refused.Load(), l.reads.Load())
			l.mu.Unlock()
		}
	}
	sort.Slice(recoveries, func(i, j int) bool { return recoveries[i] < recoveries[j] })
	if len(recoveries) > 0 {
		l.report.RecoverP50, l.report.RecoverMax = recoveries[len(recoveries)/2], recoveries[len(recoveries)-1]
	}
	return nil
}

// fault is what went wrong so far; nil while all is well.
func (l *load) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.faults...)
}

// wrong notes a fault. The load goes on, so that one report shows how far it reaches.
func (l *load) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Errorf(format, args...))
}

// write makes, renames and removes files of its own until the load stops; no two writers share a path. Only what was acknowledged is remembered; a refused operation may
// or may not have happened, so the path is given up.
func (l *load) write(ctx context.Context, id int) {
	rng := rand.New(rand.NewPCG(l.cfg.Seed, uint64(100+id)))
	for i := 0; !l.stop.Load(); i++ {
		t := types[rng.IntN(len(types))]
		p := dfs.Path(fmt.Sprintf("/%s/%d-%06d", t, id, i))
		data := content(p, rng.IntN(200_000))
		if err := l.client.WriteFile(ctx, p, data, client.WithWriteType(t)); err != nil {
			l.refused.Add(1)
			continue
		}
		switch rng.IntN(10) {
		case 0:
			q := p + "-moved"
			if err := l.client.Rename(ctx, p, q); err != nil {
				l.refused.Add(1)
				continue
			}
			p = q
		case 1:
			if err := l.client.Remove(ctx, p, client.RemoveOptions{}); err != nil {
				l.refused.Add(1)
			}
			continue
		}
		l.remember(p, data)
	}
}

// content is a function of the path and a size, so that a byte of another file or place is seen.
func content(p dfs.Path, size int) []byte {
	out := make([]byte, 0, size+64)
	for i := 0; len(out) < size; i++ {
		out = fmt.Appendf(out, "%s line %d\n", p, i)
	}
	return out
}

// remember keeps an acknowledged content for checking. At the bound new files are still written, and not checked: the load
// must not slow down with its age.
func (l *load) remember(p dfs.Path, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) < maxTracked {
		l.files[p] = data
		l.order = append(l.order, p)
	}
}

// readBack checks random acknowledged files while things break. An error may be a kill's; a wrong byte may not.
func (l *load) readBack(ctx context.Context, id int) {
	rng := rand.New(rand.NewPCG(l.cfg.Seed, uint64(200+id)))
	for !l.stop.Load() {
		l.mu.Lock()
		if len(l.order) == 0 {
			l.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p := l.order[rng.IntN(len(l.order))]
		want := l.files[p]
		l.mu.Unlock()
		got, err := l.client.ReadFile(ctx, p)
		switch {
		case dfs.IsKind(err, dfs.NotFound):
			l.wrong("%s was acknowledged and is gone: %w", p, err)
		case err != nil:
			l.refused.Add(1)
		case !bytes.Equal(got, want):
			l.wrong("%s: wrong bytes: %s", p, difference(got, want))
		default:
			l.reads.Add(1)
		}
	}
}

// difference says where two contents part: the place tells a torn write from a foreign page.
func difference(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("first at %d of %d (read %d)", i, len(want), len(got))
		}
	}
	return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
}

// whereabouts is for a fault that has been found already, so that its own errors are part of the text. It says what the cluster believes of a file, for the report of a fault.
func (l *load) whereabouts(ctx context.Context, p dfs.Path) string {
	s, err := l.client.Stat(ctx, p)
	if err != nil {
		return err.Error()
	}
	locations, err := l.client.Locate(ctx, p)
	text := fmt.Sprintf("inode %d version %d, %d bytes, %v, located at %v, %v", s.ID, s.Version, s.Length, s.Persist, locations, err)
	workers, err := l.client.Workers(ctx)
	if err != nil {
		return text + ", " + err.Error()
	}
	for _, w := range workers {
		text += fmt.Sprintf("; worker %s at %s live %v registered %v with %d blocks", w.ID, w.Address, w.Live, w.Registered, w.Blocks)
	}
	return text
}

// judge reads everything back on the healed cluster, where nothing may fail any more. Ten faults are enough to look at: a
// cluster that lost everything must not take as long to judge as one that lost nothing. Only the caller's goroutine is left
// by then, so that what the load remembers is read without the lock.
func (l *load) judge(ctx context.Context) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	return l.compare(ctx)
}

// compare reads everything that was acknowledged once and returns what is wrong, with what readers noted before.
func (l *load) compare(ctx context.Context) error {
	l.report.Acknowledged = len(l.files)
	if len(l.files) == 0 {
		l.wrong("nothing was acknowledged: %d operations were refused, and nothing was checked", l.refused.Load())
	}
	for _, p := range l.order {
		got, err := l.client.ReadFile(ctx, p)
		if err != nil {
			l.wrong("%s was acknowledged and cannot be read: %w; %s", p, err, l.whereabouts(ctx, p))
		} else if !bytes.Equal(got, l.files[p]) {
			l.wrong("%s: wrong bytes: %s", p, difference(got, l.files[p]))
		}
		if len(l.faults) >= 10 {
			break
		}
	}
	return l.fault()
}
