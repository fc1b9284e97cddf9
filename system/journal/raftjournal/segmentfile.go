package raftjournal

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// zeroAheadBytes is how much of a segment is written with zeros at a time, ahead of the entries. Space that was only
// reserved costs the file system a transaction of its own with the first sync behind each write into it; space that was
// written costs a write. Measured on ext4: 0.26 ms a sync of 6,000 bytes without, 0.15 ms with
// (docs/decisions/2026-11-25-segments-zeroed-ahead.md).
const zeroAheadBytes = 512 << 10

// segmentFile syncs its directory with its first sync, as raft-wal expects of a file that may be new, and zeroes ahead.
//
// INV-1: zeros go only behind everything that was written through it, and within the file's size, where a new segment
// reads as zeros anyway: whether they were written, in part or not at all, nobody can tell.
// raft-wal writes and syncs one file from one task at a time.
type segmentFile struct {
	vfs.File
	fs   fileSystem
	dir  string
	size int64

	end    int64 // of what was written
	zeroed int64 // up to where it was zeroed; at least end, or not zeroed at all

	once   sync.Once
	dirErr error
}

// newSegmentFile takes f over, also when it fails.
func newSegmentFile(f vfs.File, fs fileSystem, dir string) (*segmentFile, error) {
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // the file that could not be looked at is not used
		return nil, err
	}
	return &segmentFile{File: f, fs: fs, dir: dir, size: info.Size()}, nil
}

// WriteAt implements types.WritableFile.
func (f *segmentFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.end = max(f.end, off+int64(n))
	return n, err
}

// zeroAhead writes the next zeros when the entries have come to the end of the last ones. They ride on the sync that comes
// anyway. An error is of no account: what they were written for is speed.
func (f *segmentFile) zeroAhead() {
	if f.end < f.zeroed {
		return
	}
	room := min(zeroAheadBytes, f.size-f.end)
	if room <= 0 {
		return
	}
	_, _ = f.File.WriteAt(make([]byte, room), f.end)
	f.zeroed = f.end + room
}

// Sync implements types.WritableFile. The file has its size from the start, so its data is all there is to sync.
func (f *segmentFile) Sync() error {
	f.zeroAhead()
	if err := f.SyncData(); err != nil {
		return err
	}
	// A failure is kept: the file may vanish in a crash, so no later append to it may be acknowledged. The reopening after
	// the failed write makes a new segmentFile, which tries again.
	f.once.Do(func() { f.dirErr = f.fs.syncDir(f.dir) })
	return f.dirErr
}
