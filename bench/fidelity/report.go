package fidelity

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/forebay/forebay/sim/model"
)

// Report is a comparison: measured and simulated values in columns of their own, and errors.
type Report struct {
	Model            *model.Model `json:"model"`
	Calibration      []Sample     `json:"calibration,omitempty"` // what the model was made from, when that was part of the run
	Rows             []Row        `json:"rows"`
	ThroughputError  float64      `json:"throughput_error_median"` // medians of the rows' absolute errors
	LatencyError     float64      `json:"median_latency_error_median"`
	P99Error         float64      `json:"p99_error_median"`
	ByOperation      []Group      `json:"by_operation"`
	Worst            []Cause      `json:"worst"`
	OthersDuringReal float64      `json:"others_median"` // share of the machine that other processes had
}

// Row is one workload in both worlds. Errors are simulated over measured, less one.
type Row struct {
	Measured   Sample  `json:"measured"`
	Simulated  Sample  `json:"simulated"`
	Throughput float64 `json:"throughput_error"`
	Latency    float64 `json:"median_latency_error"`
	P99        float64 `json:"p99_error"`
}

// Group is the rows of one operation.
type Group struct {
	Op         string  `json:"op"`
	Rows       int     `json:"rows"`
	Throughput float64 `json:"throughput_error_median"`
	Latency    float64 `json:"median_latency_error_median"`
}

// Cause is a row that is far off, with the quantities that may be why.
type Cause struct {
	Name  string  `json:"name"`
	Error float64 `json:"error"`
	Why   string  `json:"why"`
}

func compare(real, sim Sample) Row {
	return Row{Measured: real, Simulated: sim, Throughput: off(sim.Throughput, real.Throughput),
		Latency: off(float64(sim.Median), float64(real.Median)), P99: off(float64(sim.P99), float64(real.P99))}
}

func off(sim, real float64) float64 { return sim/max(real, 1e-9) - 1 }

// worst is the larger of the two errors that count.
func (r Row) worst() float64 {
	if math.Abs(r.Latency) > math.Abs(r.Throughput) {
		return r.Latency
	}
	return r.Throughput
}

const worstRows = 5

func (r *Report) conclude() {
	absolute := func(rows []Row, of func(Row) float64) float64 {
		return medianOf(rows, func(x Row) float64 { return math.Abs(of(x)) })
	}
	throughput, latency := func(x Row) float64 { return x.Throughput }, func(x Row) float64 { return x.Latency }
	r.ThroughputError, r.LatencyError = absolute(r.Rows, throughput), absolute(r.Rows, latency)
	r.P99Error = absolute(r.Rows, func(x Row) float64 { return x.P99 })
	r.OthersDuringReal = medianOf(r.Rows, func(x Row) float64 { return x.Measured.Others })
	groups := map[string][]Row{}
	var names []string
	for _, x := range r.Rows {
		op := x.Measured.Workload.Op
		if groups[op] == nil {
			names = append(names, op)
		}
		groups[op] = append(groups[op], x)
	}
	for _, op := range names {
		r.ByOperation = append(r.ByOperation, Group{op, len(groups[op]), absolute(groups[op], throughput), absolute(groups[op], latency)})
	}
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(math.Abs(b.worst()), math.Abs(a.worst())) })
	for _, x := range rows[:min(worstRows, len(rows))] {
		r.Worst = append(r.Worst, Cause{x.Measured.Workload.Name(), x.worst(), x.why()})
	}
}

// why names the quantities in which the two worlds differ, of those that time follows from. It points at a cause; it proves none.
func (x Row) why() string {
	real, sim := x.Measured, x.Simulated
	var all []string
	differ := func(what string, sim, real, least float64) {
		if real > least && math.Abs(off(sim, real)) > 0.15 {
			all = append(all, fmt.Sprintf("%s %+.0f%%", what, 100*off(sim, real)))
		}
	}
	differ("client CPU", sim.ClientCPU, real.ClientCPU, 1)
	differ("master CPU", sim.MasterCPU, real.MasterCPU, 1)
	differ("worker CPU", sim.WorkerCPU, real.WorkerCPU, 1)
	differ("metadata messages", sim.Messages, real.Messages, 0)
	differ("journal entries", sim.Entries, real.Entries, 0.001)
	if real.Others > 0.1 {
		all = append(all, fmt.Sprintf("other processes had %.0f%% of the machine", 100*real.Others))
	}
	if len(all) == 0 {
		return "CPU time and messages agree: waits (disk, network, queues) do not"
	}
	return strings.Join(all, ", ")
}

// Table is the report for people, as Markdown.
func (r *Report) Table() string {
	var b strings.Builder
	m := r.Model
	fmt.Fprintf(&b, "# fidelity of the simulator\n\nModel of %s at commit %s: %s, %d cores, Linux %s, %s. Workloads that it was not made from.\n\n",
		m.Time.Format("2006-01-02 15:04"), m.Commit, m.Machine.CPU, m.Cores, m.Machine.Kernel, m.Machine.Go)
	b.WriteString("| workload | op/s measured | op/s simulated | error | median measured | median simulated | error | p99 measured | p99 simulated | error | others |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/1e6) }
	for _, x := range r.Rows {
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %+.0f%% | %s | %s | %+.0f%% | %s | %s | %+.0f%% | %.0f%% |\n", x.Measured.Workload.Name(),
			x.Measured.Throughput, x.Simulated.Throughput, 100*x.Throughput, ms(x.Measured.Median), ms(x.Simulated.Median), 100*x.Latency,
			ms(x.Measured.P99), ms(x.Simulated.P99), 100*x.P99, 100*x.Measured.Others)
	}
	b.WriteString("\n| operation | workloads | median error, throughput | median error, median latency |\n|---|---|---|---|\n")
	for _, g := range r.ByOperation {
		fmt.Fprintf(&b, "| %s | %d | %.1f%% | %.1f%% |\n", g.Op, g.Rows, 100*g.Throughput, 100*g.Latency)
	}
	b.WriteString("\nThe worst, and in what the two differ there (simulated against measured):\n\n")
	for _, c := range r.Worst {
		fmt.Fprintf(&b, "- %s: %+.0f%%: %s\n", c.Name, 100*c.Error, c.Why)
	}
	fmt.Fprintf(&b, "\nmedian error over %d workloads: throughput %.1f%%, median latency %.1f%%, p99 %.1f%%; other processes had %.0f%% of the machine\n",
		len(r.Rows), 100*r.ThroughputError, 100*r.LatencyError, 100*r.P99Error, 100*r.OthersDuringReal)
	return b.String()
}
