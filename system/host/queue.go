package host

import (
	"context"
	"errors"
	"sync"
)

// ErrQueueClosed is returned by a Queue's methods after Close (Recv first drains what was sent).
var ErrQueueClosed = errors.New("queue closed")

// Queue is a bounded mailbox: it replaces a channel with select.
//
// INV-1: at most capacity items are held; Send waits at the bound, TrySend refuses.
// INV-2: a receiver is parked only while the queue is empty or a wake-up is on its way to one, a sender only while it is full
// or the same.
//
// What a closed queue still holds is its receivers' to drain; nobody else learns of it.
type Queue[T any] struct {
	h        Host
	capacity int

	mu        sync.Mutex
	items     []T
	closed    bool
	receivers waiters
	senders   waiters
}

// NewQueue makes a queue of at most capacity items (at least one).
func NewQueue[T any](h Host, capacity int) *Queue[T] {
	return &Queue[T]{h: h, capacity: max(capacity, 1)}
}

// TrySend appends v, or returns false when the queue is full or closed.
func (q *Queue[T]) TrySend(v T) bool {
	q.mu.Lock()
	if q.closed || len(q.items) >= q.capacity {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, v)
	e := q.receivers.pop()
	q.mu.Unlock()
	wake(e)
	return true
}

// Send appends v, waiting for room. ErrQueueClosed: it was closed before there was any. A Send that gave up has sent nothing.
func (q *Queue[T]) Send(ctx context.Context, v T) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return ErrQueueClosed
		}
		if len(q.items) < q.capacity {
			q.items = append(q.items, v)
			e := q.receivers.pop()
			q.mu.Unlock()
			wake(e)
			return nil
		}
		e := q.senders.add(q.h)
		q.mu.Unlock()
		if err := q.park(ctx, e, &q.senders); err != nil {
			return err
		}
	}
}

// Recv takes the oldest item, waiting for one. An item that is there is given also when ctx has ended. ErrQueueClosed: it was
// closed and is empty. Receivers are served in the order in which they came, unless one comes just as another is woken.
func (q *Queue[T]) Recv(ctx context.Context) (T, error) {
	var zero T
	for {
		q.mu.Lock()
		if v, ok, e := q.takeLocked(); ok {
			q.mu.Unlock()
			wake(e)
			return v, nil
		}
		if q.closed {
			q.mu.Unlock()
			return zero, ErrQueueClosed
		}
		e := q.receivers.add(q.h)
		q.mu.Unlock()
		if err := q.park(ctx, e, &q.receivers); err != nil {
			return zero, err
		}
	}
}

// TryRecv takes the oldest item if there is one.
func (q *Queue[T]) TryRecv() (T, bool) {
	q.mu.Lock()
	v, ok, e := q.takeLocked()
	q.mu.Unlock()
	wake(e)
	return v, ok
}

// Len is the number of items held.
// It may be another one when the caller looks at it.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// Close lets receivers drain what is left and refuses senders, those that wait included. It may be called more than once.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	all := append(q.receivers.events, q.senders.events...)
	q.receivers.events, q.senders.events = nil, nil
	q.mu.Unlock()
	for _, e := range all {
		e.Set()
	}
}

// takeLocked takes the oldest item and the sender to wake for the room that it leaves: one of each, so that no wake-up is
// lost and no herd runs.
func (q *Queue[T]) takeLocked() (v T, ok bool, sender Event) {
	if len(q.items) == 0 {
		return v, false, nil
	}
	v = q.items[0]
	var zero T
	q.items[0] = zero
	q.items = q.items[1:]
	if len(q.items) == 0 {
		q.items = nil
	}
	return v, true, q.senders.pop()
}

// park waits on e; a wake-up that arrives together with the cancellation is passed on to the next waiter.
func (q *Queue[T]) park(ctx context.Context, e Event, list *waiters) error {
	err := e.Wait(ctx)
	if err == nil {
		return nil
	}
	q.mu.Lock()
	var next Event
	if !list.remove(e) {
		next = list.pop()
	}
	q.mu.Unlock()
	wake(next)
	return err
}
