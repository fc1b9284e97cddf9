package sched

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"time"
)

// Task is one coroutine's present work. The scheduler reuses coroutines, and Task values with them.
// INV-1: at most one event wakes a task from one wait: an event carries the turn in which it was pushed, and each
// resumption, death and end of work begins another turn. INV-2: a task is in its group's list from Go until its
// work ends or the group is killed. INV-3: debt is zero while the task is parked.
type Task struct {
	s     *Scheduler
	id    uint64
	name  string
	group *Group
	work  func()
	turn  uint64 // counts waits: an event for an earlier turn is stale
	debt  int64  // nanoseconds spent ahead of the scheduler's clock
	until int64  // what it spent before it waited: it goes on no earlier

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool

	parked   bool
	killed   bool
	sleeping bool          // in Sleep, whose event is still on the heap
	waits    contextWaiter // on at most one context at a time

	left, right *Task // in its group's list
}

// Group is the tasks of one node: they can be ended together.
// A group has one life: a node that restarts gets another one.
type Group struct {
	s     *Scheduler
	name  string
	dead  bool
	first *Task
	tasks int

	paused  bool
	held    []event // what came up meanwhile
	resumes int
}

// NewGroup makes an empty group.
func (s *Scheduler) NewGroup(name string) *Group {
	g := &Group{s: s, name: name}
	s.groups = append(s.groups, g)
	return g
}

// Dead tells whether Kill was called.
func (g *Group) Dead() bool { return g.dead }

// Tasks is the number of tasks that have not ended.
func (g *Group) Tasks() int { return g.tasks }

// Name is the name that NewGroup was given.
func (g *Group) Name() string { return g.name }

// Go starts a task now, in the order that the seed gives. In a dead group nothing starts.
// The task goes on at the caller's own time, which is ahead of the scheduler's by what the caller has spent. The
// name is for reports and traces, and need not be unique.
func (g *Group) Go(name string, work func()) {
	s := g.s
	if g.dead || s.current != nil && s.current.killed {
		return
	}
	t := s.coroutine()
	s.ids++
	t.id, t.name, t.group, t.work = s.ids, name, g, work
	t.killed, t.debt, t.until = false, 0, 0
	t.parked = true
	g.add(t)
	s.push(event{at: s.local(), task: t, turn: t.turn})
}

// The list is walked by Kill and by reports: newest first, an order that follows from the seed like everything
// that starts tasks.
func (g *Group) add(t *Task) {
	t.left, t.right = nil, g.first
	if g.first != nil {
		g.first.left = t
	}
	g.first = t
	g.tasks++
}

func (g *Group) remove(t *Task) {
	if t.left != nil {
		t.left.right = t.right
	} else {
		g.first = t.right
	}
	if t.right != nil {
		t.right.left = t.left
	}
	t.left, t.right = nil, nil
	g.tasks--
}

// Kill ends every task of the group where it waits, as a crash does: their deferred calls run, so that locks in memory are
// given back, but what those do to the world (events, messages, new tasks) has no effect. Called between tasks only: by
// After's callbacks, or before Run.
func (g *Group) Kill() {
	if g.s.current != nil {
		panic("sched: Kill called by a task: use After")
	}
	g.dead, g.paused, g.held = true, false, nil
	for g.first != nil {
		t := g.first
		g.remove(t)
		t.killed = true
		t.turn++
		t.waits.unlink()
		t.forgetSleep()
		g.s.current = t
		ended := make(chan struct{})
		go func() { // stop hands the coroutine's Goexit on to its caller, which is spared that way
			defer close(ended)
			t.stop()
		}()
		<-ended
		g.s.current = nil
	}
}

// Retire forgets a dead group, so that many restarts leave nothing behind.
// A deadlock's report and Teardown do not look at it any more, so that only a dead group may be retired: Teardown
// would leave the tasks of one that lives.
func (g *Group) Retire() {
	for i, other := range g.s.groups {
		if other == g {
			g.s.groups = append(g.s.groups[:i], g.s.groups[i+1:]...)
			return
		}
	}
}

