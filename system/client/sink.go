package client

import (
	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// sink is where a writer's chunks go, by write type. Chunks come in ascending order and do not cross blocks.
// It is for the Writer's task. After an error of write or commit only abort may follow. Those two may wait for
// workers, and end with the Writer's context at the latest; abort never waits.
type sink interface {
	// write takes a chunk of the block index; the page stays the caller's.
	write(index uint32, piece chunk) error
	// commit returns once everything is where the write type wants it.
	commit() error
	// abort drops everything. It is safe after commit.
	abort()
}

// newSink chooses by write type; an unknown one, of a newer build's file, is kept on workers only.
func (w *Writer) newSink() sink {
	switch w.o.writeType {
	case dfs.WriteThrough, dfs.WriteCacheThrough:
		return &throughSink{w: w}
	case dfs.WriteAsyncThrough:
		// A file that is overwritten keeps what it was made with; this write has what its own caller asked for, too.
		return &blockSink{w: w, copies: max(int(w.status.ReplicationDurable), int(w.o.replication), 1)}
	default:
		return &blockSink{w: w, copies: 1}
	}
}

// newUpload makes an upload that takes its workers from p, and that connects with its first chunk.
func (w *Writer) newUpload(p *places, toUfs bool) *upload {
	return &upload{
		c: w.c.core, ctx: w.ctx, path: w.status.Path, places: p, replayable: true,
		header: &pb.WriteHeader{
			File: w.ref, ToUfs: toUfs, WriteType: uint32(w.o.writeType), Mode: w.status.Mode,
		},
	}
}

// blockSink serves MUST_CACHE and ASYNC_THROUGH: each block goes to as many distinct workers as copies are asked for,
// all of which must have it before the next block begins.
//
// A worker's death is survived while the block's bytes so far are kept, so throughout a block of up to maxKeptBytes, given room.
// Each copy counts for itself against the bounds of what is kept, although the pages are shared.
type blockSink struct {
	w       *Writer
	copies  int
	index   uint32
	uploads []*upload // of block index
}

// write sends the chunk to every copy's worker. The pages are the same memory for all of them.
func (s *blockSink) write(index uint32, piece chunk) error {
	if len(s.uploads) > 0 && index != s.index {
		if err := s.commit(); err != nil {
			return err
		}
	}
	if len(s.uploads) == 0 {
		if err := s.begin(index); err != nil {
			return err
		}
	}
	for _, u := range s.uploads {
		if err := u.send(piece); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a block. It gives the copies of one block places that they share, so that no two go to one worker.
// With fewer live workers than copies the uploads wait for more when they connect, not here.
func (s *blockSink) begin(index uint32) error {
	s.index = index
	p, err := s.w.c.core.newPlaces(s.w.ctx, s.w.block(index))
	if err != nil {
		return err
	}
	for range s.copies {
		s.uploads = append(s.uploads, s.w.newUpload(p, false))
	}
	return nil
}

// commit commits the current block, if there is one. All copies are told to commit before any is waited for, so that they
// do so at the same time. Places are noted only once each copy is acknowledged.
// After an error the uploads stay for abort to close. Places that were noted before it do no harm: the file is never
// completed with them.
func (s *blockSink) commit() error {
	for _, u := range s.uploads {
		if err := u.finish(); err != nil {
			return err
		}
	}
	for _, u := range s.uploads {
		if _, err := u.result(); err != nil {
			return err
		}
		s.w.located(s.index, u.worker.ID)
	}
	s.uploads = nil
	return nil
}

// abort drops the block under way. Blocks that were committed belong to a version that never becomes visible; freeing them
// is the master's, which is told that the file was abandoned.
func (s *blockSink) abort() {
	for _, u := range s.uploads {
		u.close()
	}
	s.uploads = nil
}

// throughSink serves THROUGH and CACHE_THROUGH: one worker streams the whole file to the under store. With CACHE_THROUGH
// it keeps the blocks that rendezvous hashing gives to it, and blocks of other workers are sent to those too. Such a
// cached copy is a convenience: when it fails the file is still whole.
//
// The main stream can go on at another worker only from the file's beginning, and so for files of up to maxKeptBytes; the
// death of its worker later than that fails the file.
type throughSink struct {
	w     *Writer
	main  *upload
	index uint32
	side  *upload // of block index, for another worker's cache; nil when there is none
}

// write sends the chunk to the worker that streams the file, then to the one that is to cache it. Only the first can fail.
func (s *throughSink) write(index uint32, piece chunk) error {
	if err := s.start(); err != nil {
		return err
	}
	if err := s.main.send(piece); err != nil {
		return err
	}
	if s.w.o.writeType == dfs.WriteCacheThrough {
		s.cacheElsewhere(index, piece)
	}
	return nil
}

// start opens the stream to the under store at the first block's owner. The whole file passes through that worker: an
// under store takes one writer for an object.
func (s *throughSink) start() error {
	if s.main != nil {
		return nil
	}
	p, err := s.w.c.core.newPlaces(s.w.ctx, s.w.block(0))
	if err != nil {
		return err
	}
	s.main = s.w.newUpload(p, true)
	s.main.cache = s.cachedByMain
	return nil
}

// cachedByMain tells whether the worker that streams the file is also to keep this chunk.
// It is asked anew when chunks are sent again: after a failover another worker streams the file, and keeps its own blocks.
func (s *throughSink) cachedByMain(piece chunk) bool {
	if s.w.o.writeType != dfs.WriteCacheThrough {
		return false
	}
	owner := s.owner(s.w.blockIndex(piece.offset))
	return owner == nil || owner.ID == s.main.worker.ID
}

// owner is the worker that readers will ask first for a block; nil when there is none or the list cannot be had, in which case
// the worker that streams the file keeps the block.
func (s *throughSink) owner(index uint32) *Worker {
	live, err := s.w.c.core.workers.get(s.w.ctx)
	if err != nil {
		return nil
	}
	return live.first(s.w.block(index))
}

// cacheElsewhere sends a chunk to its block's owner. A copy that failed is not begun again in the middle of its block: it
// would have a hole.
func (s *throughSink) cacheElsewhere(index uint32, piece chunk) {
	if s.side != nil && index != s.index {
		s.endSide()
	}
	if s.side == nil && (index != s.index || piece.offset == int64(index)*s.w.blockSize()) {
		s.beginSide(index)
	}
	s.index = index
	if s.side == nil {
		return
	}
	if err := s.side.send(piece); err != nil {
		s.side.close()
		s.side = nil
	}
}

// beginSide begins a copy at the owner of a block, unless that is the worker that streams the file. It has one place only:
// a copy elsewhere would not be found by readers. An owner that failed lately is left out, or a worker that hangs would
// hold the writer up anew with each of its blocks.
func (s *throughSink) beginSide(index uint32) {
	owner := s.owner(index)
	if owner == nil || owner.ID == s.main.worker.ID || s.w.c.core.workers.suspected(owner.Address) {
		return
	}
	only := &places{c: s.w.c.core, ranked: []*Worker{owner}, inUse: map[dfs.WorkerID]bool{}, failed: map[dfs.WorkerID]bool{}}
	s.side = s.w.newUpload(only, false)
	s.side.replayable = false // never tried again
}

// endSide commits the copy of a block at another worker, and waits for it: a copy is told to the master only when it is
// acknowledged. When it fails there is none, and nothing else happens.
// It waits for that one worker, at most until the stall watch gives it up; the file's own fate does not depend on it.
func (s *throughSink) endSide() {
	if s.side == nil {
		return
	}
	if err := s.side.finish(); err == nil {
		if _, err := s.side.result(); err == nil {
			s.w.located(s.index, s.side.worker.ID)
		}
	}
	s.side.close()
	s.side = nil
}

// commit waits for the under store first: only then are copies of the last block worth anything.
func (s *throughSink) commit() error {
	if err := s.start(); err != nil { // an empty file is made in the under store too
		return err
	}
	if err := s.main.finish(); err != nil {
		return err
	}
	response, err := s.main.result()
	if err != nil {
		return err
	}
	for _, index := range response.Blocks {
		s.w.located(index, s.main.worker.ID)
	}
	s.w.fingerprint = response.Fingerprint
	s.endSide()
	return nil
}

// abort drops both streams. The worker takes the end of a stream without its last message as a cancel, and leaves nothing
// in the under store.
func (s *throughSink) abort() {
	for _, u := range []*upload{s.main, s.side} {
		if u != nil {
			u.close()
		}
	}
	s.side = nil
}
