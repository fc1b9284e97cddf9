// Package hosttest holds a minimal virtual host: a virtual clock and one task running at a time. It serves tests of code
// that waits, so that they take no time and always take the same path; package sim has the full one, with network and
// faults.
package hosttest

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/host"
)

// Virtual is a host whose clock moves only when every task waits. Tasks are goroutines that pass one baton around.
//
// INV-1: at most one task runs. INV-2: tasks that become ready at the same time run in the order in which they did.
type Virtual struct {
	rng *rand.Rand
	fs  vfs.FS

	mu     sync.Mutex
	now    time.Time
	order  uint64
	ready  []chan struct{}
	timers timerHeap
	idle   chan struct{} // closed when nothing can ever run again
	live   int
}

type timer struct {
	at    time.Time
	order uint64
	fire  func()
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].order < h[j].order
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(*timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}

// NewVirtual makes a host whose random stream follows from seed.
func NewVirtual(seed uint64) *Virtual {
	return &Virtual{rng: rand.New(rand.NewPCG(seed, seed)), fs: vfs.NewMem(), now: time.Unix(1_700_000_000, 0), idle: make(chan struct{})}
}

// Run runs main and every task that it starts until none is left. It returns an error when tasks wait for ever.
func (v *Virtual) Run(main func()) error {
	v.mu.Lock()
	v.startLocked(main)
	v.mu.Unlock()
	v.pass()
	<-v.idle
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.live > 0 {
		return fmt.Errorf("%d tasks wait for ever", v.live)
	}
	return nil
}

// pass hands the baton to the next ready task, moving the clock when there is none.
func (v *Virtual) pass() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.ready) == 0 {
		if v.timers.Len() == 0 {
			close(v.idle)
			return
		}
		t := heap.Pop(&v.timers).(*timer)
		if t.at.After(v.now) {
			v.now = t.at
		}
		t.fire()
	}
	next := v.ready[0]
	v.ready = v.ready[1:]
	close(next)
}

func (v *Virtual) startLocked(task func()) {
	baton := make(chan struct{})
	v.live++
	v.ready = append(v.ready, baton)
	go func() {
		<-baton
		defer func() { // also when a test's Fatal ends the goroutine: the others must not wait for it
			v.mu.Lock()
			v.live--
			v.mu.Unlock()
			v.pass()
		}()
		task()
	}()
}

func (v *Virtual) afterLocked(d time.Duration, fire func()) *timer {
	v.order++
	t := &timer{at: v.now.Add(d), order: v.order, fire: fire}
	heap.Push(&v.timers, t)
	return t
}

// Now implements host.Host.
func (v *Virtual) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// Sleep implements host.Host.
func (v *Virtual) Sleep(ctx context.Context, d time.Duration) error {
	e := &event{v: v}
	v.mu.Lock()
	t := v.afterLocked(d, e.setLocked)
	v.mu.Unlock()
	err := e.Wait(ctx)
	v.mu.Lock()
	t.fire = func() {}
	v.mu.Unlock()
	return err
}

// Go implements host.Host.
func (v *Virtual) Go(_ string, task func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.startLocked(task)
}

// NewEvent implements host.Host.
func (v *Virtual) NewEvent() host.Event { return &event{v: v} }

// Rand implements host.Host.
func (v *Virtual) Rand() *rand.Rand { return v.rng }

// FS implements host.Host: an empty file system in memory.
func (v *Virtual) FS() vfs.FS { return v.fs }

var errNoNetwork = errors.New("the minimal virtual host has no network")

// Dial implements host.Host; there is no network.
func (v *Virtual) Dial(string) (host.Conn, error) { return nil, errNoNetwork }

// Listen implements host.Host; there is no network.
func (v *Virtual) Listen(string) (host.Server, error) { return nil, errNoNetwork }

// event is a latch; its waiters are batons. Virtual.mu guards it.
type event struct {
	v       *Virtual
	set     bool
	waiting []chan struct{}
}

func (e *event) setLocked() {
	e.set = true
	e.v.ready = append(e.v.ready, e.waiting...)
	e.waiting = nil
}

func (e *event) Set() {
	e.v.mu.Lock()
	defer e.v.mu.Unlock()
	e.setLocked()
}

func (e *event) IsSet() bool {
	e.v.mu.Lock()
	defer e.v.mu.Unlock()
	return e.set
}

func (e *event) Wait(ctx context.Context) error {
	e.v.mu.Lock()
	if e.set {
		e.v.mu.Unlock()
		return nil
	}
	if err := ctx.Err(); err != nil {
		e.v.mu.Unlock()
		return err
	}
	baton := make(chan struct{})
	e.waiting = append(e.waiting, baton)
	c, _ := ctx.Value(canceledKey{}).(*cancellation)
	if c != nil {
		c.waiting = append(c.waiting, waiter{e, baton})
	}
	e.v.mu.Unlock()
	e.v.pass()
	<-baton
	if e.IsSet() {
		return nil
	}
	return ctx.Err()
}

// cancellation is the part of a context that the scheduler sees.
type cancellation struct {
	v        *Virtual
	cancel   context.CancelCauseFunc
	waiting  []waiter
	children []*cancellation
	done     bool
}

type waiter struct {
	e     *event
	baton chan struct{}
}

type canceledKey struct{}

// virtualContext answers Err with the cause, so that a virtual deadline reads as context.DeadlineExceeded.
type virtualContext struct {
	context.Context
	deadline time.Time // zero: the parent's
}

// Deadline is the earlier of this context's and its parent's, as context.WithTimeout has it.
func (c virtualContext) Deadline() (time.Time, bool) {
	outer, bounded := c.Context.Deadline()
	if c.deadline.IsZero() || (bounded && outer.Before(c.deadline)) {
		return outer, bounded
	}
	return c.deadline, true
}

func (c virtualContext) Err() error { return context.Cause(c.Context) }

func (c *cancellation) endLocked(cause error) {
	if c.done {
		return
	}
	c.done = true
	c.cancel(cause)
	for _, w := range c.waiting {
		for i, b := range w.e.waiting {
			if b == w.baton {
				w.e.waiting = append(w.e.waiting[:i], w.e.waiting[i+1:]...)
				c.v.ready = append(c.v.ready, b)
				break
			}
		}
	}
	for _, child := range c.children {
		child.endLocked(cause)
	}
}

func (v *Virtual) withLocked(ctx context.Context) (virtualContext, *cancellation) {
	inner, cancel := context.WithCancelCause(ctx)
	c := &cancellation{v: v, cancel: cancel}
	if up, _ := ctx.Value(canceledKey{}).(*cancellation); up != nil {
		up.children = append(up.children, c)
		if up.done {
			c.endLocked(ctx.Err())
		}
	}
	return virtualContext{Context: context.WithValue(inner, canceledKey{}, c)}, c
}

// WithCancel implements host.Host.
func (v *Virtual) WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	inner, c := v.withLocked(ctx)
	return inner, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		c.endLocked(context.Canceled)
	}
}

// WithTimeout implements host.Host.
func (v *Virtual) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	inner, c := v.withLocked(ctx)
	inner.deadline = v.now.Add(d)
	t := v.afterLocked(d, func() { c.endLocked(context.DeadlineExceeded) })
	return inner, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		t.fire = func() {}
		c.endLocked(context.Canceled)
	}
}
