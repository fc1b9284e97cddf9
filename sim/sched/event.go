package sched

// Event is a one-shot latch: once set it stays set.
// It is what every other way of waiting is made of: host.Mutex, semaphores, the journal's conditions, the ends of
// calls. Waiters go on as events of one instant, in the order of the seed: nothing may rely on the first that came
// being the first that goes on.
type Event struct {
	s     *Scheduler
	set   bool
	first waiting // most events have one waiter
	more  []waiting
}

// waiting is a task in one of its waits. The turn tells that wait from later ones of the same task, and of other
// work that the scheduler has given to the same Task value.
type waiting struct {
	task *Task
	turn uint64
}

// NewEvent makes an event that is not set.
func (s *Scheduler) NewEvent() *Event { return &Event{s: s} }

// IsSet tells without waiting.
func (e *Event) IsSet() bool { return e.set }

// Set releases every waiter, present and future. Set by a task that was killed it does nothing.
// That is so since deferred calls run while a node crashes, and a dead process tells nobody anything.
func (e *Event) Set() {
	if e.set || e.s.current != nil && e.s.current.killed {
		return
	}
	e.set = true
	if e.first.task != nil {
		e.s.wake(e.first.task, e.first.turn)
	}
	for _, w := range e.more {
		e.s.wake(w.task, w.turn)
	}
	e.first, e.more = waiting{}, nil
}

// Wait returns nil once the event is set, or ctx.Err(). A task that gives up stays in the list as a stale entry until the
// event is set or dropped: entries are counted against the list's length when it grows.
// When the event and ctx both end before the task goes on, the event wins: what was handed over with it is not
// lost. Waiting on a context of package context panics, and so does waiting outside of a task.
func (e *Event) Wait(ctx Context) error {
	t := e.s.running()
	if e.set {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	e.add(waiting{t, t.turn})
	c := contextOf(ctx)
	if c == nil {
		t.park()
		return nil
	}
	c.add(t)
	t.park()
	t.waits.unlink()
	if e.set {
		return nil
	}
	return c.err
}

// add remembers a waiter. The list is walked only before it grows, so that an event which is never set, and on
// which many give up, costs memory in proportion to those that still wait.
func (e *Event) add(w waiting) {
	if e.first.task == nil || e.first.task.turn != e.first.turn {
		e.first = w
		return
	}
	if len(e.more) == cap(e.more) { // before it grows
		kept := e.more[:0]
		for _, old := range e.more {
			if old.task.turn == old.turn {
				kept = append(kept, old)
			}
		}
		e.more = kept
	}
	e.more = append(e.more, w)
}
