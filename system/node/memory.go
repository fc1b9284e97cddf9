package node

import (
	"math"
	"runtime/debug"

	"github.com/forebay/forebay/system/config"
)

// A master's heap is its cache of inodes and little else. With Go's default, which collects each time the heap has
// doubled, a young master spends a tenth of its CPU on collections of a few megabytes. So the heap may grow to five times
// what lives, but not past twice its cache and a fixed rest: there Go collects as often as it must.
const (
	masterGCPercent  = 400
	masterRestBytes  = 256 << 20
	defaultGCPercent = 100
)

// tuneMemory sets how the process of one master collects garbage. GOGC and GOMEMLIMIT in the environment come first. It is
// for processes that are a master and nothing else: an embedded cluster, or a test, has other tenants on its heap. A limit
// is a mark for the collector, not a bound that kills: a master that needs more gets it, at the price of collections.
func tuneMemory(c *config.Master) {
	if before := debug.SetGCPercent(masterGCPercent); before != defaultGCPercent {
		debug.SetGCPercent(before)
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(2*int64(c.Metadata.Cache.Size) + int64(c.Metadata.Cache.Blocks) + masterRestBytes)
	}
}
