// Package sched is virtual time: a clock that jumps from event to event, and tasks of which exactly one runs at a moment.
// It owns order: the same seed gives the same sequence of events, on any machine and any GOMAXPROCS. It knows nothing of
// hosts, networks or file systems, which package world builds on it.
//
// A task is a coroutine (iter.Pull): it runs until it waits in Sleep, Event.Wait or Park, and then the scheduler takes the
// next event off its heap. Events at one instant have no order of their own, so the seed gives them one: what production
// code may do in either order is done in both, by different seeds. Where order matters (messages of a connection) the
// caller gives different times.
//
// Work that takes time but cannot wait where it happens (a read of a file under a sync.Mutex) is charged with Spend: the
// task's own clock runs ahead of the scheduler's, and it catches up when it next waits.
//
// Rules, which the package enforces:
//   - A task never waits for anything outside of the scheduler. A sync.Mutex held over a wait would stop the process: the
//     watchdog (stuck.go) ends the run and names the tasks.
//   - A context that a task waits on comes from WithCancel or WithTimeout here. One from package context would end by the
//     machine's clock or by a goroutine that the scheduler does not see: waiting on it panics.
//   - A panic in a task ends the run with the task's name, the virtual time, and the stack.
package sched

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Epoch is virtual time zero, as clocks show it.
const Epoch = 1_700_000_000

// Scheduler runs tasks in virtual time. It is used from one goroutine, and by the tasks that it runs.
// What keeps it deterministic: there is one heap, whose order is total (time, then the seed's tie, then the number
// of the push); tasks are in lists and slices in the order in which they came, never in maps that are walked; and
// nothing reads the machine's clock but the watchdog, which changes no state.
type Scheduler struct {
	now     int64 // nanoseconds since the epoch of the run
	events  eventHeap
	order   *rand.Rand // breaks ties between simultaneous events
	current *Task
	idle    []*Task // coroutines without a task, for the next one
	groups  []*Group
	ids     uint64
	hash    uint64
	count   uint64
	fault   error
	stopped bool
	// The observers below change nothing of what happens.
	trace Tracer
	watch *watchdog
}

// Tracer hears of every turn of a task before it happens; see Scheduler.Trace.
type Tracer func(now time.Duration, group, task string)

// New makes a scheduler whose order follows from seed.
func New(seed uint64) *Scheduler {
	return &Scheduler{order: rand.New(rand.NewPCG(seed, 0x5eed)), hash: seed ^ 0x9e3779b97f4a7c15}
}

// Elapsed is the virtual time since the start, as the running task has it: what it spent and did not yet wait for counts.
func (s *Scheduler) Elapsed() time.Duration { return time.Duration(s.local()) }

// Reached is the time of the event under way: Elapsed without what the running task spent. Models reserve what others may use
// before that task's own time comes by it.
func (s *Scheduler) Reached() time.Duration { return time.Duration(s.now) }

// local is the running task's time, or the scheduler's between tasks.
//
// Everything that a task asks or plans goes by it: between two waits its clock may run ahead of the world's.
func (s *Scheduler) local() int64 {
	if s.current != nil {
		return s.now + s.current.debt
	}
	return s.now
}

// History is a hash of all events so far: their times, tasks and what Mix was given. Two runs with one history did the
// same in the same order.
func (s *Scheduler) History() uint64 { return s.hash }

// Events is the number of events so far.
func (s *Scheduler) Events() uint64 { return s.count }

// Mix adds an outcome to the history.
// It changes the hash alone and draws nothing from the order's source, so that a caller may add outcomes without
// disturbing the run. Outcomes are worth adding where two runs could differ in a value while their events have the
// same times.
func (s *Scheduler) Mix(v uint64) {
	s.hash = (s.hash ^ v) * 0x9e3779b97f4a7c15
	s.hash ^= s.hash >> 29
}

// MixText adds a text to the history.
// By its bytes, not by a hash of the runtime's, which differs between processes.
func (s *Scheduler) MixText(text string) {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	s.Mix(h)
}

// Trace makes t hear of every turn of a task from now on; nil ends it. It changes nothing of what happens. Timers' callbacks
// are not told: they have no names.
// t runs on the scheduler's stack, and must neither wait nor change anything of the world.
func (s *Scheduler) Trace(t Tracer) { s.trace = t }

