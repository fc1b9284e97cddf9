package node

import (
	"context"

	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/metrics"
	"github.com/forebay/forebay/system/ufs"
	"github.com/forebay/forebay/system/ufs/drivers"
)

// opener opens under stores with the wrappers of production: attempts are counted, and what is worth it is retried.
// It is shared by all tasks of a process, and keeps nothing of the stores that it opened but their counts.
type opener struct {
	h        host.Host
	drivers  drivers.Drivers
	counters *ufs.Counters
}

// newOpener makes an opener whose counters all of the process's stores share: the operator watches a store's load, not a
// mount's.
func newOpener(h host.Host, d drivers.Drivers, reg *metrics.Registry) *opener {
	o := &opener{h: h, drivers: d, counters: &ufs.Counters{}}
	exportStores(reg.Part("ufs"), o.counters)
	return o
}

// open opens a store and wraps it. The order, from the inside: count each attempt, retry, and what is left is final, so that
// nobody above tries again what has been tried for long enough. An error to open is final too. The caller closes the store.
func (o *opener) open(ctx context.Context, uri string, options map[string]string) (ufs.Store, error) {
	s, err := o.drivers.Open(ctx, o.h, uri, options)
	if err != nil {
		return nil, ufs.FinalError(err)
	}
	return WrapStore(o.h, s, o.counters), nil
}

// WrapStore adds what every process puts around a driver. The simulator puts the same around its own.
func WrapStore(h host.Host, s ufs.Store, c *ufs.Counters) ufs.Store {
	return ufs.Final(ufs.Retry(h, ufs.Metrics(h, s, c), ufs.RetryOptions{}))
}

// exportStores shows the under-store counters, two series an operation. They are read when they are asked for, and cost
// nothing until then.
// The snapshot is of one moment for each series: two of them read in one scrape may be an attempt apart.
func exportStores(reg *metrics.Registry, c *ufs.Counters) {
	for i, op := range c.Snapshot() {
		reg.CounterFunc(op.Op.String()+"_total", "under-store requests of this kind, each attempt counted",
			func() float64 { return float64(c.Snapshot()[i].Calls) })
		reg.CounterFunc(op.Op.String()+"_errors_total", "under-store requests of this kind that failed",
			func() float64 {
				total := int64(0)
				for _, n := range c.Snapshot()[i].Errors {
					total += n
				}
				return float64(total)
			})
	}
}
