package sched

import (
	"context"
	"slices"
	"time"
)

// Context is context.Context; the name says that one which a task waits on must come from this package.
type Context = context.Context

// virtual is a context that ends by virtual time or by its cancel function.
// A context of package context would start a goroutine to watch its parent, or a timer of the machine's clock, and
// wake in an order that no seed decides. Here an end is a plain walk down the tree on the stack of whoever ends
// it: waiters first, then callbacks, then children, each in the order in which they came. Waiters are only marked
// to go on: none runs before the walk is over.
type virtual struct {
	context.Context // the parent
	s               *Scheduler
	deadline        time.Time
	bounded         bool
	done            chan struct{} // made when somebody asks
	err             error
	timer           *Timer
	up              *virtual
	children        []*virtual // in order, so that cancelling wakes in order
	// Children and callbacks that are over stay in their lists until there are many: taking each out at once would
	// cost a walk for each request of a long-lived context.
	ended       int // of children
	first, last *contextWaiter
	after       []*callback
	taken       int // of after, taken back
}

// callback is a function that OnDone was given; nil once it was taken back.
//
// callback is a pointer's worth, so that taking it back needs no search in the list.
type callback struct{ f func() }

// contextWaiter is a task's place in the list of a context's waiters.
// It lies in the Task, which waits on one context at most, so that a wait allocates nothing.
type contextWaiter struct {
	task        *Task
	turn        uint64
	on          *virtual
	left, right *contextWaiter
}

type virtualKey struct{}

// WithCancel is context.WithCancel in virtual time.
// The cancel function may be called by anybody, also by timers' callbacks, and more than once. A context that is
// never cancelled stays in its parent's list until the parent ends.
func (s *Scheduler) WithCancel(ctx Context) (Context, context.CancelFunc) {
	c := s.child(ctx)
	return c, func() { c.end(context.Canceled) }
}

// WithTimeout is context.WithTimeout in virtual time. now is what the node's clock shows, on which the deadline is told.
// An outer deadline that is earlier stays the one that is told, and ends this context through the parent.
// Deadlines are times of the node's clock and the timer is a span of virtual time: a clock that is skewed
// afterwards changes what Deadline seems to say, and not when the context ends.
func (s *Scheduler) WithTimeout(ctx Context, now time.Time, d time.Duration) (Context, context.CancelFunc) {
	c := s.child(ctx)
	at := now.Add(d)
	if outer, ok := ctx.Deadline(); !ok || at.Before(outer) {
		c.deadline, c.bounded = at, true
		if c.err == nil {
			c.timer = s.After(d, func() { c.end(context.DeadlineExceeded) })
			c.timer.group = s.owner()
		}
	}
	return c, func() { c.end(context.Canceled) }
}

// child hangs a context below the virtual one behind ctx, at the end of its list. Below an ended one it is born
// ended; below none it ends by itself only.
func (s *Scheduler) child(ctx Context) *virtual {
	c := &virtual{Context: ctx, s: s}
	up := contextOf(ctx)
	switch {
	case up == nil:
	case up.err != nil:
		c.err = up.err
	default:
		c.up = up
		up.children = append(up.children, c)
	}
	return c
}

// contextOf finds the virtual context behind ctx; nil when ctx can never end. It panics when ctx can end in a way that the
// scheduler does not see.
func contextOf(ctx Context) *virtual {
	if c, ok := ctx.(*virtual); ok {
		return c
	}
	if ctx.Done() == nil { // background, or context.WithoutCancel of one of ours
		return nil
	}
	c, _ := ctx.Value(virtualKey{}).(*virtual)
	switch {
	case c == nil:
		panic("sched: waiting on a context of package context: use the host's WithCancel or WithTimeout")
	case ctx.Done() != c.Done():
		// Its own end would close a channel that no task waits on, and the wait would outlast it.
		panic("sched: a context of package context lies between the task and the host's context")
	}
	return c
}

