package scenario

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/cluster"
	"github.com/forebay/forebay/sim/oracle"
	"github.com/forebay/forebay/sim/store"
	"github.com/forebay/forebay/sim/trace"
	"github.com/forebay/forebay/sim/world"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/ufs"
)

// warmUp is how long a cluster has to come up before the load begins. Durations of scenarios count from zero.
const warmUp = 3 * time.Second

// progressEvery is how much virtual time passes between two lines of progress.
const progressEvery = 10 * time.Second

// Options are a run's.
type Options struct {
	Seed     uint64
	Progress io.Writer       // a line for every ten simulated seconds; nil: none
	Trace    io.Writer       // every turn of every task; nil: none
	Record   *trace.Recorder // of what happened, for people; nil: none
	Log      *slog.Logger    // of production code; nil: into Record, if there is one
}

// run is one run of a scenario. It is used by the tasks of the world, one at a time, and needs no lock.
type run struct {
	s       *Scenario
	w       *world.World
	cluster *cluster.Cluster
	store   ufs.Store // the under store without Forebay, from a node that nothing happens to
	report  *Report
	record  *trace.Recorder
	users   []*user
	working int // users that have not ended
	sampler *sampler

	writeTypes []dfs.WriteType

	book   *oracle.Book
	boards *oracle.Boards
	races  *oracle.Races
	kept   *oracle.Kept
	born   []birth // of each worker

	faults  []*fault // under way
	healed  bool     // no fault begins any more
	wipes   int      // disks of workers that were lost
	damaged bool     // bytes on some disk were changed
	skewed  bool     // clocks differ
}

// Run runs a scenario to its end. The report is whole also when the run failed, up to then; an error means that the
// simulation itself could not go on (a panic, a deadlock), while what the cluster did wrong is in Report.Violations.
// ctx is looked at every ten simulated seconds; when it ends Run returns what there is with an error. Nothing is
// written but to Progress, Trace and Log, and all tasks have ended when it returns.
func Run(ctx context.Context, s *Scenario, o Options) (*Report, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	w := world.New(o.Seed)
	defer w.Close()
	w.CPU = world.DefaultCPU
	w.TakePaths(s.Paths)
	r := newRun(s, w, o)
	if o.Trace != nil {
		w.Sched.Trace(func(at time.Duration, node, task string) { fmt.Fprintf(o.Trace, "%12v  %-8s %s\n", at, node, task) })
	}
	r.recordTo(o.Record)
	r.fill()
	for _, g := range s.groups() {
		for number := range g.clients {
			i := len(r.users)
			u := newUser(r, i, w.NewNode(fmt.Sprintf("c%d", i+1), r.cluster.Place(i)))
			u.group, u.number = g, number
			r.users = append(r.users, u)
			r.working++
			u.node.Go("user", func() { u.work(); r.working-- })
		}
	}
	r.schedule()
	if s.Settle > 0 {
		r.watch()
	}
	err := r.advance(ctx, o.Progress)
	if err == nil {
		err = r.settle(ctx)
	}
	r.report.finish(r)
	return r.report, err
}

func newRun(s *Scenario, w *world.World, o Options) *run {
	if o.Log == nil {
		o.Log = o.Record.Logger(w.Sched.Elapsed)
	}
	r := &run{s: s, w: w, report: newReport(s, o.Seed)}
	r.book = &oracle.Book{Now: w.Sched.Elapsed, Mix: w.Sched.MixText}
	r.boards, r.races, r.kept = oracle.NewBoards(r.book, max(s.Boards, 1)), oracle.NewRaces(r.book), oracle.NewKept(r.book)
	model, _ := s.Store.model() // Check has looked
	r.cluster = cluster.New(w, cluster.Config{Masters: s.Masters, Workers: s.Workers, Racks: s.Racks, WorkerBytes: int64(s.WorkerCache), Log: o.Log,
		SessionTimeout: s.SessionTimeout, WorkerLostAfter: s.WorkerLostAfter, SnapshotEntries: s.SnapshotEntries,
		Listed: (s.Blocks + s.Workers - 1) / s.Workers, Store: model})
	r.sampler = newSampler(r)
	r.store = r.cluster.Store.On(w.NewNode("auditor", world.NodeConfig{}))
	for _, name := range spread(s.WriteTypes) {
		t, _ := dfs.ParseWriteType(name) // Check has looked
		r.writeTypes = append(r.writeTypes, t)
	}
	return r
}

// spread repeats each key as often as its weight says, in the order of the keys.
func spread(weights map[string]int) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		all = append(all, slices.Repeat([]string{name}, weights[name])...)
	}
	return all
}

// largeSize bounds the files of the operation "large".
func (r *run) largeSize() Size {
	if r.s.LargeSize > 0 {
		return r.s.LargeSize
	}
	return 4 * dfs.PageSizeBytes
}

// fill puts the shared files into the under store, before time begins: behind Forebay's back, as files are that were there
// before the mount.
func (r *run) fill() {
	for _, d := range []store.Dataset{shared(r.s.Files, int64(r.s.FileSize)), r.s.Tables.dataset()} {
		if d.Files == 0 {
			continue
		}
		if err := r.cluster.Store.Declare(d); err != nil {
			panic(fmt.Sprintf("fill the under store: %v", err)) // its patterns are ours
		}
	}
}

// advance runs the world in steps, so that progress can be told, ctx heeded, and what happens measured.
func (r *run) advance(ctx context.Context, progress io.Writer) error {
	began := r.report.clock()
	for at := time.Duration(0); at < r.s.Duration; {
		at = r.nextStep(at, r.s.Duration)
		if err := r.w.Sched.Run(at); err != nil {
			return err
		}
		r.recover()
		if at%r.sampler.series.Step == 0 || at == r.s.Duration {
			r.sampler.take()
		}
		if at%progressEvery != 0 && at != r.s.Duration {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("interrupted at %v of %v: %w", at, r.s.Duration, err)
		}
		if progress != nil {
			wall := r.report.clock().Sub(began)
			left := time.Duration(float64(wall) / float64(at) * float64(r.s.Duration-at))
			fmt.Fprintf(progress, "sim: %v of %v, %d operations, %.1f simulated seconds a second, about %v to go\n",
				at, r.s.Duration, r.report.Operations(), at.Seconds()/max(wall.Seconds(), 1e-9), left.Round(time.Second))
		}
	}
	return nil
}
