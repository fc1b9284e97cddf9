package scenario

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/forebay/forebay/sim/cluster"
	"github.com/forebay/forebay/sim/world"
)

// warmUp is how long a cluster has to come up before the load begins. Durations of scenarios count from zero.
const warmUp = 3 * time.Second

// progressEvery is how much virtual time passes between two lines of progress.
const progressEvery = 10 * time.Second

// Options are a run's.
type Options struct {
	Seed     uint64
	Progress io.Writer // a line for every ten simulated seconds; nil: none
	Trace    io.Writer // every turn of every task; nil: none
	Log      *slog.Logger
}

// run is one run of a scenario. It is used by the tasks of the world, one at a time, and needs no lock.
type run struct {
	s       *Scenario
	w       *world.World
	cluster *cluster.Cluster
	report  *Report
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
	r := &run{s: s, w: w, report: newReport(s, o.Seed)}
	if o.Trace != nil {
		w.Sched.Trace(func(at time.Duration, node, task string) { fmt.Fprintf(o.Trace, "%12v  %-8s %s\n", at, node, task) })
	}
	r.cluster = cluster.New(w, cluster.Config{Masters: s.Masters, Workers: s.Workers, Racks: s.Racks, WorkerBytes: int64(s.WorkerCache), Log: o.Log})
	r.fill()
	for i := range s.Clients {
		u := newUser(r, i, w.NewNode(fmt.Sprintf("c%d", i+1), r.cluster.Place(i)))
		u.node.Go("user", u.work)
	}
	r.schedule()
	err := r.advance(ctx, o.Progress)
	r.report.finish(w)
	return r.report, err
}

// fill puts the shared files into the under store, before time begins.
// They are put there behind Forebay's back, as files are that were there before the mount: the first access loads
// their metadata, which a load on written files would never do.
func (r *run) fill() {
	size := int(r.s.FileSize)
	store := r.cluster.Store
	for i := range r.s.Files {
		p := sharedPath(i)
		f, err := store.Create(context.Background(), string(p[1:]), 0o644)
		if err == nil {
			_, _ = f.Write(content(p, 0, size)) // into memory
			_, err = f.Commit(context.Background())
		}
		if err != nil {
			panic(fmt.Sprintf("fill the under store: %v", err)) // in memory, at a path that is ours
		}
	}
}

// advance runs the world in steps, so that progress can be told and ctx heeded.
func (r *run) advance(ctx context.Context, progress io.Writer) error {
	began := r.report.clock()
	for at := time.Duration(0); at < r.s.Duration; {
		at = min(at+progressEvery, r.s.Duration)
		if err := r.w.Sched.Run(at); err != nil {
			return err
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

// violation notes what must never be. It does not end the run: what follows from a first violation may show where it came
// from. The first twenty are told in full, all are counted, and each is part of the history.
func (r *run) violation(format string, args ...any) {
	const most = 20
	r.report.ViolationCount++
	if len(r.report.Violations) < most {
		r.report.Violations = append(r.report.Violations, fmt.Sprintf("at %v: ", r.w.Sched.Elapsed())+fmt.Sprintf(format, args...))
	}
	r.w.Sched.MixText("violation")
}
