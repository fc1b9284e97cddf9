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
		{&x.Client.MessageNs, short, f.client}, {&op.ClientEntryNs, long, f.client},
		{&x.Server.MessageNs, short, f.master}, {&op.ServerEntryNs, long, f.master},
	})
	f.told("list")
}

// mutations: operations that the journal keeps, and its entries.
func (f *fitting) mutations() {
	alone, few, many := f.real(opMkdir, 1, 0, 0), f.real(opMkdir, 8, 0, 0), f.real(opMkdir, 64, 0, 0)
	op := f.m.Operations[model.Mkdir]
	f.entries(few, many, &op)
	f.solveIn(func() { f.m.Operations[model.Mkdir] = op }, []goal{
		{&op.ClientNs, many, f.client}, {&op.ServerNs, many, f.master}, {&f.m.Journal.SyncNs, alone, medianNs},
	})
	made := f.real(opCreate, 64, 0, 0)
	half := f.m.Operations[model.Create] // a file is created and completed: two operations, taken for alike
	f.solveIn(func() { f.m.Operations[model.Create], f.m.Operations[model.Complete] = half, half }, []goal{
		{&half.ClientNs, made, f.client}, {&half.ServerNs, made, f.master},
	})
	f.told("mkdir and create")
}

// reads: the stream of a range, its bytes, and where they come from.
func (f *fitting) reads() {
	small, large := f.real(opWarm, 8, 64*kib, 0), f.real(opWarm, 4, 4*mib, 0)
	x := f.m.Methods[readMethod]
	f.solveIn(func() { f.m.Methods[readMethod] = x }, []goal{
		{&x.Client.KiBNs, large, f.client}, {&x.Client.CallNs, small, f.client},
		{&x.Server.KiBNs, large, workerCPU}, {&x.Server.CallNs, small, workerCPU},
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
		{&x.Client.KiBNs, through(4, 4*mib), f.client}, {&x.Client.CallNs, through(8, 64*kib), f.client},
		{&store.WriteKiBNs, through(4, 4*mib), workerCPU}, {&store.WriteNs, through(8, 64*kib), workerCPU},
		{&disk.WriteKiBNs, cached(4, 4*mib), workerCPU}, {&disk.CreateNs, both(8, 64*kib), workerCPU},
		{&disk.SyncCPUNs, cached(8, 64*kib), workerCPU},
		{&perKiB, cached(4, 4*mib), medianNs}, {&disk.SyncNs, cached(1, 64*kib), medianNs},
		{&store.CommitNs, through(1, 64*kib), medianNs},
	})
	f.told("writes")
	f.solveIn(func() {}, []goal{
		{&store.ReadKiBNs, f.real(opCold, 4, 4*mib, 0), workerCPU}, {&store.OpenNs, f.real(opCold, 8, 64*kib, 0), workerCPU},
	})
	f.told("cold reads")
}

// goal is a figure and what it is looked for with.
type goal struct {
	figure *float64
	real   Sample
	metric func(Sample) float64
}

// solveIn solves goals one after the other. set brings figures that are no part of the model itself into it.
func (f *fitting) solveIn(set func(), goals []goal) {
	f.set = set
	for _, g := range goals {
		f.solve(g.figure, g.real, g.metric)
		set()
	}
	f.set = nil
}
