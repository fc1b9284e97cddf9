package ufs

import (
	"context"
	"sync"
	"time"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// pace hands out turns at a rate (the generic cell rate algorithm: it keeps one time and no tokens).
// INV-1: next is at most burst behind the clock (what was not used is not saved up further) and, since a wait over most
// is refused and takes no turn, at most most plus one call's cost ahead of it, except for what charge adds, which was
// used already.
type pace struct {
	h    host.Host
	unit float64 // seconds that one unit takes; 0: free
	most time.Duration

	mu   sync.Mutex
	next time.Time // when everything that was granted is paid for
	seen time.Time // the clock, when it was last looked at
}

const burst = time.Second

// newPace makes one that begins with its burst unspent. A rate of zero or less lets everything through.
func newPace(h host.Host, perSecond float64, most time.Duration) *pace {
	p := &pace{h: h, most: most}
	if perSecond > 0 {
		p.unit = 1 / perSecond
	}
	return p
}

// take waits for n units' turn.
// ResourceExhausted takes no turn: a caller that is refused does not push others back. A caller whose ctx ends while it
// waits has had its turn all the same: giving it back would need to move those behind it.
func (p *pace) take(ctx context.Context, op, path string, n float64) error {
	if n <= 0 {
		return nil
	}
	return p.wait(ctx, op, path, p.cost(n))
}

// turn waits until what was charged before is paid for.
func (p *pace) turn(ctx context.Context, op, path string) error { return p.wait(ctx, op, path, 0) }

// wait is take by a cost in time; 0 waits for what is owed and owes nothing itself.
func (p *pace) wait(ctx context.Context, op, path string, cost time.Duration) error {
	if p.unit == 0 {
		return nil
	}
	wait, ok := p.reserve(cost)
	if !ok {
		return dfs.Errorf(dfs.ResourceExhausted, op, path, "the mount's throttle would hold this for more than %v: raise it or ask for less", p.most)
	}
	if wait <= 0 {
		return nil
	}
	return dfs.Wrap(p.h.Sleep(ctx, wait), op, path)
}

// maxCost is what one call costs at most: at rates that are nearly nothing, the product would not fit a Duration.
const maxCost = 24 * time.Hour

// cost is how long n units take at the rate.
func (p *pace) cost(n float64) time.Duration {
	return time.Duration(min(n*p.unit, maxCost.Seconds()) * float64(time.Second))
}

// charge pays for n units that were taken already: who comes next waits for them.
func (p *pace) charge(n float64) {
	if p.unit == 0 || n <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	p.next = p.next.Add(p.cost(n))
}

// settle brings next up to the present, less the burst that may be saved up. The caller holds mu.
// A clock that jumps ahead pays for everything at once, which is the same as having waited.
func (p *pace) settle() (now time.Time) {
	now = p.h.Now()
	if now.Before(p.seen) { // the clock was set back: what is owed does not grow by that
		p.next = p.next.Add(now.Sub(p.seen))
	}
	p.seen = now
	if earliest := now.Add(-burst); p.next.Before(earliest) {
		p.next = earliest
	}
	return now
}

// reserve grants the next turn and tells how long until it comes; not ok says that it is too far away and was not
// taken.
// The cost is of the caller's own turn and delays only those behind it, however large it is: one call of any size
// goes through.
func (p *pace) reserve(cost time.Duration) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = p.next.Sub(p.settle())
	if wait > p.most {
		return 0, false
	}
	p.next = p.next.Add(cost)
	return wait, true
}
