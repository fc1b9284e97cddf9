package inodestore

// Replace implements Store. The checkpoint is read whole before anything changes. Its file is renamed into place, so a
// crash leaves the one or the other.
func (s *heapStore) Replace(dir string) error {
	next := &heapStore{fs: s.fs, dir: dir, state: newHeapState()}
	if _, err := s.fs.Stat(s.file(dir)); err != nil {
		return diskError(err, "replace inode store", dir)
	}
	if err := next.load(); err != nil {
		return err
	}
	flushed := uint64(0)
	if s.dir != "" {
		if err := s.adopt(dir); err != nil {
			s.flushed.Store(0) // the file may be the checkpoint's by now: the next Flush writes ours again
			return diskError(err, "replace inode store", s.dir)
		}
		flushed = next.applied.Load()
	}
	s.mu.Lock()
	s.state = next.state
	s.applied.Store(next.applied.Load())
	s.flushed.Store(flushed)
	s.mu.Unlock()
	return diskError(s.fs.RemoveAll(dir), "remove a used checkpoint", dir)
}

// adopt makes the file in dir our own.
func (s *heapStore) adopt(dir string) error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if err := s.fs.Rename(s.file(dir), s.file(s.dir)); err != nil {
		return err
	}
	return s.fs.syncDir(s.dir)
}
