package ufs

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// Op is one of Store's operations, as counted.
type Op int

// The operations. OpRead and OpWrite count streams from their opening to their end, with their bytes.
const (
	OpStat Op = iota
	OpList
	OpRead
	OpWrite
	OpRemove
	OpRename
	OpMkdir
	opCount
)

var opNames = [opCount]string{"stat", "list", "read", "write", "remove", "rename", "mkdir"}

// String is the operation's name.
func (o Op) String() string { return opNames[o] }

const (
	kindCount = int(dfs.Stale) + 1
	// LatencyBuckets is the number of latency buckets: bucket i counts calls that took less than 2^i microseconds, the
	// last all others.
	LatencyBuckets = 28
)

// Counters counts what a store does. The zero value is ready; one may be shared by many stores.
type Counters struct{ ops [opCount]opCounters }

// opCounters are read and written without a lock: sums of calls that end at the same moment need not fit together.
type opCounters struct {
	calls, nanos, bytes atomic.Int64
	errors              [kindCount]atomic.Int64
	latency             [LatencyBuckets]atomic.Int64
}

// OpSnapshot is one operation's counters at a moment.
// It shares nothing with the counters and does not change any more.
type OpSnapshot struct {
	Op      Op
	Calls   int64
	Bytes   int64
	Total   time.Duration         // of all calls
	Errors  map[dfs.Kind]int64    // those that happened
	Latency [LatencyBuckets]int64 // see LatencyBuckets
}

// Snapshot reads the counters of every operation. They are read one by one, so a call that ends meanwhile may be in some
// and not in others.
// All operations are in it, those that were never called too, in the order of their numbers.
func (c *Counters) Snapshot() []OpSnapshot {
	all := make([]OpSnapshot, opCount)
	for op := range all {
		from, to := &c.ops[op], &all[op]
		*to = OpSnapshot{Op: Op(op), Calls: from.calls.Load(), Bytes: from.bytes.Load(),
			Total: time.Duration(from.nanos.Load()), Errors: map[dfs.Kind]int64{}}
		for kind := range from.errors {
			if n := from.errors[kind].Load(); n > 0 {
				to.Errors[dfs.Kind(kind)] = n
			}
		}
		for i := range from.latency {
			to.Latency[i] = from.latency[i].Load()
		}
	}
	return all
}

// count adds one call. A clock that was set back during it makes no negative time.
// An error of a kind that is newer than this table counts for the last kind.
func (c *Counters) count(op Op, took time.Duration, err error) {
	o := &c.ops[op]
	o.calls.Add(1)
	took = max(took, 0)
	o.nanos.Add(int64(took))
	o.latency[min(bits.Len64(uint64(took/time.Microsecond)), LatencyBuckets-1)].Add(1)
	if err != nil {
		o.errors[min(int(dfs.KindOf(err)), kindCount-1)].Add(1)
	}
}
