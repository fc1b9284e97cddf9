package namespace

import (
	"context"

	"github.com/forebay/forebay/system/host"
)

// applyWaiter is one caller of WaitApplied; the event is set once, by whoever takes it off the list.
type applyWaiter struct {
	index uint64
	ready host.Event
}

// WaitApplied returns once index is applied here. The index is noted before it is looked at a second time, so that an
// Apply in between wakes the waiter. An error is ctx's, and leaves nothing behind.
func (m *Machine) WaitApplied(ctx context.Context, index uint64) error {
	if m.store.AppliedIndex() >= index {
		return nil
	}
	w := applyWaiter{index: index, ready: m.h.NewEvent()}
	m.waitMu.Lock()
	if m.store.AppliedIndex() >= index {
		m.waitMu.Unlock()
		return nil
	}
	m.waiting = append(m.waiting, w)
	m.waitMu.Unlock()
	err := w.ready.Wait(ctx)
	if err != nil {
		m.forgetWaiter(w.ready)
	}
	return err
}

// forgetWaiter takes a waiter off that gave up. One that was woken meanwhile is off the list already, and its caller
// has ctx's error all the same.
func (m *Machine) forgetWaiter(e host.Event) {
	m.waitMu.Lock()
	defer m.waitMu.Unlock()
	for i := range m.waiting {
		if m.waiting[i].ready == e {
			m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
			return
		}
	}
}

// wakeApplied wakes who waits for an index up to this one. The store has it already.
// It looks at every waiter: they are few, since reads of a leader share one (readIndex of package master).
func (m *Machine) wakeApplied(index uint64) {
	m.waitMu.Lock()
	defer m.waitMu.Unlock()
	kept := m.waiting[:0]
	for _, w := range m.waiting {
		if w.index <= index {
			w.ready.Set()
		} else {
			kept = append(kept, w)
		}
	}
	m.waiting = kept
}
