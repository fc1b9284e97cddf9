package client

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
)

// places hands out distinct workers for the copies of one block, in rank order. The uploads of the copies share it; like
// them it is for one task at a time.
//
// INV-1: no worker is in use by two copies.
// INV-2: a worker that failed is not given out again before the next refresh, so that a search passes all others first.
type places struct {
	c     *core
	block dfs.BlockID

	live   *ring
	ranked []*Worker             // the first of live; all, once those were not enough
	inUse  map[dfs.WorkerID]bool // by a copy
	failed map[dfs.WorkerID]bool // since the last refresh
}

// newPlaces ranks the live workers for a block. It fails when their list cannot be had, not when it is empty.
func (c *core) newPlaces(ctx context.Context, block dfs.BlockID) (*places, error) {
	p := &places{c: c, block: block, inUse: make(map[dfs.WorkerID]bool)}
	return p, p.refresh(ctx)
}

// refresh ranks the workers that live now, and gives those that failed another chance.
// Workers in use stay in use: their copies have bytes there. The list may be the old one, when no master gives a newer.
func (p *places) refresh(ctx context.Context) error {
	live, err := p.c.workers.get(ctx)
	if err != nil {
		return err
	}
	p.live = live
	p.rank(firstPlaces + p.c.workers.suspectedCount())
	p.failed = make(map[dfs.WorkerID]bool)
	return nil
}

// firstPlaces is how many workers are ranked at first: more than there are copies and failures of nearly all writes.
const firstPlaces = 8

func (p *places) rank(n int) { p.ranked = p.c.workers.preferred(p.live.rank(p.block, n)) }

// take returns the best worker that no copy uses and that has not failed; nil when there is none.
func (p *places) take() *Worker {
	for {
		for _, w := range p.ranked {
			if !p.inUse[w.ID] && !p.failed[w.ID] {
				p.inUse[w.ID] = true
				return w
			}
		}
		if len(p.ranked) == len(p.live.workers) {
			return nil
		}
		p.rank(len(p.live.workers))
	}
}

// fail gives back a worker that failed. It is not taken again before the next refresh.
func (p *places) fail(w *Worker) {
	delete(p.inUse, w.ID)
	p.failed[w.ID] = true
}
