package blockstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/worker/tier"
)

// diskFile is one file of a pair. Files that can punch holes (host.HolePuncher) give evicted blocks' space back one by
// one.
type diskFile = vfs.File

// dirSet is which of a tier's 256 subdirectories are known to exist.
type dirSet [4]uint64

func (d *dirSet) has(i byte) bool { return d[i>>6]&(1<<(i&63)) != 0 }
func (d *dirSet) set(i byte)      { d[i>>6] |= 1 << (i & 63) }

// subdir spreads files over 256 directories; consecutive inodes go to different ones.
func subdir(id dfs.FileVersion) byte { return byte(id.Inode ^ id.Inode>>8) }

// dirOf is the directory of one of the 256 subdirectories of a tier.
func (s *Store) dirOf(tierIndex int, sub byte) string {
	t := s.tiers[tierIndex]
	return t.FS().PathJoin(t.Dir(), fmt.Sprintf("%02x", sub))
}

// nameOf is the path of a pair without its ending.
func (s *Store) nameOf(tierIndex int, id dfs.FileVersion) string {
	return s.tiers[tierIndex].FS().PathJoin(s.dirOf(tierIndex, subdir(id)), fmt.Sprintf("%016x-%08x", uint64(id.Inode), id.Version))
}

const (
	dataSuffix = ".data"
	metaSuffix = ".meta"
)

// use opens the pair of f on a tier, making it if it is missing, and keeps it open until done is called. The caller holds
// a block on it (backing.blocks) or pins one, so that the pair is not removed meanwhile.
// An error is of the disk, converted, or of ctx, which bounds the wait for another task that is opening or removing the
// pair.
func (s *Store) use(ctx context.Context, f *file, tierIndex int) (*backing, error) {
	if b := s.useOpen(f, tierIndex); b != nil {
		return b, nil
	}
	if err := f.lock.Lock(ctx); err != nil {
		return nil, dfs.Wrap(err, "open backing file", f.id.String())
	}
	defer f.lock.Unlock()
	if b := s.useOpen(f, tierIndex); b != nil {
		return b, nil
	}
	data, meta, sequence, err := s.openPair(f, tierIndex)
	if err != nil {
		return nil, s.diskError(tierIndex, err, "open backing file", s.nameOf(tierIndex, f.id))
	}
	s.mu.Lock()
	b := s.backingOf(f, tierIndex)
	b.data, b.meta, b.users, b.recent = data, meta, b.users+1, true
	b.sequence = max(b.sequence, sequence)
	s.open = append(s.open, b)
	idle := s.closeIdle()
	s.mu.Unlock()
	closeAll(idle)
	return b, nil
}

// useOpen is the common case of use, without the file's lock; nil when the pair is not open.
func (s *Store) useOpen(f *file, tierIndex int) *backing {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := f.backings[tierIndex]
	if b == nil || b.data == nil {
		return nil
	}
	b.users++
	b.recent = true
	return b
}

// backingOf finds or makes the record of a pair. The caller holds mu.
func (s *Store) backingOf(f *file, tierIndex int) *backing {
	if f.backings[tierIndex] == nil {
		f.backings[tierIndex] = &backing{file: f, tier: tierIndex}
	}
	return f.backings[tierIndex]
}

// done ends a use.
// The last one out closes a pair that was removed meanwhile, or a store that was closed.
func (s *Store) done(b *backing) {
	s.mu.Lock()
	b.users--
	var idle []diskFile
	if b.dropped || s.closed {
		idle = b.takeIdle()
	}
	s.mu.Unlock()
	closeAll(idle)
}

// closeIdle takes pairs out of open over the bound, those that were not used lately first. The caller holds mu and
// closes what it gets afterwards. When all are in use the bound gives way: it is the number of streams that bounds then.
func (s *Store) closeIdle() (idle []diskFile) {
	for steps := 2 * len(s.open); len(s.open) > s.config.MaxOpenFiles && steps > 0; steps-- {
		if s.hand >= len(s.open) {
			s.hand = 0
		}
		b := s.open[s.hand]
		switch {
		case b.data == nil: // closed by its drop
		case b.users > 0:
			s.hand++
			continue
		case b.recent && !b.dropped:
			b.recent = false
			s.hand++
			continue
		default:
			idle = append(idle, b.takeIdle()...)
		}
		last := len(s.open) - 1
		s.open[s.hand] = s.open[last]
		s.open[last] = nil
		s.open = s.open[:last]
	}
	return idle
}

// takeIdle takes the open files of a pair that nobody uses, for closing. The caller holds mu.
func (b *backing) takeIdle() (files []diskFile) {
	if b.users == 0 && b.data != nil {
		files = []diskFile{b.data, b.meta}
		b.data, b.meta = nil, nil
	}
	return files
}

func closeAll(files []diskFile) {
	for _, f := range files {
		_ = f.Close() // what must last was synced
	}
}

