package namespace

import (
	"context"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// Claim keeps other mutations off some paths, with all above and below them, while the under store is asked. Fast
// mutations take none; they only check. While a claim is held nothing comes, goes or is renamed by path. Ends of
// writes (Complete, Abandon, a session's end) name an inode and no path, and are not stopped: whoever holds a claim
// must leave what is being written alone, as SyncChildren does.
// Claims are the leader's alone and end with it; nothing of them is logged. A claim that is held by a task whose store
// hangs is bounded by that task's own deadline (slowLimit of package master).
type Claim struct {
	e     *Evaluator
	paths []dfs.Path
}

// Claim waits until no other claim stands in the way and takes the paths, all at once, so that claims cannot deadlock.
// It has no order of waiting: whoever looks first after a release gets it. The errors are ctx's and the leadership's
// end; there is nothing to release then.
func (e *Evaluator) Claim(ctx context.Context, paths ...dfs.Path) (*Claim, error) {
	c := &Claim{e: e, paths: paths}
	for {
		e.mu.Lock()
		if e.failed != nil {
			defer e.mu.Unlock()
			return nil, e.failed
		}
		wait := e.conflict(nil, paths)
		if wait == nil {
			e.claims = append(e.claims, c)
			e.mu.Unlock()
			return c, nil
		}
		e.mu.Unlock()
		if err := wait.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// Release gives the paths back. Everybody who waits for any claim looks again. Releasing twice does no harm.
func (c *Claim) Release() {
	c.e.mu.Lock()
	for i, x := range c.e.claims {
		if x == c {
			c.e.claims = append(c.e.claims[:i], c.e.claims[i+1:]...)
			break
		}
	}
	waiting := c.e.claimWait
	c.e.claimWait = nil
	c.e.mu.Unlock()
	if waiting != nil {
		waiting.Set()
	}
}

// conflict returns an event to wait for when another claim stands in the way of paths; nil when none does. All that
// wait share one event, which the next release of any claim sets: a claim that is held for long (its store hangs)
// while clients retry and give up must not gather an event for each of them. A claim on a directory stands in the way
// of everything below it, and one on a file of every directory above it: a rename of these would move the claimed path
// away. e.mu is held.
// It compares with every claim. There are as many as slow operations, whose number package master bounds.
func (e *Evaluator) conflict(own *Claim, paths []dfs.Path) host.Event {
	for _, c := range e.claims {
		if c == own {
			continue
		}
		for _, p := range c.paths {
			for _, q := range paths {
				if p.Contains(q) || q.Contains(p) {
					if e.claimWait == nil {
						e.claimWait = e.h.NewEvent()
					}
					return e.claimWait
				}
			}
		}
	}
	return nil
}
