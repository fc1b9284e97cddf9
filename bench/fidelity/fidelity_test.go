package fidelity

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/benchtest"
	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/system/dfs"
)

// small is one workload of each kind, of few operations.
func small() []Workload {
	all := []Workload{
		{Op: opStatus, Callers: 4, Ops: 40}, {Op: opCreate, Callers: 3, Ops: 9}, {Op: opMkdir, Callers: 3, Ops: 9},
		{Op: opList, Callers: 2, Entries: 20, Ops: 6}, {Op: opCold, Callers: 2, Bytes: 3 * kib, Ops: 4},
		{Op: opWarm, Callers: 2, Bytes: mib + 1, Ops: 4},
	}
	for _, t := range []dfs.WriteType{dfs.WriteMustCache, dfs.WriteThrough, dfs.WriteCacheThrough, dfs.WriteAsyncThrough} {
		all = append(all, Workload{Op: opWrite, Type: t, Callers: 2, Bytes: 5 * kib, Ops: 4})
	}
	for i := range all {
		all[i].Workers = 1 + i%2
	}
	return all
}

// known is a model whose every part has an effect.
func known() *model.Model {
	m := first(2)
	m.Disk.CreateNs, m.Disk.WriteKiBNs, m.Disk.SyncCPUNs, m.Disk.SyncSpread = 50e3, 500, 50e3, 0.3
	m.Store = model.Store{OpenNs: 200e3, ReadKiBNs: 500, WriteNs: 200e3, WriteKiBNs: 500, CommitNs: 1e6}
	m.Operations[model.Status] = model.Operation{ClientNs: 2e3, ServerNs: 3e3}
	return m
}

// TestDriverInTheSimulator: each kind of workload runs there, shows its costs where they belong, and follows from the seed.
func TestDriverInTheSimulator(t *testing.T) {
	for _, w := range small() {
		p, err := predict(known(), w, 0, 1)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Ops != w.Ops || p.Wall <= 0 || p.client <= 0 || p.master <= 0 || p.Metadata < 2 {
			t.Errorf("%s: %+v, %+v", w.Name(), p.slice, p.used)
		}
		for i, d := range p.Latencies {
			if d <= 0 || d > p.Wall {
				t.Errorf("%s: operation %d took %v of %v", w.Name(), i, d, p.Wall)
			}
		}
		changes := w.Op == opCreate || w.Op == opMkdir || w.Op == opWrite
		if data := w.Bytes > 0; data != (p.worker > time.Duration(w.Ops)*40*time.Microsecond) || changes != (p.entries > 0) {
			t.Errorf("%s: workers used %v, the journal got %d entries", w.Name(), p.worker, p.entries)
		}
		again, err := predict(known(), w, 0, 1)
		if err != nil || again.History != p.History || again.Wall != p.Wall {
			t.Errorf("%s: one seed, two histories: %v", w.Name(), err)
		}
		if w.Op == opMkdir {
			if other, err := predict(known(), w, 0, 2); err != nil || other.History == p.History {
				t.Errorf("another seed has the same history: %v", err)
			}
		}
	}
}

