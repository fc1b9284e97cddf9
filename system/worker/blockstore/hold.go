package blockstore

import (
	"math"

	"github.com/forebay/forebay/system/host"
)

// hold finds or makes the file of ref and keeps it. The caller holds mu, and calls release later. It is nil when the
// reference disagrees with what is held (another block size, or with create another length): such a file is not cached
// twice. Readers do not change the length: theirs may be old, or a lie.
func (s *Store) hold(ref *Ref, create bool) *file {
	f, ok := s.files.Get(&file{id: ref.File})
	if !ok {
		if !create {
			return nil
		}
		f = &file{id: ref.File, geometry: geometry{blockSize: ref.BlockSize}, persisted: ref.Persisted, pinned: ref.Pinned,
			blocks: map[uint32]*block{}, backings: make([]*backing, len(s.tiers)), lock: host.NewMutex(s.h)}
		s.files.Set(f)
	}
	if f.geometry.blockSize != ref.BlockSize {
		return nil
	}
	if create && !s.extend(f, ref.Length) {
		s.forgetIfEmpty(f)
		return nil
	}
	f.pinned = f.pinned || ref.Pinned
	if ref.Persisted && !f.persisted {
		f.persisted = true
		s.noteAll(f)
	}
	f.refs++
	return f
}

// extend takes length for f's, unless what is held says otherwise: then it is false. A file's length may be known only
// from below (a writer that got some of its blocks), and grows until a short page shows that it has ended. Blocks whose
// end it was have pages missing by the new length, and are reported as removed. The caller holds mu.
func (s *Store) extend(f *file, length int64) bool {
	old := f.geometry.length
	if length == old || length == 0 {
		return true
	}
	if len(f.blocks) == 0 && len(f.busy) == 0 {
		f.geometry.length = length
		return true
	}
	if length < old || old == 0 {
		f.geometry.length = max(old, length)
		return length > old
	}
	index, page := f.geometry.locate(old - 1)
	b := f.blocks[index]
	_, full := geometry{f.geometry.blockSize, math.MaxInt64}.span(index, page)
	if b != nil && b.end == old && old < full {
		return false
	}
	was := b != nil && s.complete(f, b)
	f.geometry.length = length
	if was && !s.complete(f, b) {
		s.note(f, index, false)
	}
	return true
}

// release undoes hold. The caller holds mu. A file of which nothing is left leaves the tree.
// It must be called exactly once for each hold; the file may be gone when it returns.
func (s *Store) release(f *file) {
	f.refs--
	s.forgetIfEmpty(f)
}

// forgetIfEmpty takes a file that nothing needs any more out of the tree (INV-7). The caller holds mu.
func (s *Store) forgetIfEmpty(f *file) {
	if f.refs > 0 || len(f.blocks) > 0 || len(f.busy) > 0 {
		return
	}
	for _, b := range f.backings {
		if b != nil && b.blocks > 0 {
			return
		}
	}
	if now, _ := s.files.Get(f); now != f {
		panic("blockstore: a file left the tree while it was in use")
	}
	s.files.Delete(f)
}
