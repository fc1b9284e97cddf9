package host

import (
	"context"
	"sync"
)

// Group runs tasks and waits for all of them, keeping the first error. It cancels nothing: tasks that are to end with the
// first failure need a context that the caller ends. It may be used again once all have ended; the error stays.
//
// INV-1: idle is set exactly when running falls to zero, and made anew when it leaves zero: a Wait that holds an old one is
// woken, and looks again.
type Group struct {
	h     Host
	limit *Semaphore

	mu      sync.Mutex
	running int
	err     error
	idle    Event
}

// NewGroup makes a group of at most limit tasks at a time (0: no limit of its own).
func NewGroup(h Host, limit int) *Group {
	g := &Group{h: h}
	if limit > 0 {
		g.limit = NewSemaphore(h, int64(limit))
	}
	return g
}

// Go starts task, waiting for a place first. It returns ctx.Err() when none came free in time.
//
// After an error the task has not started and never will. Without a limit it does not wait, and ctx is not looked at. ctx
// bounds the wait for a place only: what the task itself heeds is its own affair.
func (g *Group) Go(ctx context.Context, name string, task func() error) error {
	if g.limit != nil {
		if err := g.limit.Acquire(ctx, 1); err != nil {
			return err
		}
	}
	g.mu.Lock()
	if g.running == 0 {
		g.idle = g.h.NewEvent()
	}
	g.running++
	g.mu.Unlock()
	g.h.Go(name, func() { g.finish(task()) })
	return nil
}

// finish counts a task out. The place is given back before the count falls, so that a task that waits for it can start
// while Wait still sees this one: Wait never returns between the two.
func (g *Group) finish(err error) {
	if g.limit != nil {
		g.limit.Release(1)
	}
	g.mu.Lock()
	if g.err == nil {
		g.err = err
	}
	g.running--
	var idle Event
	if g.running == 0 {
		idle = g.idle
	}
	g.mu.Unlock()
	wake(idle)
}

// Wait returns the first error once no task runs, or ctx.Err(), after which the tasks go on. Several may wait. Tasks that are
// started meanwhile are waited for too.
func (g *Group) Wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.running == 0 {
			defer g.mu.Unlock()
			return g.err
		}
		idle := g.idle
		g.mu.Unlock()
		if err := idle.Wait(ctx); err != nil {
			return err
		}
	}
}
