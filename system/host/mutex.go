package host

import (
	"context"
	"sync"
)

// Mutex is a lock that may be held while waiting, and whose waiters can give up. It is fair: first come, first served.
type Mutex struct{ s *Semaphore }

// NewMutex makes an unlocked mutex.
func NewMutex(h Host) *Mutex { return &Mutex{s: NewSemaphore(h, 1)} }

// Lock waits for the lock, or returns ctx.Err().
// A free lock is given also when ctx has ended, as with Acquire; after an error the caller does not hold it.
func (m *Mutex) Lock(ctx context.Context) error { return m.s.Acquire(ctx, 1) }

// TryLock takes the lock if it is free.
func (m *Mutex) TryLock() bool { return m.s.TryAcquire(1) }

// Unlock hands the lock to the longest waiting task.
// Any task may unlock; unlocking what is not locked panics.
func (m *Mutex) Unlock() { m.s.Release(1) }

// Semaphore bounds a shared resource by weight. It is fair: a heavy request is not overtaken by light ones.
//
// INV-1: the weight held never exceeds the capacity.
// INV-2: the front of the queue does not fit, or is being let in: grant runs after everything that could let it in, which
// is a release, and a waiter that gives up.
type Semaphore struct {
	h        Host
	capacity int64

	mu    sync.Mutex
	held  int64
	queue []*semaphoreWaiter
}

type semaphoreWaiter struct {
	weight int64
	ready  Event
}

// NewSemaphore makes a semaphore of the given capacity.
func NewSemaphore(h Host, capacity int64) *Semaphore { return &Semaphore{h: h, capacity: capacity} }

// Acquire waits for weight; a weight over the capacity waits for all of it. What is free is given also when ctx has ended.
// After an error nothing is held, and a place in the queue is given up.
func (s *Semaphore) Acquire(ctx context.Context, weight int64) error {
	weight = min(weight, s.capacity)
	s.mu.Lock()
	if len(s.queue) == 0 && s.held+weight <= s.capacity {
		s.held += weight
		s.mu.Unlock()
		return nil
	}
	w := &semaphoreWaiter{weight: weight, ready: s.h.NewEvent()}
	s.queue = append(s.queue, w)
	s.mu.Unlock()
	err := w.ready.Wait(ctx)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	granted := true
	for i, x := range s.queue {
		if x == w {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			granted = false
			break
		}
	}
	s.mu.Unlock()
	if granted { // it was handed over while the wait was being cancelled: give it back
		s.Release(weight)
	} else {
		s.grant()
	}
	return err
}

// TryAcquire takes weight if it is free and nobody waits.
// A caller that may not wait, because it holds what others wait for, takes this one.
func (s *Semaphore) TryAcquire(weight int64) bool {
	weight = min(weight, s.capacity)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 || s.held+weight > s.capacity {
		return false
	}
	s.held += weight
	return true
}

// Release gives weight back, the same as was acquired; any task may. More than is held breaks INV-1 and panics.
func (s *Semaphore) Release(weight int64) {
	s.mu.Lock()
	s.held -= min(weight, s.capacity)
	if s.held < 0 {
		s.mu.Unlock()
		panic("host: semaphore released more than was acquired (INV-1)")
	}
	s.mu.Unlock()
	s.grant()
}

// Held is the weight taken now, for metrics and tests: it may be another one when the caller looks at it.
func (s *Semaphore) Held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// grant hands weight to waiters from the front for as long as it lasts. It stops at the first that does not fit: passing
// over it would starve heavy requests. Events are set without the lock, since Set may run the waiter.
func (s *Semaphore) grant() {
	s.mu.Lock()
	var ready []Event
	for len(s.queue) > 0 && s.held+s.queue[0].weight <= s.capacity {
		s.held += s.queue[0].weight
		ready = append(ready, s.queue[0].ready)
		s.queue = s.queue[1:]
	}
	s.mu.Unlock()
	for _, e := range ready {
		e.Set()
	}
}
