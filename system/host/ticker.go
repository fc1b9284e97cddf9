package host

import (
	"context"
	"time"
)

// Ticker paces a loop at a fixed rate without drift: a late tick shortens the next wait, and missed ticks are dropped.
type Ticker struct {
	h        Host
	interval time.Duration
	next     time.Time
}

// NewTicker makes a ticker whose first tick is one interval from now.
// interval must be positive. It holds nothing that must be given back.
func NewTicker(h Host, interval time.Duration) *Ticker {
	return &Ticker{h: h, interval: interval, next: h.Now().Add(interval)}
}

// Wait returns at the next tick, or ctx.Err(). A tick that has passed already is given at once, if it is not older than an
// interval; what is older, or further ahead, means that the clock jumped, and the pace begins anew. It is for one task.
func (t *Ticker) Wait(ctx context.Context) error {
	now := t.h.Now()
	wait := t.next.Sub(now)
	if wait > t.interval || wait < -t.interval { // the clock jumped
		wait = t.interval
		t.next = now.Add(wait)
	}
	if err := t.h.Sleep(ctx, max(wait, 0)); err != nil {
		return err
	}
	t.next = t.next.Add(t.interval)
	return nil
}
