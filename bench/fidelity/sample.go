package fidelity

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/forebay/forebay/sim/model"
)

// Sample is what a workload showed, over its slices: medians, so that one disturbed slice does not count.
type Sample struct {
	Workload   Workload      `json:"workload"`
	Throughput float64       `json:"operations_per_second"`
	Median     time.Duration `json:"median_ns"`
	P90        time.Duration `json:"p90_ns"`
	P99        time.Duration `json:"p99_ns"`
	ClientCPU  float64       `json:"client_cpu_us"` // an operation
	MasterCPU  float64       `json:"master_cpu_us"`
	WorkerCPU  float64       `json:"worker_cpu_us"`
	Messages   float64       `json:"metadata_messages"` // an operation
	Entries    float64       `json:"journal_entries"`   // an operation; 0 where it is not counted
	Others     float64       `json:"others"`            // share of the machine that other processes had
	Slices     int           `json:"slices"`
}

// Quiet says which slices are worth something on a machine that others use: those meanwhile they use little.
type Quiet struct {
	Cores  int
	Slices int           // wanted, in which others had less than Others
	Others float64       // share of the machine
	Budget time.Duration // of a workload: then the quietest that there are must do
}

// DefaultQuiet ends soon on a machine of one's own.
var DefaultQuiet = Quiet{Slices: 5, Others: 0.04, Budget: 3 * time.Second}

// tried is one slice with what else is known of it.
type tried struct {
	measured
	entries float64
	others  float64
}

// sample measures a workload until enough slices were quiet, or the budget is used up. Every slice is told to raw.
func (r *rig) sample(ctx context.Context, w Workload, q Quiet, raw io.Writer) (Sample, error) {
	fail := func(err error) (Sample, error) { return Sample{}, fmt.Errorf("%s: %w", w.Name(), err) }
	next, err := r.prepare(ctx, w)
	if err != nil {
		return fail(err)
	}
	var all []tried
	quiet := 0
	for began := time.Now(); quiet < q.Slices && (len(all) < 2 || time.Since(began) < q.Budget); {
		j, err := next(ctx)
		if err != nil {
			return fail(err)
		}
		before := r.entries(ctx)
		m, err := r.measure(ctx, w.Callers, j)
		if err != nil {
			return fail(err)
		}
		t := tried{m, float64(r.entries(ctx) - before), m.others(q.Cores)}
		if all = append(all, t); len(all) > 1 && t.others <= q.Others { // the first warms up
			quiet++
		}
		if raw != nil {
			fmt.Fprintf(raw, "%q,%d,%d,%d,%d,%d,%d,%d,%d,%.4f\n", w.Name(), len(all), m.Ops, m.Wall, m.client, m.master, m.worker, m.Metadata, int64(t.entries), t.others)
		}
	}
	return summarize(w, all[1:], q), nil
}

// RawHeader names the columns of what sample tells. Times are in nanoseconds.
const RawHeader = "workload,slice,operations,wall_ns,client_cpu_ns,master_cpu_ns,worker_cpu_ns,metadata_messages,journal_entries,others\n"

// entries is how many entries the journal has.
func (r *rig) entries(ctx context.Context) uint64 { return r.cluster.CommitIndex(ctx) }

// summarize takes the quietest slices.
func summarize(w Workload, all []tried, q Quiet) Sample {
	slices.SortStableFunc(all, func(a, b tried) int { return cmp.Compare(a.others, b.others) })
	all = all[:min(len(all), max(q.Slices, 2))]
	per := func(of func(t tried) float64) float64 { return medianOf(all, of) }
	ops := float64(w.Ops)
	s := Sample{Workload: w, Slices: len(all)}
	s.Throughput = per(func(t tried) float64 { return ops / t.Wall.Seconds() })
	s.ClientCPU = per(func(t tried) float64 { return micros(t.client) / ops })
	s.MasterCPU = per(func(t tried) float64 { return micros(t.master) / ops })
	s.WorkerCPU = per(func(t tried) float64 { return micros(t.worker) / ops })
	s.Messages = per(func(t tried) float64 { return float64(t.Metadata) / ops })
	s.Entries = per(func(t tried) float64 { return t.entries / ops })
	s.Others = per(func(t tried) float64 { return t.others })
	var latencies []time.Duration
	for _, t := range all {
		latencies = append(latencies, t.Latencies...)
	}
	s.Median, s.P90, s.P99 = quantile(latencies, 0.5), quantile(latencies, 0.9), quantile(latencies, 0.99)
	return s
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// medianOf is the middle one; of an even number the lower.
func medianOf[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, x := range all {
		values = append(values, of(x))
	}
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[(len(values)-1)/2]
}

// quantile sorts what it is given.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// simulate is the sample of a workload in the simulator, beside other processes with a share of the machine.
func simulate(m *model.Model, w Workload, others float64, seed uint64) (Sample, error) {
	p, err := predict(m, w, others, seed)
	if err != nil {
		return Sample{}, err
	}
	return summarize(w, []tried{{measured: measured{p.slice, p.used}, entries: float64(p.entries)}}, Quiet{}), nil
}
