package sched

// event is a moment at which a timer fires or a task goes on.
// Exactly one of timer and task is set.
type event struct {
	at    int64
	tie   uint32 // orders events of one instant, by the seed
	sleep bool   // the end of a Sleep, of which the task knows: see Task.sleeping
	id    uint64 // orders what even the tie does not
	timer *Timer
	task  *Task
	turn  uint64 // of the task: the wait that this event ends
}

// stale tells whether the event has nothing left to do. Once stale it stays so, which lets a sweep drop it early.
func (e *event) stale() bool {
	if e.timer != nil {
		return e.timer.fire == nil
	}
	return e.task.turn != e.turn
}

// before is a total order, since ids differ. The tie is the seed's, drawn when the event was pushed; the id
// decides only between equal ties, so that the order never depends on how the heap happens to be laid out.
func before(a, b *event) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	if a.tie != b.tie {
		return a.tie < b.tie
	}
	return a.id < b.id
}

// eventHeap is a heap of four children a node, which has half the levels of a binary one and so fewer cache misses.
// Stale events are left where they are until they come up, or until half of the heap is stale: then all are swept out.
// A million retry timers that were stopped would otherwise stay for as long as their timeouts.
type eventHeap struct {
	heap  []event
	stale int // how many of heap are timers that were stopped and sleeps that ended early
}

const (
	heapArity     = 4
	sweepAtLeast  = 4096 // stale events that are worth a sweep
	sweepFraction = 2
)

// push adds an event, and sweeps first when most of the heap is stale: the cost of a sweep is shared by as many
// pushes as made events stale. Only timers and sleeps are counted, since they alone lie far in the future; other
// stale events come up soon.
func (h *eventHeap) push(e event) {
	if h.stale > sweepAtLeast && h.stale > len(h.heap)/sweepFraction {
		h.sweep()
	}
	h.heap = append(h.heap, e)
	i := len(h.heap) - 1
	for i > 0 {
		up := (i - 1) / heapArity
		if !before(&e, &h.heap[up]) {
			break
		}
		h.heap[i] = h.heap[up]
		i = up
	}
	h.heap[i] = e
}

// pop takes the earliest event. The heap is not empty.
func (h *eventHeap) pop() event {
	first, last := h.heap[0], len(h.heap)-1
	e := h.heap[last]
	h.heap[last] = event{}
	h.heap = h.heap[:last]
	if last > 0 {
		h.sift(0, e)
	}
	return first
}

// sift puts e at place i or as far below as it belongs.
func (h *eventHeap) sift(i int, e event) {
	for {
		child := i*heapArity + 1
		if child >= len(h.heap) {
			break
		}
		least := child
		for c := child + 1; c < min(child+heapArity, len(h.heap)); c++ {
			if before(&h.heap[c], &h.heap[least]) {
				least = c
			}
		}
		if !before(&h.heap[least], &e) {
			break
		}
		h.heap[i] = h.heap[least]
		i = least
	}
	h.heap[i] = e
}

// sweep drops stale events. Order depends on the events alone, so that it changes no history.
func (h *eventHeap) sweep() {
	kept := h.heap[:0]
	for i := range h.heap {
		if !h.heap[i].stale() {
			kept = append(kept, h.heap[i])
		}
	}
	clear(h.heap[len(kept):])
	h.heap, h.stale = kept, 0
	for i := (len(kept) - 2) / heapArity; i >= 0 && len(kept) > 1; i-- {
		h.sift(i, h.heap[i])
	}
}
