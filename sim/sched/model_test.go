package sched

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The model test runs random programs of tasks, events, timers and contexts on the scheduler and on the plainest thing that
// could be one: a list of moments that is sorted again and again. Programs use times that coincide only where one thing wakes
// many, who part at once, so that the seed decides nothing that matters, and both must tell the same story.

// op is one instruction of a program's task.
type op struct {
	kind int
	d    time.Duration // of a sleep, a timer, a deadline or of work
	n    int           // which event, context or task
}

const (
	opSleep  = iota // under the context n
	opWait          // for event n under the task's context
	opSet           // event n
	opSpend         // d of work
	opCancel        // context n
	opTimer         // sets event n after d
	opStop          // stops timer n, if it was set
	opKinds
)

const (
	modelTasks    = 6
	modelEvents   = 5
	modelContexts = 5
)

// program is what each task does; its context, of those that are made at the start, is its number.
type program struct {
	tasks     [modelTasks][]op
	deadlines [modelContexts]time.Duration // 0: none; each but the first is a child of the one before
}

// randomProgram draws one. Every duration is a distinct multiple of a power that no sum of the others can meet.
func randomProgram(rng *rand.Rand) program {
	var p program
	unique := func() time.Duration { return time.Duration(1 + rng.Int64N(1<<50)) }
	for i := range p.deadlines {
		if rng.IntN(2) == 0 {
			p.deadlines[i] = unique() * 4
		}
	}
	for i := range p.tasks {
		p.tasks[i] = append(p.tasks[i], op{opSleep, unique(), -1}) // so that they do not begin at one moment
		for range rng.IntN(20) {
			o := op{rng.IntN(opKinds), unique(), rng.IntN(5)}
			p.tasks[i] = append(p.tasks[i], o)
			if o.kind == opSleep || o.kind == opWait { // one cancel wakes many at one moment: they part at once
				p.tasks[i] = append(p.tasks[i], op{opSleep, unique(), -1})
			}
		}
	}
	return p
}

// onScheduler runs a program on the scheduler.
func onScheduler(p program, seed uint64) []string {
	s := New(seed)
	defer s.Teardown()
	g := s.NewGroup("g")
	events := make([]*Event, modelEvents)
	for i := range events {
		events[i] = s.NewEvent()
	}
	contexts, cancels := make([]Context, modelContexts), make([]context.CancelFunc, modelContexts)
	up := Context(context.Background())
	for i, d := range p.deadlines {
		if d > 0 {
			up, cancels[i] = s.WithTimeout(up, time.Unix(Epoch, 0), d)
		} else {
			up, cancels[i] = s.WithCancel(up)
		}
		contexts[i] = up
	}
	timers := make([]*Timer, modelEvents)
	var story []string
	for i, ops := range p.tasks {
		g.Go(fmt.Sprint("t", i), func() {
			for at, o := range ops {
				var err error
				switch o.kind {
				case opSleep:
					ctx := Context(context.Background())
					if o.n >= 0 {
						ctx = contexts[o.n]
					}
					err = s.Sleep(ctx, o.d)
				case opWait:
					err = events[o.n].Wait(contexts[i%modelContexts])
				case opSet:
					events[o.n].Set()
				case opSpend:
					s.Spend(o.d)
				case opCancel:
					cancels[o.n]()
				case opTimer:
					if timers[o.n] == nil {
						timers[o.n] = s.After(o.d, events[o.n].Set)
					}
				case opStop:
					if timers[o.n] != nil {
						timers[o.n].Stop()
					}
				}
				story = append(story, line(i, at, s.Elapsed(), err))
			}
		})
	}
	err := s.Run(1 << 62)
	var d *Deadlock
	if err != nil && !errors.As(err, &d) {
		story = append(story, err.Error())
	}
	if d != nil {
		story = append(story, "waiting: "+strings.Join(d.Waiting, ","))
	}
	return story
}

func line(task, at int, now time.Duration, err error) string {
	return fmt.Sprintf("%020d t%d.%d: %v", now, task, at, err)
}

// reference is the plain scheduler.
type reference struct {
	p        program
	now      time.Duration
	moments  []moment
	set      [modelEvents]bool
	ended    [modelContexts]error
	timers   [modelEvents]int // 0: not set, 1: runs, 2: over
	tasks    [modelTasks]refTask
	story    []string
	sequence int
}

type refTask struct {
	at      int
	debt    time.Duration
	busy    time.Duration // until when its work before the wait takes
	parked  bool
	event   int // it waits for; -1: a sleep
	context int // -1: none
	turn    int
}

type moment struct {
	at       time.Duration
	sequence int
	do       func()
}

func (r *reference) later(at time.Duration, do func()) {
	r.sequence++
	r.moments = append(r.moments, moment{at, r.sequence, do})
}