// TestModelDecides: a figure of the model that is larger makes the workload slower that depends on it.
func TestModelDecides(t *testing.T) {
	write := func(t dfs.WriteType) Workload {
		return Workload{Op: opWrite, Type: t, Callers: 2, Workers: 1, Bytes: 64 * kib, Ops: 8}
	}
	status := Workload{Op: opStatus, Callers: 8, Workers: 1, Ops: 80}
	for _, c := range []struct {
		name  string
		w     Workload
		slows func(m *model.Model)
	}{
		{"latency", status, func(m *model.Model) { m.LatencyNs *= 10 }},
		{"turn", status, func(m *model.Model) { m.TurnNs *= 10 }},
		{"start", status, func(m *model.Model) { m.StartNs *= 100 }},
		{"one core", status, func(m *model.Model) { m.Cores = 1 }},
		{"entries", Workload{Op: opList, Callers: 1, Workers: 1, Entries: 50, Ops: 4}, func(m *model.Model) { m.Operations[model.List] = model.Operation{ServerEntryNs: 1e4} }},
		{"journal's sync", write(dfs.WriteMustCache), func(m *model.Model) { m.Journal.SyncNs *= 5 }},
		{"journal's entry", write(dfs.WriteMustCache), func(m *model.Model) { m.Journal.EntryNs *= 10 }},
		{"sync", write(dfs.WriteMustCache), func(m *model.Model) { m.Disk.SyncNs *= 5 }},
		{"disk's rate", write(dfs.WriteMustCache), func(m *model.Model) { m.Disk.BytesPerSecond /= 20 }},
		{"commit", write(dfs.WriteThrough), func(m *model.Model) { m.Store.CommitNs *= 5 }},
		{"disk's rate for the store", write(dfs.WriteThrough), func(m *model.Model) { m.Disk.BytesPerSecond /= 20 }},
		{"open", Workload{Op: opCold, Callers: 2, Workers: 1, Bytes: 64 * kib, Ops: 4}, func(m *model.Model) { m.Store.OpenNs *= 10 }},
	} {
		before, err := predict(known(), c.w, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		m := known()
		c.slows(m)
		after, err := predict(m, c.w, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if after.Wall < before.Wall*11/10 {
			t.Errorf("%s: %v before and %v after", c.name, before.Wall, after.Wall)
		}
	}
}

// TestFitFindsAModel: from what the simulator shows by one model, the fit makes one that shows the same.
func TestFitFindsAModel(t *testing.T) {
	truth := known()
	var samples []Sample
	for _, w := range fewer(calibration(), true) {
		s, err := simulate(truth, w, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, s)
	}
	if testing.Short() {
		t.Skip("searches for long")
	}
	m, err := fitModel(samples, 2, truth.Disk.SyncSpread, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	var errors []float64
	for _, s := range samples {
		p, err := simulate(m, s.Workload, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		row := compare(s, p)
		errors = append(errors, math.Abs(row.worst()))
		t.Logf("%-50s %+.3f %+.3f", s.Workload.Name(), row.Throughput, row.Latency)
	}
	if e := medianOf(errors, func(x float64) float64 { return x }); e > 0.03 {
		t.Errorf("the median error is %.3f: the fit does not find what made its samples", e)
	}
}

// TestFitRefusesAGap: a calibration that lacks a workload is an error that names it.
func TestFitRefusesAGap(t *testing.T) {
	if _, err := fitModel(nil, 2, 0, false, nil); err == nil || !strings.Contains(err.Error(), opStatus) {
		t.Errorf("fitted from nothing: %v", err)
	}
}

// TestHeldOutIsHeldOut: no workload of the comparison was used to calibrate, and no two have one name.
func TestHeldOutIsHeldOut(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range append(calibration(), heldOut()...) {
		if seen[w.Name()] {
			t.Errorf("%s comes twice", w.Name())
		}
		seen[w.Name()] = true
		if w.Workers < 1 || w.Ops < 2*w.Callers {
			t.Errorf("%s: %d operations", w.Name(), w.Ops)
		}
	}
}

// TestOnProcesses: at tiny sizes a calibration and a comparison run on real processes, to a report that is whole.
func TestOnProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	raw := &strings.Builder{}
	cfg := Config{Binary: benchtest.Binary(t), Quick: true, Raw: raw}.withDefaults()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	some := small()
	for i := range some {
		some[i].Workers = 2
	}
	real, err := measureAll(t.Context(), cfg, "test", some)
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{Model: known()}
	for _, s := range real {
		if s.Throughput <= 0 || s.Median <= 0 || s.ClientCPU <= 0 || s.MasterCPU <= 0 || s.Messages <= 0 || s.Workload.Op == opMkdir && s.Entries <= 0 {
			t.Errorf("%s: %+v", s.Workload.Name(), s)
		}
		p, err := simulate(known(), s.Workload, s.Others, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.Rows = append(r.Rows, compare(s, p))
	}
	r.conclude()
	if table := r.Table(); len(r.Rows) != len(small()) || !strings.Contains(table, "median error over 10 workloads") {
		t.Errorf("the report:\n%s", table)
	}
	if lines := strings.Count(raw.String(), "\n"); lines < 2*len(small()) {
		t.Errorf("%d lines of raw data", lines)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestBrokenCluster: processes that end are an error, and a machine with other cores than the model's is refused.
func TestBrokenCluster(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "forebay")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho 'the disk said no' >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Calibrate(context.Background(), Config{Binary: binary}); err == nil || !strings.Contains(err.Error(), "the disk said no") {
		t.Errorf("calibrated: %v", err)
	}
	m := known()
	m.Cores = 1000
	if _, err := Run(context.Background(), Config{Binary: binary}, m); err == nil || !strings.Contains(err.Error(), "1000 cores") {
		t.Errorf("ran: %v", err)
	}
}

// TestReport: errors, groups and causes of rows that are known.
func TestReport(t *testing.T) {
	row := func(op string, real, sim float64, change func(r, s *Sample)) Row {
		r := Sample{Workload: Workload{Op: op, Callers: 1, Workers: 1}, Throughput: real, Median: time.Millisecond, P99: 2 * time.Millisecond, MasterCPU: 100}
		s := r
		s.Throughput = sim
		if change != nil {
			change(&r, &s)
		}
		return compare(r, s)
	}
	r := &Report{Model: known(), Rows: []Row{
		row(opStatus, 100, 110, nil), row(opStatus, 100, 95, nil),
		row(opMkdir, 100, 100, func(r, s *Sample) { s.Median *= 3; s.MasterCPU = 300 }),
		row(opList, 100, 101, func(r, s *Sample) { r.Others = 0.5 }),
		row(opWarm, 100, 150, nil),
	}}
	r.conclude()
	if math.Abs(r.ThroughputError-0.05) > 1e-9 || r.LatencyError != 0 || r.ByOperation[0].Rows != 2 || len(r.Worst) != 5 {
		t.Errorf("%+v", r)
	}
	if w := r.Worst[0]; !strings.HasPrefix(w.Name, "mkdir") || math.Abs(w.Error-2) > 1e-9 || !strings.Contains(w.Why, "master CPU +200%") {
		t.Errorf("the worst: %+v", w)
	}
	if w := r.Worst[1]; !strings.Contains(w.Why, "waits") {
		t.Errorf("the second: %+v", w)
	}
	for _, w := range r.Worst {
		if strings.HasPrefix(w.Name, opList) && !strings.Contains(w.Why, "50% of the machine") {
			t.Errorf("a disturbed one: %+v", w)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// TestQuietSlicesCount: of many slices the quietest are taken, and a disturbed one does not move the figures.
func TestQuietSlicesCount(t *testing.T) {
	w := Workload{Op: opStatus, Callers: 1, Workers: 1, Ops: 10}
	one := func(wall time.Duration, others float64) tried {
		s := slice{Ops: 10, Wall: wall, Metadata: 20}
		for range 10 {
			s.Latencies = append(s.Latencies, wall/10)
		}
		return tried{measured: measured{slice: s, used: used{client: wall / 2}}, others: others, entries: 5}
	}
	s := summarize(w, []tried{one(time.Second, 0.9), one(10*time.Millisecond, 0.01), one(time.Second, 0.5), one(20*time.Millisecond, 0.02), one(12*time.Millisecond, 0)},
		Quiet{Slices: 3, Cores: 2})
	if s.Slices != 3 || math.Abs(s.Throughput-10/0.012) > 1 || s.Median != 1200*time.Microsecond || s.Messages != 2 || s.Entries != 0.5 || s.Others != 0.01 {
		t.Errorf("%+v", s)
	}
}

// TestNumbers: the small functions that figures go through.
func TestNumbers(t *testing.T) {
	stat := "cpu  100 20 30 4000 50 6 7 8 90 10\ncpu0 1 2 3\n"
	if d := statBusy(stat); d != (100+20+30+6+7+8)*10*time.Millisecond {
		t.Errorf("busy %v", d)
	}
	for _, bad := range []string{"", "cpu", "intr 1 2 3 4 5 6 7 8 9", "cpu a b"} {
		if d := statBusy(bad); d != 0 {
			t.Errorf("%q is busy %v", bad, d)
		}
	}
	if a, b := line(2, 70, 1, 40); a != 30 || b != 10 {
		t.Errorf("line %v %v", a, b)
	}
	if a, b := line(2, 10, 1, 40); a != 0 || b != 25 {
		t.Errorf("a falling line %v %v", a, b)
	}
	if a, b := line(2, 100, 1, 40); a != 45 || b != 0 {
		t.Errorf("a line from below zero %v %v", a, b)
	}
	if s := spreadOf(100, 100); s != 0 {
		t.Errorf("no spread is %v", s)
	}
	if s := spreadOf(time.Millisecond, 3602*time.Microsecond); math.Abs(s-1) > 1e-3 {
		t.Errorf("spread %v", s)
	}
	all := []time.Duration{5, 1, 4, 2, 3}
	if quantile(all, 0.5) != 3 || quantile(all, 0.99) != 5 || quantile(nil, 0.5) != 0 {
		t.Error("quantiles")
	}
	if own := (used{client: 1, master: 2, worker: 3, machine: 10}).since(used{1, 1, 1, 1}); own != (used{0, 1, 2, 9}) || own.ours() != 3 {
		t.Errorf("%+v", own)
	}
}