// Stop ends Run after the event under way.
// Another Run goes on from there.
func (s *Scheduler) Stop() { s.stopped = true }

// Timer is a callback in the future.
// It belongs to no task: the death of the task that set it does not stop it, and whoever must not hear of it then
// stops it or asks for the life it was set in.
type Timer struct {
	s     *Scheduler
	fire  func() // nil: fired or stopped
	group *Group // it is late when that is paused; nil: nobody's
}

// Stop makes sure that the callback does not run; nothing happens when it did.
func (t *Timer) Stop() {
	if t.fire != nil {
		t.fire = nil
		t.s.events.stale++
	}
}

// After runs f when d has passed for whoever calls, on the scheduler's own stack: f must not wait. Called by a task that
// was killed it does nothing.
// The time is counted from the caller's own clock: a task that has spent time ahead of the scheduler's sets its
// timers as much later.
func (s *Scheduler) After(d time.Duration, f func()) *Timer {
	if s.current != nil && s.current.killed {
		return &Timer{s: s}
	}
	t := &Timer{s: s, fire: f}
	s.push(event{at: s.local() + max(int64(d), 0), timer: t})
	return t
}

// push gives an event its place among those of its instant. A draw from the order's source is made for each event,
// also where there is no tie: whether there is one would depend on what other events are on the heap, and a sweep
// of stale events must not change the order of the rest.
func (s *Scheduler) push(e event) {
	e.tie = s.order.Uint32()
	s.ids++
	e.id = s.ids
	s.events.push(e)
}

// Run executes events until none is left, until Stop, or until virtual time reaches limit. It returns a *Fault when a task
// panicked or hung the process, and a *Deadlock when tasks wait and nothing can ever wake them.
// It may be called again after a limit or a Stop, and goes on where it ended; after a fault or a deadlock only
// Teardown is left. An event at limit itself still happens. It must not be called by a task or by a callback.
func (s *Scheduler) Run(limit time.Duration) error {
	s.stopped = false
	s.watch = s.startWatch()
	defer s.watch.end()
	for len(s.events.heap) > 0 && !s.stopped {
		if s.events.heap[0].at > int64(limit) {
			// The events beyond stay on the heap, for the next Run.
			s.now = max(s.now, int64(limit))
			return s.fault
		}
		s.step(s.events.pop())
		if s.fault != nil {
			return s.fault
		}
	}
	if !s.stopped && s.holds() {
		s.now = max(s.now, int64(limit))
		return s.fault
	}
	if !s.stopped {
		return s.deadlock()
	}
	return nil
}

// step makes one event happen, unless it is stale: a timer that was stopped, a wait that something else ended.
// Stale events leave no trace: they do not count, do not move the clock and are not in the history, so that a
// sweep which drops them early changes nothing.
func (s *Scheduler) step(e event) {
	if e.stale() {
		if e.timer != nil || e.sleep {
			s.events.stale--
		}
		return
	}
	if s.hold(e) {
		return
	}
	s.now = max(s.now, e.at)
	s.count++
	if e.timer != nil {
		s.watch.beat(s.count)
		s.Mix(uint64(e.at))
		// Fired before it is called: a callback that stops its own timer does not count a stale event that is not
		// on the heap.
		fire := e.timer.fire
		e.timer.fire = nil
		fire()
		return
	}
	s.Mix(uint64(e.at) ^ e.task.id<<40)
	if s.trace != nil {
		s.trace(time.Duration(s.now), e.task.group.name, e.task.name)
	}
	if e.sleep {
		e.task.sleeping = false
	}
	s.resume(e.task)
}

// Fault ends a run: a task panicked, or stopped the process.
// The world is not to be trusted after it: the task's deferred calls have run, and its locks may guard what is
// half done.
type Fault struct {
	At          time.Duration
	Group, Task string
	Reason      string
	Stack       string
}

// Error names task and time; the stack follows.
func (f *Fault) Error() string {
	return fmt.Sprintf("at %v, task %q of %s: %s\n%s", f.At, f.Task, f.Group, f.Reason, f.Stack)
}
