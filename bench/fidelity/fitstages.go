package fidelity

import (
	"github.com/forebay/forebay/sim/model"
	"github.com/forebay/forebay/system/dfs"
)

// lists: a unary call, and entries.
func (f *fitting) lists() {
	short, long := f.real(opList, 4, 10, 0), f.real(opList, 4, 500, 0)
	x, op := f.m.Methods[executeMethod], f.m.Operations[model.List]
	f.solveIn(func() { f.m.Methods[executeMethod] = x; f.m.Operations[model.List] = op }, []goal{
		{&x.Client.MessageNs, short, f.client, 1}, {&op.ClientEntryNs, long, f.client, 500},
		{&x.Server.MessageNs, short, f.master, 1}, {&op.ServerEntryNs, long, f.master, 500},
	})
	f.told("list")
}

// mutations: operations that the journal keeps, and its entries.
func (f *fitting) mutations() {
	alone, few, many := f.real(opMkdir, 1, 0, 0), f.real(opMkdir, 8, 0, 0), f.real(opMkdir, 64, 0, 0)
	op := f.m.Operations[model.Mkdir]
	f.entries(few, many, &op)
	f.solveIn(func() { f.m.Operations[model.Mkdir] = op }, []goal{
		{&op.ClientNs, many, f.client, 1}, {&op.ServerNs, many, f.master, 1}, {&f.m.Journal.SyncNs, alone, medianNs, 1},
	})
	made := f.real(opCreate, 64, 0, 0)
	half := f.m.Operations[model.Create] // a file is created and completed: two operations, taken for alike
	f.solveIn(func() { f.m.Operations[model.Create], f.m.Operations[model.Complete] = half, half }, []goal{
		{&half.ClientNs, made, f.client, 1}, {&half.ServerNs, made, f.master, 1},
	})
	f.told("mkdir and create")
}

// reads: the stream of a range, its bytes, and where they come from.
func (f *fitting) reads() {
	small, large := f.real(opWarm, 8, 64*kib, 0), f.real(opWarm, 4, 4*mib, 0)
	x := f.m.Methods[readMethod]
	f.solveIn(func() { f.m.Methods[readMethod] = x }, []goal{
		{&x.Client.KiBNs, large, f.client, 4 * mib / kib}, {&x.Client.CallNs, small, f.client, 1},
		{&x.Server.KiBNs, large, workerCPU, 4 * mib / kib}, {&x.Server.CallNs, small, workerCPU, 1},
	})
	f.told("warm reads")
}

// writes: the stream is taken to cost a worker what that of a read does; what a file in the under store costs besides, a file in
// a tier, and a sync, are told apart by the types of writes. Cold reads write a tier, too, and come last.
func (f *fitting) writes() {
	through := func(callers, size int) Sample { return f.real(opWrite, callers, size, dfs.WriteThrough) }
	both := func(callers, size int) Sample { return f.real(opWrite, callers, size, dfs.WriteCacheThrough) }
	cached := func(callers, size int) Sample { return f.real(opWrite, callers, size, dfs.WriteMustCache) }
	x, disk, store := f.m.Methods[writeMethod], &f.m.Disk, &f.m.Store
	x.Server = f.m.Methods[readMethod].Server
	perKiB := 1024e9 / disk.BytesPerSecond
	set := func() {
		f.m.Methods[writeMethod] = x
		disk.BytesPerSecond = 1024e9 / max(perKiB, 10)
	}
	f.solveIn(set, []goal{
		{&x.Client.KiBNs, through(4, 4*mib), f.client, 4 * mib / kib}, {&x.Client.CallNs, through(8, 64*kib), f.client, 1},
		{&store.WriteKiBNs, through(4, 4*mib), workerCPU, 4 * mib / kib}, {&store.WriteNs, through(8, 64*kib), workerCPU, 1},
		{&disk.WriteKiBNs, cached(4, 4*mib), workerCPU, 4 * mib / kib}, {&disk.CreateNs, both(8, 64*kib), workerCPU, 1},
		{&disk.SyncCPUNs, cached(8, 64*kib), workerCPU, 1},
		{&perKiB, cached(4, 4*mib), medianNs, 4 * mib / kib}, {&disk.SyncNs, cached(1, 64*kib), medianNs, 1},
		{&store.CommitNs, through(1, 64*kib), medianNs, 1},
	})
	f.told("writes")
	f.solveIn(func() {}, []goal{
		{&store.ReadKiBNs, f.real(opCold, 4, 4*mib, 0), workerCPU, 4 * mib / kib}, {&store.OpenNs, f.real(opCold, 8, 64*kib, 0), workerCPU, 1},
	})
	f.told("cold reads")
}

// goal is a figure and what it is looked for with.
type goal struct {
	figure *float64
	real   Sample
	metric func(Sample) float64
	units  float64 // of the figure in an operation, at least; 0: 1
}

// solveIn solves goals one after the other. set brings figures that are no part of the model itself into it.
func (f *fitting) solveIn(set func(), goals []goal) {
	f.set = set
	for _, g := range goals {
		f.solve(g.figure, g.real, g.metric, max(g.units, 1))
		set()
	}
	f.set = nil
}
