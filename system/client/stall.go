package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// stallWatch gives up a data stream whose worker owes something and does nothing: a process that is paused, a disk or an
// under store that hangs, while the connection's keep-alive is answered all the same. Without it, a stream whose context
// has no deadline could wait for ever. Only time spent inside during counts: a reader or a writer that takes its own time
// between two steps is no stall.
//
// INV-1: a stall is a single step that lasts patience whole intervals; it is noticed within one more. An interval is half
// of Config.Timeout.
//
// The task looks at a counter instead of setting a timer for each step: a step costs two additions, and steps are as many
// as chunks.
type stallWatch struct {
	h        host.Host
	interval time.Duration
	cancel   context.CancelFunc // of the stream

	steps    atomic.Uint64 // begun plus ended: odd while a step is under way
	patience atomic.Int64  // in intervals, of the step under way
	stalled  atomic.Bool   // the worker was given up
}

// newStallWatch watches the stream that ctx and cancel belong to, until ctx ends. Its owner cancels it in any case.
func (c *core) newStallWatch(ctx context.Context, cancel context.CancelFunc) *stallWatch {
	w := &stallWatch{h: c.h, interval: max(c.cfg.Timeout/2, time.Millisecond), cancel: cancel}
	w.patience.Store(1)
	c.h.Go("stall-watch", func() { w.run(ctx) })
	return w
}

// during does one step that waits for the worker. A step that is given up ends by its stream's context, and stalled is set.
func (w *stallWatch) during(step func() error) error {
	w.steps.Add(1)
	defer w.steps.Add(1)
	return step()
}

// run counts the intervals in which the counter was odd and did not move, and ends with the stream.
// An odd counter that differs from the one before is another step, which is progress. So a step is counted from the second
// look on that finds it.
func (w *stallWatch) run(ctx context.Context) {
	before, silent := uint64(0), int64(0)
	for w.h.Sleep(ctx, w.interval) == nil {
		now := w.steps.Load()
		if now%2 == 0 || now != before {
			before, silent = now, 0
			continue
		}
		if silent++; silent >= w.patience.Load() {
			w.stalled.Store(true)
			w.cancel()
			return
		}
	}
}

// stalledError says that the worker at address was given up, what it did not do, and where to look. Another worker may be
// asked: the kind is Unavailable.
func stalledError(op, address, did string, w *stallWatch) *dfs.Error {
	return dfs.Errorf(dfs.Unavailable, op, address,
		"it %s for %v: look whether it is paused, at its disks and at the under store", did, time.Duration(w.patience.Load())*w.interval)
}
