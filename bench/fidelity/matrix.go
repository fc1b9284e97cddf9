package fidelity

import "github.com/forebay/forebay/system/dfs"

const kib, mib = 1 << 10, 1 << 20

// calibration is what a model is made from. Each line serves one stage of the fit (fit.go); all have one worker.
func calibration() []Workload {
	all := []Workload{
		{Op: opStatus, Callers: 1, Ops: 1500},
		{Op: opStatus, Callers: 8, Ops: 8000},
		{Op: opStatus, Callers: 64, Ops: 25000},
		{Op: opList, Callers: 4, Entries: 10, Ops: 1500},
		{Op: opList, Callers: 4, Entries: 500, Ops: 150},
		{Op: opMkdir, Callers: 1, Ops: 250},
		{Op: opMkdir, Callers: 8, Ops: 2000},
		{Op: opMkdir, Callers: 64, Ops: 6000},
		{Op: opCreate, Callers: 64, Ops: 4000},
		{Op: opWarm, Callers: 8, Bytes: 64 * kib, Ops: 1500},
		{Op: opWarm, Callers: 4, Bytes: 4 * mib, Ops: 80},
		{Op: opCold, Callers: 8, Bytes: 64 * kib, Ops: 250},
		{Op: opCold, Callers: 4, Bytes: 4 * mib, Ops: 24},
		{Op: opWrite, Type: dfs.WriteMustCache, Callers: 1, Bytes: 64 * kib, Ops: 30},
		{Op: opWrite, Type: dfs.WriteMustCache, Callers: 8, Bytes: 64 * kib, Ops: 150},
		{Op: opWrite, Type: dfs.WriteMustCache, Callers: 4, Bytes: 4 * mib, Ops: 20},
		{Op: opWrite, Type: dfs.WriteThrough, Callers: 1, Bytes: 64 * kib, Ops: 30},
		{Op: opWrite, Type: dfs.WriteThrough, Callers: 8, Bytes: 64 * kib, Ops: 150},
		{Op: opWrite, Type: dfs.WriteThrough, Callers: 4, Bytes: 4 * mib, Ops: 20},
		{Op: opWrite, Type: dfs.WriteCacheThrough, Callers: 8, Bytes: 64 * kib, Ops: 150},
	}
	for i := range all {
		all[i].Workers = 1
	}
	return all
}

// heldOut is what a model must predict: none of it was used to make one, numbers of callers and sizes included.
func heldOut() []Workload {
	return []Workload{
		{Op: opStatus, Callers: 2, Workers: 1, Ops: 3000},
		{Op: opStatus, Callers: 4, Workers: 1, Ops: 5000},
		{Op: opStatus, Callers: 16, Workers: 1, Ops: 12000},
		{Op: opStatus, Callers: 32, Workers: 1, Ops: 20000},
		{Op: opMkdir, Callers: 2, Workers: 1, Ops: 500},
		{Op: opMkdir, Callers: 16, Workers: 1, Ops: 3000},
		{Op: opMkdir, Callers: 32, Workers: 1, Ops: 4000},
		{Op: opCreate, Callers: 1, Workers: 1, Ops: 150},
		{Op: opCreate, Callers: 8, Workers: 1, Ops: 1000},
		{Op: opCreate, Callers: 32, Workers: 1, Ops: 2500},
		{Op: opList, Callers: 1, Entries: 100, Workers: 1, Ops: 300},
		{Op: opList, Callers: 2, Entries: 1000, Workers: 1, Ops: 80},
		{Op: opWarm, Callers: 1, Bytes: 16 * kib, Workers: 1, Ops: 400},
		{Op: opWarm, Callers: 4, Bytes: 16 * kib, Workers: 1, Ops: 1200},
		{Op: opWarm, Callers: 2, Bytes: mib, Workers: 1, Ops: 150},
		{Op: opCold, Callers: 2, Bytes: 256 * kib, Workers: 1, Ops: 100},
		{Op: opWrite, Type: dfs.WriteMustCache, Callers: 4, Bytes: 256 * kib, Workers: 1, Ops: 60},
		{Op: opWrite, Type: dfs.WriteThrough, Callers: 2, Bytes: mib, Workers: 1, Ops: 30},
		{Op: opWrite, Type: dfs.WriteAsyncThrough, Callers: 4, Bytes: 128 * kib, Workers: 1, Ops: 60},
		{Op: opStatus, Callers: 24, Workers: 3, Ops: 16000},
		{Op: opWarm, Callers: 16, Bytes: 128 * kib, Workers: 3, Ops: 1200},
		{Op: opWarm, Callers: 2, Bytes: 8 * mib, Workers: 3, Ops: 24},
		{Op: opCold, Callers: 4, Bytes: 128 * kib, Workers: 3, Ops: 150},
		{Op: opCold, Callers: 2, Bytes: 2 * mib, Workers: 3, Ops: 24},
		{Op: opWrite, Type: dfs.WriteMustCache, Callers: 16, Bytes: 32 * kib, Workers: 3, Ops: 200},
		{Op: opWrite, Type: dfs.WriteThrough, Callers: 4, Bytes: 128 * kib, Workers: 3, Ops: 80},
		{Op: opWrite, Type: dfs.WriteCacheThrough, Callers: 4, Bytes: 256 * kib, Workers: 3, Ops: 60},
		{Op: opWrite, Type: dfs.WriteCacheThrough, Callers: 2, Bytes: 2 * mib, Workers: 3, Ops: 20},
	}
}
