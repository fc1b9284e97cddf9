package raftjournal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// raft-wal seals a segment with an index frame, in the batch that fills it, and lists it as sealed, beside the next one,
// later and from another task. Its recovery (v0.4.1) takes any index frame in the last segment for a seal, also one of a
// batch that was torn, and does not list a seal that was completed; either way every append answers "segment is sealed"
// from then on, after a restart too. So before raft-wal opens the log, its tail is settled:
//
// INV-1: when raft-wal opens the log, the last segment listed holds no index frame.
//
// INV-2: when the last acknowledged entry is known (a reopening), the last segment holds whole batches up to it and zeros
// behind. Nothing refused comes back, and no rest of a torn batch can be taken for frames behind a later, shorter one.
//
// A crash in the middle leaves a tail that is settled again: what is zeroed was not acknowledged, and the list of
// segments changes in one step.

// The layout of a segment (raft-wal's README): a header, then frames of an 8-byte header and a payload padded to 8 bytes.
const (
	segmentHeaderBytes = 32
	frameHeaderBytes   = 8
)

// noLimit keeps every whole batch: after a start nobody knows what was acknowledged, and Raft allows more.
const noLimit = math.MaxUint64

// tailEnd is a place in a segment behind a whole batch; zero: its beginning.
type tailEnd struct {
	offset     int64  // behind the commit frame
	entries    uint64 // before offset
	indexStart uint64 // of the payload of an index frame before offset; 0: none
}

// settleTail establishes INV-1 and INV-2 for entries up to keep. s.writeMu is held, or s is not shared yet.
func (s *logStore) settleTail(keep uint64) error {
	state, err := s.meta.Load(s.dir)
	if err != nil || len(state.Segments) == 0 {
		return err
	}
	// Only the last one can be unfinished: the others were listed as sealed after their last sync.
	tail := state.Segments[len(state.Segments)-1]
	path := s.fs.PathJoin(s.dir, segment.FileName(tail))
	if !tail.SealTime.IsZero() || !s.fs.exists(path) { // listed and not made: raft-wal makes it
		return nil
	}
	file, err := s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	end, err := settleSegment(file, tail, keep)
	if err = errors.Join(err, file.Close()); err != nil || end.indexStart == 0 {
		return err
	}
	return s.listSeal(state, end)
}

// settleSegment zeroes what does not belong into the last segment, and gives its end.
// It writes only zeros, and only what is not acknowledged or not whole. The file is the caller's to close.
func settleSegment(file vfs.File, info types.SegmentInfo, keep uint64) (tailEnd, error) {
	// With everything in the segment refused, limit is 0. Earlier segments are never cut here.
	limit := uint64(noLimit)
	if keep != noLimit {
		limit = max(keep+1, info.BaseIndex) - info.BaseIndex
	}
	end, stray, err := scanTail(file, limit)
	switch {
	case err != nil:
		return tailEnd{}, err
	case limit != noLimit && end.entries < limit:
		return tailEnd{}, nil // acknowledged entries are missing: repair says so, and the file stays as it was found
	case limit == noLimit && !stray:
		return end, nil // what else lies behind is raft-wal's to judge, and a person's to look at
	}
	return end, zeroFrom(file, end.offset)
}

// scanTail finds the end of the first whole batch with which file has limit entries, or of the last one. stray tells of an
// index frame behind it. Like raft-wal, it checks the sum of a last batch with nothing behind: one with frames behind it
// was acknowledged before those were written.
func scanTail(file io.ReaderAt, limit uint64) (end tailEnd, stray bool, err error) {
	var before, now tailEnd
	var sum uint32 // of the batch before end
	var header [frameHeaderBytes]byte
	for now.offset = segmentHeaderBytes; limit > 0 && end.entries < limit; {
		// A short read is the end of a file that never got its space.
		if n, err := file.ReadAt(header[:], now.offset); n < len(header) {
			if err != nil && !errors.Is(err, io.EOF) {
				return end, false, err
			}
			break
		}
		length := binary.LittleEndian.Uint32(header[4:])
		now.offset += frameHeaderBytes
		kind := header[0]
		switch kind {
		case segment.FrameEntry:
			now.entries++
		case segment.FrameIndex:
			now.indexStart = uint64(now.offset)
		case segment.FrameCommit:
			before, end, sum, length = end, now, length, 0
		}
		if kind == segment.FrameInvalid || kind > segment.FrameCommit { // zeros, or a sector that was torn
			break
		}
		now.offset += (int64(length) + 7) / 8 * 8
	}
	if now.entries == end.entries && now.indexStart == end.indexStart && end.offset > 0 {
		whole, err := batchIntact(file, before.offset, end.offset-frameHeaderBytes, sum)
		if err != nil {
			return end, false, err
		}
		if !whole {
			end = before
		}
	}
	return end, now.indexStart != end.indexStart, nil
}

// batchIntact tells whether the bytes from..to have the sum of their commit frame.
func batchIntact(file io.ReaderAt, from, to int64, sum uint32) (bool, error) {
	digest := crc32.New(castagnoli)
	n, err := io.Copy(digest, io.NewSectionReader(file, from, to-from))
	return n == to-from && digest.Sum32() == sum, err
}

// zeroFrom zeroes and syncs what is not zero at or behind offset. It needs no space: only what was written is written.
func zeroFrom(file vfs.File, offset int64) error {
	chunk, changed := make([]byte, 64<<10), false
	for {
		n, err := file.ReadAt(chunk, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if slices.ContainsFunc(chunk[:n], func(b byte) bool { return b != 0 }) {
			clear(chunk)
			changed = true
			if _, err := file.WriteAt(chunk[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		if n < len(chunk) {
			break
		}
	}
	if !changed {
		return nil
	}
	return file.SyncData()
}

// listSeal does the rotation that raft-wal did not come to: the tail is listed as sealed, and the next segment behind it,
// whose file raft-wal makes when it opens the log.
// The list changes in one synced step (metaFile): a crash before it finds the same tail again.
func (s *logStore) listSeal(state types.PersistentState, end tailEnd) error {
	// A copy, as the meta file keeps the list that it is about to replace until the new one is synced.
	segments := slices.Clone(state.Segments)
	tail := &segments[len(segments)-1]
	tail.SealTime = s.host.Now()
	tail.MaxIndex = tail.BaseIndex + end.entries - 1
	tail.IndexStart = end.indexStart
	next := types.SegmentInfo{ID: state.NextSegmentID, BaseIndex: tail.MaxIndex + 1, MinIndex: tail.MaxIndex + 1,
		SizeLimit: uint32(s.segmentBytes), Codec: wal.CodecBinaryV1, CreateTime: s.host.Now()}
	return s.meta.CommitState(types.PersistentState{NextSegmentID: state.NextSegmentID + 1, Segments: append(segments, next)})
}
