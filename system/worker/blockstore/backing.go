package blockstore

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/forebay/forebay/system/dfs"
)

// diskFile is one file of a pair. Files that can punch holes (host.HolePuncher) give evicted blocks' space back one by
// one.
type diskFile = vfs.File

// dirSet is which of a tier's 256 subdirectories are known to exist.
// Known means that its name is synced in the tier's directory, so that a pair in it cannot vanish with it.
type dirSet [4]uint64

func (d *dirSet) has(i byte) bool { return d[i>>6]&(1<<(i&63)) != 0 }

func (d *dirSet) set(i byte) { d[i>>6] |= 1 << (i & 63) }

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

// closeAll is called without mu: closing may take a disk's time.
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
// It is not synced here: a commit that must last syncs the pair itself, and without a header a crash leaves
// nothing that counts.
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

// slotOffset alternates, so that the newest header is never written over.
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
