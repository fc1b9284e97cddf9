package blockstore

// forgetBlock takes a block out of memory's view. Its bytes are still on the disk. The caller holds mu.
// Its room stays reserved until vacate has settled it. A block that was forgotten already is left.
func (s *Store) forgetBlock(f *file, b *block) {
	if f.blocks[b.index] != b {
		return
	}
	if s.complete(f, b) {
		s.note(f, b.index, false)
	}
	delete(f.blocks, b.index)
	s.policies[b.tier].Remove(b.id(f))
	b.dead = true
}

// drop forgets a block and makes its index busy until cleanUp is done. It tells whether nobody pins it: then the caller
// calls cleanUp after it has left mu; else the last unpin does. The caller holds mu; the index is not busy.
func (s *Store) drop(f *file, b *block) (idle bool) {
	s.forgetBlock(f, b)
	f.setBusy(b.index, &busy{done: s.h.NewEvent()})
	return b.pins == 0
}

// setBusy begins exclusive work on an index that has none. The caller holds mu.
// Whoever sets the entry ends it, by endBusy or cleanUp, on every way out: readers and writers of the index wait
// for it.
func (f *file) setBusy(index uint32, w *busy) {
	if f.busy == nil {
		f.busy = map[uint32]*busy{}
	}
	f.busy[index] = w
}

// cleanUp gives a dropped block's room back.
// It comes once for each drop, after the last pin, and ends the index's busy entry. It does I/O: the caller holds no
// lock.
func (s *Store) cleanUp(f *file, b *block) {
	s.vacate(f, b, b.tier)
	s.endBusy(f, b.index)
}

// endBusy ends exclusive work on an index and lets waiters look again.
func (s *Store) endBusy(f *file, index uint32) {
	s.mu.Lock()
	end := s.takeBusy(f, index)
	s.mu.Unlock()
	end()
}

// takeBusy is endBusy under mu; its result wakes the waiters, without mu.
func (s *Store) takeBusy(f *file, index uint32) (wake func()) {
	w, room := f.busy[index], s.room
	delete(f.busy, index)
	s.forgetIfEmpty(f)
	s.room = s.h.NewEvent()
	return func() {
		if w != nil {
			w.done.Set()
		}
		room.Set()
	}
}