// OnDone calls f when ctx ends, on the stack of whoever ends it; f must not wait. stop takes it back.
// When ctx has ended already f is called at once. On a context that can never end it is never called.
func OnDone(ctx Context, f func()) (stop func() bool) {
	if c := contextOf(ctx); c != nil {
		return c.AfterFunc(f)
	}
	return func() bool { return true }
}

// Deadline implements context.Context.
func (c *virtual) Deadline() (time.Time, bool) {
	if c.bounded {
		return c.deadline, true
	}
	return c.Context.Deadline()
}

// Done implements context.Context, for code that only compares or passes it on.
// A task that receives from the channel would stop the process, since the scheduler does not see that it waits;
// the channel is closed by end all the same, for code that polls it with a default.
func (c *virtual) Done() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *virtual) Err() error { return c.err }

// Value implements context.Context.
func (c *virtual) Value(key any) any {
	if _, ok := key.(virtualKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// AfterFunc is what package context looks for in a parent, so that its children need no goroutine.
// Unlike context.AfterFunc it calls f on the stack of whoever ends the context, and at once when it has ended
// already.
func (c *virtual) AfterFunc(f func()) (stop func() bool) {
	if c.err != nil {
		f()
		return func() bool { return false }
	}
	back := &callback{f}
	c.after = append(c.after, back)
	return func() bool {
		if c.err != nil || back.f == nil {
			return false
		}
		back.f = nil
		c.taken++
		c.tidy()
		return true
	}
}

// tidy forgets callbacks that were taken back when they are many: a long-lived context has one a request.
func (c *virtual) tidy() {
	if c.taken < worthwhile || c.taken < len(c.after)/2 {
		return
	}
	c.after = slices.DeleteFunc(c.after, func(b *callback) bool { return b.f == nil })
	c.taken = 0
}

// add puts a task at the end of the waiters. It leaves the list when the context ends, or by unlink when something
// else ends its wait first, so that the list is as long as there are waiters.
func (c *virtual) add(t *Task) {
	w := &t.waits
	w.on, w.turn, w.left, w.right = c, t.turn, c.last, nil
	if c.last != nil {
		c.last.right = w
	} else {
		c.first = w
	}
	c.last = w
}

func (w *contextWaiter) unlink() {
	c := w.on
	if c == nil {
		return
	}
	if w.left != nil {
		w.left.right = w.right
	} else {
		c.first = w.right
	}
	if w.right != nil {
		w.right.left = w.left
	} else {
		c.last = w.left
	}
	w.on, w.left, w.right = nil, nil, nil
}

// end ends the context and all below it, in the order in which they were made.
func (c *virtual) end(err error) {
	// A task that is being killed runs its deferred cancels: they must not reach contexts that outlive it.
	if c.err != nil || c.s.current != nil && c.s.current.killed {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.done != nil {
		close(c.done)
	}
	for c.first != nil {
		w := c.first
		task, turn := w.task, w.turn
		w.unlink()
		c.s.wake(task, turn)
	}
	for _, back := range c.after {
		if back.f != nil {
			back.f()
		}
	}
	for _, child := range c.children {
		child.end(err)
	}
	c.after, c.children = nil, nil
	c.leave()
}

// worthwhile is how many ended children, or callbacks that were taken back, are worth a walk over all.
const worthwhile = 16

// leave tells the parent, which forgets its ended children when they are many: a server's context has a child a request.
// The order of those that stay is kept, as it is the order of waking.
func (c *virtual) leave() {
	up := c.up
	if up == nil || up.err != nil {
		return
	}
	if up.ended++; up.ended < worthwhile || up.ended < len(up.children)/2 {
		return
	}
	live := up.children[:0]
	for _, child := range up.children {
		if child.err == nil {
			live = append(live, child)
		}
	}
	clear(up.children[len(live):])
	up.children, up.ended = live, 0
}
