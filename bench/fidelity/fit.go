package fidelity

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/system/dfs"
)

// fitting is a model under way: each of its figures is changed until the simulator shows, for one workload, what the real
// processes showed. A figure is looked for with one metric of one workload, on which it has the strongest effect; figures that
// have an effect on each other are gone through several times.
type fitting struct {
	m       *model.Model
	samples []Sample
	out     io.Writer // progress
	err     error     // the first
	set     func()    // brings the figures that are being looked for into the model; nil: they are in it
}

// The methods that have costs of their own.
const (
	streamMethod  = "/forebay.v1.Metadata/Stream"
	executeMethod = "/forebay.v1.Metadata/Execute"
	readMethod    = "/forebay.v1.Data/Read"
	writeMethod   = "/forebay.v1.Data/Write"
)

// fitModel makes a model that shows what samples of the calibration's workloads show. spread is of the disk's syncs (syncSpread).
// quick searches less.
func fitModel(samples []Sample, cores int, spread float64, quick bool, out io.Writer) (*model.Model, error) {
	f := &fitting{samples: samples, out: out, m: first(cores)}
	f.m.Disk.SyncSpread = min(spread, 2)
	turns, starts, shares, passes := []float64{500, 1500}, []float64{1e3, 3e3, 8e3}, []float64{0, 0.3, 1}, 2
	if quick {
		turns, starts, shares, passes = turns[1:], starts[1:2], shares[:1], 1
	}
	f.status()
	f.reads() // roughly: how they take turns is looked at
	f.mutations()
	f.turns(turns, starts, shares)
	for range passes {
		f.lists()
		f.mutations()
		f.reads()
		f.writes()
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.m, f.m.Check()
}

// first is where the search begins: magnitudes that are right on most machines. What no stage looks for stays as it is here: the
// methods that are not named are heartbeats and reports.
func first(cores int) *model.Model {
	plain := model.End{CallNs: 20e3, MessageNs: 20e3, KiBNs: 300}
	stream := model.End{CallNs: 50e3, KiBNs: 300}
	method := func(e model.End) model.Method { return model.Method{Client: e, Server: e} }
	return &model.Model{
		Version: model.Version, Cores: cores, LatencyNs: 10e3, TurnNs: 1e3, StartNs: 2e3,
		Methods: map[string]model.Method{model.Other: method(plain), streamMethod: method(plain), executeMethod: method(plain),
			readMethod: method(stream), writeMethod: method(stream)},
		Operations: map[string]model.Operation{model.Other: {ServerNs: 5e3}, model.Status: {}, model.List: {}, model.Mkdir: {},
			model.Create: {}, model.Complete: {}},
		Journal: model.Journal{EntryNs: 50e3, SyncNs: 200e3}, Disk: model.Disk{SyncNs: 400e3, BytesPerSecond: 500e6},
	}
}

// real is the sample of a calibration's workload.
func (f *fitting) real(op string, callers, size int, t dfs.WriteType) Sample {
	for _, s := range f.samples {
		w := s.Workload
		if w.Op == op && w.Callers == callers && w.Bytes+w.Entries == size && w.Type == t {
			return s
		}
	}
	if f.err == nil {
		f.err = fmt.Errorf("fidelity: the calibration did not measure %s with %d callers and size %d", op, callers, size)
	}
	return Sample{}
}

// sim is the same workload in the simulator by the model of now. Shorter than the real one: it has no noise.
func (f *fitting) sim(real Sample) Sample {
	w := real.Workload
	w.Ops = min(w.Ops, max(30*w.Callers, 200))
	if w.Bytes >= mib {
		w.Ops = min(w.Ops, 5*w.Callers)
	}
	if f.err != nil {
		return Sample{}
	}
	if f.set != nil {
		f.set()
	}
	s, err := simulate(f.m, w, real.Others, 1)
	if err != nil {
		f.err = err
	}
	return s
}

// What is compared, in nanoseconds an operation. Of CPU time what messages of the metadata stream and entries of the journal
// cost is taken off, since their number depends on which operations came together.
func (f *fitting) client(s Sample) float64 {
	return s.ClientCPU*1e3 - s.Messages*f.m.Methods[streamMethod].Client.MessageNs
}

func (f *fitting) master(s Sample) float64 {
	return s.MasterCPU*1e3 - s.Messages*f.m.Methods[streamMethod].Server.MessageNs - s.Entries*f.m.Journal.EntryNs
}

func workerCPU(s Sample) float64 { return s.WorkerCPU * 1e3 }
func medianNs(s Sample) float64  { return float64(s.Median) }

// maxFigure keeps a search that leads nowhere within what a model may hold.
const maxFigure = 9e8

// solve changes one figure until a metric of a workload is as it is in reality, taking the metric for linear in it. units is how
// often an operation is charged with the figure, at least: it bounds the step. A figure that has no effect stays.
func (f *fitting) solve(figure *float64, real Sample, of func(Sample) float64, units float64) {
	if f.err != nil {
		return
	}
	p0, y0, want := *figure, of(f.sim(real)), of(real)
	step := (want - y0) / units
	if math.Abs(want-y0) < math.Abs(want)*0.005 {
		return
	}
	p1 := min(max(p0+step, 0), maxFigure)
	if p1 == p0 {
		return
	}
	*figure = p1
	y1 := of(f.sim(real))
	if slope := (y1 - y0) / (p1 - p0); slope > 1e-6 {
		step = max(min((want-y0)/slope, 2*math.Abs(step)), -2*math.Abs(step))
		*figure = min(max(p0+step, 0), maxFigure)
	} else {
		*figure = p0
	}
}

// told tells a stage's end.
func (f *fitting) told(stage string) {
	if f.out != nil && f.err == nil {
		fmt.Fprintf(f.out, "calibrate: fitted %s\n", stage)
	}
}

// line fits y = a*x + b to two points, neither a nor b negative.
func line(x1, y1, x2, y2 float64) (a, b float64) {
	if x1 == x2 {
		return 0, max(y2, 0)
	}
	a = (y1 - y2) / (x1 - x2)
	b = y1 - a*x1
	switch {
	case a < 0:
		return 0, max((y1+y2)/2, 0)
	case b < 0:
		return max((y1/x1+y2/x2)/2, 0), 0
	}
	return a, b
}

// status finds what messages and operations cost, and how much that varies.
func (f *fitting) status() {
	f.costs()
	f.spread(f.real(opStatus, 1, 0, 0))
	f.told("status")
}

// turns finds how tasks take turns: that decides how many operations share a message. Candidates are tried; for each the costs
// follow anew from CPU time, and the latency from a lone caller's.
func (f *fitting) turns(turns, starts, shares []float64) {
	best, bestModel := math.Inf(1), f.m
	for _, turn := range turns {
		for _, start := range starts {
			for _, share := range shares {
				if f.err != nil {
					return
				}
				f.m = copyOf(bestModel)
				f.m.TurnNs, f.m.StartNs, f.m.StartShare = turn, start, share
				f.costs()
				if e := f.distance(); e < best {
					best, bestModel = e, f.m
				}
			}
		}
	}
	f.m = bestModel
	f.told(fmt.Sprintf("turns: %v, start %v and %v of the queue, latency %v, idle %v, spread %.2f", time.Duration(f.m.TurnNs), time.Duration(f.m.StartNs),
		f.m.StartShare, time.Duration(f.m.LatencyNs), time.Duration(f.m.IdleNs), f.m.MessageSpread))
}

// costs finds what does not depend on candidates. What idle processes spend on waking up is a part of what messages seem to cost.
// Two workloads tell the two apart badly, and so a message keeps at least half of what it costs when waking up is free. A lone
// caller's latency and its CPU time bound what waking up costs; what then lacks of the latency is the network's.
func (f *fitting) costs() {
	alone, few, many := f.real(opStatus, 1, 0, 0), f.real(opStatus, 8, 0, 0), f.real(opStatus, 64, 0, 0)
	f.m.IdleNs, f.m.LatencyNs = 0, 0
	f.messages(few, many)
	f.messages(few, many) // what turns cost depends on the messages, a little
	least := f.m.Methods[streamMethod]
	for range 2 {
		f.solve(&f.m.IdleNs, alone, medianNs, 1)
		byLatency := f.m.IdleNs
		f.solve(&f.m.IdleNs, alone, func(s Sample) float64 { return (s.ClientCPU + s.MasterCPU) * 1e3 }, 1)
		f.m.IdleNs = min(f.m.IdleNs, byLatency)
		f.messages(few, many)
		x := f.m.Methods[streamMethod]
		x.Client.MessageNs = max(x.Client.MessageNs, least.Client.MessageNs/2)
		x.Server.MessageNs = max(x.Server.MessageNs, least.Server.MessageNs/2)
		f.m.Methods[streamMethod] = x
	}
	f.solve(&f.m.LatencyNs, alone, medianNs, 1)
}

// spread finds how much costs vary from how much a lone caller's latency does, by halving.
func (f *fitting) spread(alone Sample) {
	const most, halvings = 1.5, 7
	ratio := func(s Sample) float64 { return float64(s.P90) / float64(max(s.Median, 1)) }
	low, high := 0.0, most
	for range halvings {
		f.m.MessageSpread = (low + high) / 2
		if ratio(f.sim(alone)) < ratio(alone) {
			low = f.m.MessageSpread
		} else {
			high = f.m.MessageSpread
		}
	}
	f.m.MessageSpread = low
}

// messages finds the costs of messages and of the status in them from CPU time, where the machine is busy: an idle one spends
// time on looking for work.
func (f *fitting) messages(few, many Sample) {
	a, b := f.sim(few), f.sim(many)
	x, op := f.m.Methods[streamMethod], f.m.Operations[model.Status]
	rest := func(s Sample, cpu, message, ns float64) float64 { return cpu*1e3 - s.Messages*message - ns }
	x.Client.MessageNs, op.ClientNs = line(
		few.Messages, few.ClientCPU*1e3-rest(a, a.ClientCPU, x.Client.MessageNs, op.ClientNs),
		many.Messages, many.ClientCPU*1e3-rest(b, b.ClientCPU, x.Client.MessageNs, op.ClientNs))
	x.Server.MessageNs, op.ServerNs = line(
		few.Messages, few.MasterCPU*1e3-rest(a, a.MasterCPU, x.Server.MessageNs, op.ServerNs),
		many.Messages, many.MasterCPU*1e3-rest(b, b.MasterCPU, x.Server.MessageNs, op.ServerNs))
	f.m.Methods[streamMethod], f.m.Operations[model.Status] = x, op
}

// entries finds the costs of the journal's entries and of an operation in them, as messages does.
func (f *fitting) entries(few, many Sample, op *model.Operation) {
	rest := func(s Sample) float64 { return f.master(s) + s.Entries*f.m.Journal.EntryNs }
	f.m.Journal.EntryNs, op.ServerNs = line(few.Entries, rest(few), many.Entries, rest(many))
}

// distance is how far the simulator is from reality where turns decide: of callers that only ask, and of those whose questions are
// a part of reads and changes.
func (f *fitting) distance() float64 {
	off := func(a, b float64) float64 { return math.Abs(math.Log(max(a, 1e-9) / max(b, 1e-9))) }
	total := 0.0
	for _, real := range []Sample{f.real(opStatus, 8, 0, 0), f.real(opStatus, 64, 0, 0)} {
		s := f.sim(real)
		total += off(s.Throughput, real.Throughput) + off(medianNs(s), medianNs(real)) + off(s.Messages, real.Messages)/2
	}
	for _, real := range []Sample{f.real(opWarm, 8, 64*kib, 0), f.real(opMkdir, 8, 0, 0), f.real(opMkdir, 64, 0, 0)} {
		total += off(f.sim(real).Messages, real.Messages) / 2
	}
	return total
}

// copyOf is a model that shares nothing with the other.
func copyOf(m *model.Model) *model.Model {
	c := *m
	c.Methods, c.Operations = map[string]model.Method{}, map[string]model.Operation{}
	for name, x := range m.Methods {
		c.Methods[name] = x
	}
	for name, x := range m.Operations {
		c.Operations[name] = x
	}
	return &c
}
