package sched

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Deadlock is a run that cannot go on: tasks wait, and no event is left that could wake one.
// It is nearly always a lost wake-up in the code under test: an Event that nobody sets, a lock that was not given
// back. A cluster's background tasks sleep, so that it shows only in worlds without them.
type Deadlock struct {
	At      time.Duration
	Waiting []string // "group/task", sorted, with how many wait under that name
}

// Error lists who waits.
func (d *Deadlock) Error() string {
	return fmt.Sprintf("at %v, %d kinds of tasks wait for ever: %s", d.At, len(d.Waiting), strings.Join(d.Waiting, ", "))
}

// deadlock is nil when no task is left.
// Groups that were retired are not looked at: Kill has ended their tasks.
func (s *Scheduler) deadlock() error {
	if s.fault != nil {
		return s.fault
	}
	counts := map[string]int{}
	for _, g := range s.groups {
		for t := g.first; t != nil; t = t.right {
			counts[g.name+"/"+t.name]++
		}
	}
	if len(counts) == 0 {
		return nil
	}
	d := &Deadlock{At: time.Duration(s.now)}
	for name, n := range counts {
		if n > 1 {
			name += fmt.Sprintf(" (%d)", n)
		}
		d.Waiting = append(d.Waiting, name)
	}
	slices.Sort(d.Waiting)
	return d
}

// StuckAfter is how long, on the machine's clock, one task may run before the watchdog calls the process stuck.
var StuckAfter = time.Minute

// onStuck ends the process with what the watchdog found: the goroutine that is stuck cannot be ended. Tests replace it.
var onStuck = func(report string) {
	fmt.Fprintln(os.Stderr, report)
	os.Exit(2)
}

// watchdog looks from outside whether events still happen.
// It is the one goroutine that runs beside the tasks and the one reader of the machine's clock. It only reads
// beats, until it decides that the scheduler stands still.
type watchdog struct {
	beats atomic.Uint64
	done  chan struct{}
}

// beat is called before each turn of a task and each callback, so that StuckAfter bounds one of them and not the
// run.
func (w *watchdog) beat(n uint64) { w.beats.Store(n) }

func (w *watchdog) end() { close(w.done) }

// looks is how often the watchdog looks within StuckAfter. It counts looks and not the time between them, which passes also while
// the whole machine stands still.
const looks = 20

// startWatch begins to watch one Run; end lets the goroutine go, without waiting for it.
func (s *Scheduler) startWatch() *watchdog {
	w, patience := &watchdog{done: make(chan struct{})}, StuckAfter
	go func() {
		tick := time.NewTicker(patience / looks)
		defer tick.Stop()
		last, same := w.beats.Load(), 0
		for {
			select {
			case <-w.done:
				return
			case <-tick.C:
			}
			if now := w.beats.Load(); now != last {
				last, same = now, 0
			} else if same++; same > looks {
				onStuck(s.stuckReport())
				return
			}
		}
	}()
	return w
}

// stuckReport names the task that runs and does not end, and those of the same node that wait: when the first waits for a
// sync.Mutex, one of the others holds it. The scheduler stands still, so reading it from outside is safe enough.
func (s *Scheduler) stuckReport() string {
	var b strings.Builder
	t := s.current
	if t == nil {
		b.WriteString("sched: stuck in a timer's callback\n")
	} else {
		fmt.Fprintf(&b, "sched: stuck at %v: task %q of %s has run for %v without waiting. If its stack ends in sync.Mutex.Lock,\n"+
			"a task that waits holds that mutex (use host.Mutex), one of:\n", time.Duration(s.now), t.name, t.group.name, StuckAfter)
		for other := t.group.first; other != nil; other = other.right {
			if other != t {
				fmt.Fprintf(&b, "  %s\n", other.name)
			}
		}
	}
	// The dump of all goroutines is the only way to see where the task is: the scheduler cannot unwind it from
	// outside.
	stacks := make([]byte, 4<<20)
	b.Write(stacks[:runtime.Stack(stacks, true)])
	return b.String()
}