func onReference(p program) []string {
	r := &reference{p: p}
	for i, d := range p.deadlines {
		if d > 0 {
			r.later(d, func() { r.end(i, context.DeadlineExceeded, r.now) })
		}
	}
	for i := range r.tasks {
		r.later(0, func() { r.go_(i) })
	}
	for len(r.moments) > 0 {
		least := slices.MinFunc(r.moments, func(a, b moment) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return a.sequence - b.sequence
		})
		r.moments = slices.DeleteFunc(r.moments, func(m moment) bool { return m.sequence == least.sequence })
		r.now = max(r.now, least.at)
		least.do()
	}
	waits := 0
	for _, t := range r.tasks {
		if t.parked {
			waits++
		}
	}
	if waits > 0 {
		var names []string
		for i, t := range r.tasks {
			if t.parked {
				names = append(names, fmt.Sprintf("g/t%d", i))
			}
		}
		r.story = append(r.story, "waiting: "+strings.Join(names, ","))
	}
	return r.story
}

// end ends a context and those below it, which are those after it.
func (r *reference) end(n int, err error, at time.Duration) {
	for c := n; c < modelContexts; c++ {
		if r.ended[c] == nil {
			r.ended[c] = err
			for i := range r.tasks {
				if t := &r.tasks[i]; t.parked && t.context == c {
					r.wake(i, at)
				}
			}
		}
	}
}

func (r *reference) wake(i int, at time.Duration) {
	turn := r.tasks[i].turn
	r.later(max(at, r.tasks[i].busy), func() {
		if t := &r.tasks[i]; t.parked && t.turn == turn {
			r.go_(i)
		}
	})
}

func (r *reference) setEvent(n int, at time.Duration) {
	if r.set[n] {
		return
	}
	r.set[n] = true
	for i := range r.tasks {
		if t := &r.tasks[i]; t.parked && t.event == n {
			r.wake(i, at)
		}
	}
}

// go_ lets a task go on from its wait, to its next or its end.
func (r *reference) go_(i int) {
	t := &r.tasks[i]
	t.turn++
	if t.parked {
		t.parked, t.debt = false, 0
		var err error
		switch {
		case t.event >= 0 && r.set[t.event]:
		case t.context >= 0:
			err = r.ended[t.context]
		}
		r.tell(i, err)
	}
	for t.at < len(r.p.tasks[i]) {
		if r.do(i, r.p.tasks[i][t.at]) {
			t.parked, t.busy = true, r.now+t.debt
			return
		}
	}
}

func (r *reference) tell(i int, err error) {
	t := &r.tasks[i]
	r.story = append(r.story, line(i, t.at, r.now+t.debt, err))
	t.at++
}

// do does one instruction, and tells whether the task waits now.
func (r *reference) do(i int, o op) (waits bool) {
	t := &r.tasks[i]
	local := r.now + t.debt
	switch o.kind {
	case opSleep:
		if o.n >= 0 && r.ended[o.n] != nil {
			r.tell(i, r.ended[o.n])
			return false
		}
		t.event, t.context = -1, o.n
		turn := t.turn
		r.later(local+o.d, func() {
			if t.parked && t.turn == turn {
				r.go_(i)
			}
		})
		return true
	case opWait:
		c := i % modelContexts
		switch {
		case r.set[o.n]:
		case r.ended[c] != nil:
			r.tell(i, r.ended[c])
			return false
		default:
			t.event, t.context = o.n, c
			return true
		}
	case opSet:
		r.setEvent(o.n, local)
	case opSpend:
		t.debt += o.d
	case opCancel:
		r.end(o.n, context.Canceled, local)
	case opTimer:
		if r.timers[o.n] == 0 {
			r.timers[o.n] = 1
			r.later(local+o.d, func() {
				if r.timers[o.n] == 1 {
					r.timers[o.n] = 2
					r.setEvent(o.n, r.now)
				}
			})
		}
	case opStop:
		if r.timers[o.n] == 1 {
			r.timers[o.n] = 2
		}
	}
	r.tell(i, nil)
	return false
}

// TestAgainstReference: thousands of random programs go alike on the scheduler, whatever its seed, and on the reference.
func TestAgainstReference(t *testing.T) {
	lines, ends := 0, map[string]int{}
	for seed := range uint64(3000) {
		p := randomProgram(rand.New(rand.NewPCG(seed, 77)))
		want := onReference(p)
		got := onScheduler(p, seed)
		slices.Sort(want) // what is woken at one moment comes in the seed's order
		slices.Sort(got)
		if !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("program %d: line %d: %q, want %q", seed, i, got[i], want[i])
				}
			}
			t.Fatalf("program %d: %d lines, want %d", seed, len(got), len(want))
		}
		lines += len(want)
		for _, l := range want {
			for _, end := range []string{"canceled", "deadline", "waiting"} {
				if strings.Contains(l, end) {
					ends[end]++
				}
			}
		}
	}
	if lines < 20_000 || ends["canceled"] < 100 || ends["deadline"] < 100 || ends["waiting"] < 50 {
		t.Errorf("%d lines, %v: the programs are too tame", lines, ends)
	}
}
