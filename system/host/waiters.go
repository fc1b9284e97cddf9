package host

// waiters is a FIFO of parked tasks. Its owner's sync.Mutex guards it.
type waiters struct{ events []Event }

// add parks a task at the end of the line, on the event that it returns.
func (w *waiters) add(h Host) Event {
	e := h.NewEvent()
	w.events = append(w.events, e)
	return e
}

// pop removes and returns the longest waiting, or nil.
func (w *waiters) pop() Event {
	if len(w.events) == 0 {
		return nil
	}
	e := w.events[0]
	w.events[0] = nil
	w.events = w.events[1:]
	if len(w.events) == 0 {
		w.events = nil
	}
	return e
}

// remove takes e out and tells whether it was still waiting; if not, it had been handed a wake-up.
// Cost is that of the line's length, paid only by who gives up.
func (w *waiters) remove(e Event) bool {
	for i, x := range w.events {
		if x == e {
			w.events = append(w.events[:i], w.events[i+1:]...)
			return true
		}
	}
	return false
}

// wake sets e unless it is nil. It is called without any lock held.
func wake(e Event) {
	if e != nil {
		e.Set()
	}
}