// coroutine finds one without work, or makes one.
// Making one costs a goroutine and its stack: a load of short requests would make millions of them. The last that
// became idle is taken first, whose stack is warm and large enough.
func (s *Scheduler) coroutine() *Task {
	if n := len(s.idle); n > 0 {
		t := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return t
	}
	t := &Task{s: s}
	t.waits.task = t
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		for s.perform(t) && yield(struct{}{}) {
		}
	})
	return t
}

// perform runs a task's work to its end, and tells whether the coroutine can take another.
// After a panic it cannot: the coroutine ends, and the task stays in its group's list, since the run is over in
// any case.
func (s *Scheduler) perform(t *Task) bool {
	defer func() {
		if cause := recover(); cause != nil { // here, since iter.Pull would lose the stack
			s.fault = &Fault{At: time.Duration(s.now), Group: t.group.name, Task: t.name, Reason: fmt.Sprint("panic: ", cause), Stack: string(debug.Stack())}
		}
	}()
	t.work()
	t.group.remove(t)
	t.work = nil
	t.turn++
	s.idle = append(s.idle, t)
	return true
}

// resume lets a task run until it waits or ends.
// The new turn makes stale whatever else was to wake the task from this wait. A debt from before it parked is in
// until already, and wake heeds that.
func (s *Scheduler) resume(t *Task) {
	s.current = t
	t.turn++
	t.parked = false
	t.debt = 0
	s.watch.beat(s.count) // after what stuckReport reads was written
	t.next()
	s.current = nil
}

// running is the task that calls. It panics outside of tasks: there, nothing may wait. A killed task goes no further.
func (s *Scheduler) running() *Task {
	switch {
	case s.current == nil:
		panic("sched: waiting outside of a task (in a timer's callback, or on a goroutine that the scheduler does not know)")
	case s.current.killed:
		runtime.Goexit()
	}
	return s.current
}

// park waits until an event for this turn comes up.
// The scheduler goes on on its own stack meanwhile. What the task has spent is added to the end of its wait: a
// wait that ends earlier than that is no gain.
func (t *Task) park() {
	t.parked = true
	t.until = t.s.now + t.debt
	t.debt = 0
	if !t.yield(struct{}{}) {
		runtime.Goexit() // killed: unwind; recover cannot catch it
	}
}

// wake lets a parked task go on now, if it still is in this turn.
// A task that is woken twice in one turn has two events, of which the second is stale when it comes up.
func (s *Scheduler) wake(t *Task, turn uint64) {
	if t.turn == turn && t.parked {
		s.push(event{at: max(s.local(), t.until), task: t, turn: turn})
	}
}

// Spend charges the running task with work that takes d, without waiting here: its clock runs ahead, and what it does next
// happens that much later. Outside of tasks, and for nothing, it does nothing.
// It is for work under a sync.Mutex, over which a task cannot wait. Other tasks see the effects of the call before
// the time in which it would have ended; what the caller tells them is late by as much, which is what they can
// observe.
func (s *Scheduler) Spend(d time.Duration) {
	if s.current != nil && d > 0 {
		s.current.debt += int64(d)
	}
}

// Sleep waits until d has passed, or returns ctx.Err() when ctx ends first.
// A sleep of nothing still lets others run: it is an event like any other, among those of its instant. In a
// timer's callback it panics.
func (s *Scheduler) Sleep(ctx Context, d time.Duration) error {
	t := s.running()
	if err := ctx.Err(); err != nil {
		return err
	}
	c := contextOf(ctx)
	s.push(event{at: s.local() + max(int64(d), 0), task: t, turn: t.turn, sleep: true})
	t.sleeping = true
	if c == nil {
		t.park()
		return nil
	}
	c.add(t)
	t.park()
	t.waits.unlink()
	t.forgetSleep()
	return c.err
}

// forgetSleep counts the event of a sleep that something else ended among the stale ones.
// The heap sweeps by that number; other waits have no event on it until they end.
func (t *Task) forgetSleep() {
	if t.sleeping {
		t.sleeping = false
		t.s.events.stale++
	}
}

// Teardown ends all tasks and gives back their coroutines. Nothing of the scheduler may be used afterwards.
// It must be called between tasks, also after a fault: a coroutine that is not stopped keeps its goroutine for
// ever.
func (s *Scheduler) Teardown() {
	for _, g := range s.groups {
		g.Kill()
	}
	for _, t := range s.idle {
		t.stop()
	}
	s.idle = nil
}