// openPair opens or makes the two files. The caller holds file.lock.
func (s *Store) openPair(f *file, tierIndex int) (data, meta diskFile, sequence uint64, err error) {
	fs := s.tiers[tierIndex].FS()
	if err := s.makeDir(tierIndex, subdir(f.id)); err != nil {
		return nil, nil, 0, err
	}
	name := s.nameOf(tierIndex, f.id)
	if meta, err = fs.OpenReadWrite(name+metaSuffix, vfs.WriteCategoryUnspecified); err != nil {
		return nil, nil, 0, err
	}
	if data, err = fs.OpenReadWrite(name+dataSuffix, vfs.WriteCategoryUnspecified); err != nil {
		_ = meta.Close()
		return nil, nil, 0, err
	}
	sequence, err = s.initHeader(f, meta)
	if err != nil {
		_ = meta.Close()
		_ = data.Close()
		return nil, nil, 0, err
	}
	return data, meta, sequence, nil
}

// initHeader writes the first header of a new meta file, or tells the sequence number of an existing one.
func (s *Store) initHeader(f *file, meta diskFile) (uint64, error) {
	var slots [recordsStart]byte
	n, _ := meta.ReadAt(slots[:], 0) // a short or failed read shows as no header
	if h, ok := newestHeader(slots[:n]); ok && h.id == f.id {
		return h.sequence, nil
	}
	s.mu.Lock()
	h := s.headerOf(f)
	s.mu.Unlock()
	h.sequence = 1
	_, err := meta.WriteAt(h.encode(), slotOffset(h.sequence))
	return 1, err
}

func slotOffset(sequence uint64) int64 { return int64(sequence%2) * slotBytes }

// headerOf is f's header now. The caller holds mu.
func (s *Store) headerOf(f *file) header {
	return header{id: f.id, geometry: f.geometry, persisted: f.persisted, pinned: f.pinned}
}

// writeHeader brings the header of an open pair up to date. persisted says that the file is about to be (a commit sets
// it in memory only once it has succeeded). It goes to the slot that does not hold the newest one, so that a torn write
// leaves that.
func (s *Store) writeHeader(ctx context.Context, b *backing, persisted bool) error {
	if err := b.file.lock.Lock(ctx); err != nil {
		return dfs.Wrap(err, "write header", b.file.id.String()) // the caller's time, not the disk
	}
	defer b.file.lock.Unlock()
	s.mu.Lock()
	b.sequence++
	h := s.headerOf(b.file)
	h.sequence = b.sequence
	h.persisted = h.persisted || persisted
	meta := b.meta
	s.mu.Unlock()
	_, err := meta.WriteAt(h.encode(), slotOffset(h.sequence))
	return err
}

// makeDir makes one of a tier's subdirectories, durably, once: which are there is remembered, so that a new pair costs
// no system call for it.
func (s *Store) makeDir(tierIndex int, sub byte) error {
	s.mu.Lock()
	known := s.dirs[tierIndex].has(sub)
	s.mu.Unlock()
	if known {
		return nil
	}
	fs := s.tiers[tierIndex].FS()
	if err := fs.MkdirAll(s.dirOf(tierIndex, sub), 0o755); err != nil {
		return err
	}
	if err := syncDir(fs, s.tiers[tierIndex].Dir()); err != nil {
		return err
	}
	s.mu.Lock()
	s.dirs[tierIndex].set(sub)
	s.mu.Unlock()
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// vacate frees what a block takes on a tier: its records and data, and the pair's files with the last block. The caller
// owns the index's busy entry. A crash before the records are erased leaves the block as it was; after it, space without
// records, which the file's next use or the pair's removal gives back.
// On a failed tier only the accounting is settled: its disk is not asked any more.
func (s *Store) vacate(f *file, b *block, tierIndex int) {
	erased := s.tiers[tierIndex].Failed() != nil
	s.leave(f, tierIndex, func() {
		if !erased {
			erased = true
			s.eraseBlock(f, b, tierIndex)
		}
	})
	s.tiers[tierIndex].Release(b.used)
}

// leave takes one from a pair's blocks, and removes the pair with the last one; if others are on it, erase is called
// first. Two that leave at a time may each find the other there and be the last one when they are done: so both look
// again, and the count never reaches 0 while the pair has its names.
func (s *Store) leave(f *file, tierIndex int, erase func()) {
	for !s.removeIfLast(f, tierIndex) {
		erase()
		s.mu.Lock()
		b := f.backings[tierIndex]
		others := b.blocks > 1
		if others {
			b.blocks--
		}
		s.mu.Unlock()
		if others || s.ctx.Err() != nil { // the store closes: the next start finds what is left
			return
		}
	}
}

// removeIfLast removes the pair if one block is all that is on it.
// It holds the file's lock from the last look to the removal, so that nobody makes the pair anew in between under the
// same names. It is false, too, when the store closes.
func (s *Store) removeIfLast(f *file, tierIndex int) bool {
	if f.lock.Lock(s.ctx) != nil {
		return false
	}
	defer f.lock.Unlock()
	s.mu.Lock()
	b := f.backings[tierIndex]
	if b.blocks > 1 {
		s.mu.Unlock()
		return false
	}
	f.backings[tierIndex] = nil
	b.blocks, b.dropped = 0, true
	idle := b.takeIdle()
	s.mu.Unlock()
	closeAll(idle)
	s.removePair(tierIndex, f.id)
	return true
}

// removePair removes the records first: data without records is nothing.
// A pair whose data cannot be removed is found by the next start, which removes data that has no records.
func (s *Store) removePair(tierIndex int, id dfs.FileVersion) {
	if s.tiers[tierIndex].Failed() != nil {
		return
	}
	fs, name := s.tiers[tierIndex].FS(), s.nameOf(tierIndex, id)
	for _, suffix := range []string{metaSuffix, dataSuffix} {
		if err := fs.Remove(name + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			_ = s.fatalDiskError(tierIndex, err, "remove backing file", name+suffix)
		}
	}
}

// eraseBlock makes a block's pages absent: records first, so that none is left without its data, then the data's space.
// It covers all that was ever written of the block, also by a write that was aborted before the file had a length.
func (s *Store) eraseBlock(f *file, erased *block, tierIndex int) {
	b, err := s.use(s.ctx, f, tierIndex)
	if err != nil {
		return
	}
	defer s.done(b)
	s.mu.Lock()
	g := geometry{f.geometry.blockSize, erased.reach}
	s.mu.Unlock()
	if zero := make([]byte, g.pagesIn(erased.index)*recordBytes); len(zero) > 0 {
		if _, err := b.meta.WriteAt(zero, g.recordOffset(erased.index, 0)); err != nil {
			_ = s.fatalDiskError(tierIndex, err, "evict block", s.nameOf(tierIndex, f.id)+metaSuffix)
			return
		}
	}
	start, end := g.blockSpan(erased.index)
	s.punch(b, start, end)
}

// punch gives a range's space back where the host can.
func (s *Store) punch(b *backing, start, end int64) {
	if p, ok := b.data.(host.HolePuncher); ok && end > start {
		if err := p.PunchHole(start, end-start); err != nil {
			s.log.Warn("cannot punch a hole: the space is freed with the file", "file", s.nameOf(b.tier, b.file.id), "error", err)
		}
	}
}

// diskError converts what a disk answered about one file. A read-only disk is given up at once, one with bad files when
// there are too many of them (tier.BadFile); a full disk and too many open files say nothing of the disk. What the error
// means for the file is the caller's to settle: nothing may be believed to be on the disk that was not written.
func (s *Store) diskError(tierIndex int, err error, op, path string) error {
	converted := tier.Convert(err, op, path)
	switch dfs.KindOf(converted) {
	case dfs.ReadOnly:
		s.failTier(tierIndex, converted)
	case dfs.Unavailable:
		pair := strings.TrimSuffix(strings.TrimSuffix(path, dataSuffix), metaSuffix)
		if t := s.tiers[tierIndex]; t.BadFile(s.h.Now(), pair) {
			s.failTier(tierIndex, converted)
		} else if t.Failed() == nil {
			s.log.Warn("a disk has an error in a file", "tier", t.Name(), "error", converted)
		}
	}
	return converted
}

// fatalDiskError is diskError where one error is enough to give the tier up: what cannot be erased would come back with the
// next start, in place of what was written since, and a directory that cannot be listed hides what it has.
func (s *Store) fatalDiskError(tierIndex int, err error, op, path string) error {
	converted := s.diskError(tierIndex, err, op, path)
	if dfs.IsKind(converted, dfs.Unavailable) {
		s.failTier(tierIndex, converted)
	}
	return converted
}

// failTier gives a tier up: its blocks are forgotten and reported as removed; other tiers go on.
// It is called by whoever met the error, in any state of its own work, but not with mu held. Blocks that nobody uses go
// at once. One that is being read goes with its last reader, whose read fails or finds it in the disk's cache and is
// checked as always. One with a busy entry is found dead by the entry's owner. The tier takes no reservations from the
// first line on, so what is written meanwhile ends in an error or on another tier.
func (s *Store) failTier(tierIndex int, cause error) {
	t := s.tiers[tierIndex]
	if !t.Fail(cause) {
		return
	}
	s.log.Error("a tier failed and is given up until restart; its pages are fetched again elsewhere", "tier", t.Name(), "directory", t.Dir(), "error", cause)
	s.mu.Lock()
	var idle []held
	for _, f := range s.allFiles() {
		for _, index := range f.indexes() {
			b := f.blocks[index]
			switch {
			case b.tier != tierIndex:
			case f.busy[index] != nil: // the owner of the busy entry finds it dead
				s.forgetBlock(f, b)
			case s.drop(f, b):
				idle = append(idle, held{f, b})
			}
		}
	}
	s.mu.Unlock()
	for _, x := range idle {
		s.cleanUp(x.file, x.block)
	}
}
