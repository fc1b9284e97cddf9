package blockstore

import (
	"context"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// stage reserves bytes for the block index, beginning it at its first page.
// A new block waits for room for its first page alone; one that was begun is moved down (spill) rather than given up.
// The wait begins short, so that a lower tier with room is found soon, and lasts WriteWait in all, after which the
// write is refused with ResourceExhausted: the client tries another worker.
func (w *Writer) stage(ctx context.Context, index uint32, bytes int64) (*block, error) {
	var b *block
	if n := len(w.blocks); n > 0 && w.blocks[n-1].index == index {
		b = w.blocks[n-1]
	} else if err := w.claim(ctx, index); err != nil {
		return nil, err
	}
	deadline := w.s.h.Now().Add(w.s.config.WriteWait)
	for wait := min(w.s.config.FillWait, w.s.config.WriteWait); ; wait = deadline.Sub(w.s.h.Now()) {
		grown, tierIndex := w.grow(b, index, bytes)
		if grown != nil {
			return grown, nil
		}
		if wait > 0 && ctx.Err() == nil && w.s.waitRoom(ctx, tierIndex, bytes, wait) {
			continue
		}
		if b != nil && w.spill(ctx, b, bytes) {
			return b, nil
		}
		if left := deadline.Sub(w.s.h.Now()); left <= 0 || ctx.Err() != nil || w.s.tiers[tierIndex].Writable() != nil {
			if b == nil {
				w.s.endBusy(w.file, index)
			}
			return nil, w.noRoom(ctx, tierIndex)
		}
	}
}

// grow reserves bytes for b, or for a new block at index when it is nil. Without room it names the tier to wait for.
func (w *Writer) grow(b *block, index uint32, bytes int64) (grown *block, tierIndex int) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	tierIndex, ok := w.s.reserve(b, bytes)
	if !ok {
		return nil, tierIndex
	}
	if b == nil {
		b = w.s.newBlock(w.file, index, tierIndex)
		w.blocks = append(w.blocks, b)
	}
	b.used += bytes
	return b, tierIndex
}

// spill moves a block that is being written to a lower tier with room for it and bytes more. A block begins on the tier
// that has room for its first page, and what is being written cannot be evicted: many writers that began together would
// else fill the fastest tier with halves of blocks and wait for each other, however empty the others are.
// True says that the block lies lower now, with bytes more reserved for it. Its old place is given back before it
// returns.
func (w *Writer) spill(ctx context.Context, b *block, bytes int64) bool {
	s, from := w.s, b.tier
	for to := from + 1; to < len(s.tiers); to++ {
		if !s.tiers[to].Reserve(b.used + bytes) {
			continue
		}
		s.mu.Lock()
		s.backingOf(w.file, to).blocks++
		s.mu.Unlock()
		left := &block{index: b.index, used: b.used, reach: b.reach} // what stays behind
		if s.copyBlock(ctx, held{w.file, b}, to, false) != nil {
			left.used += bytes
			s.vacate(w.file, left, to)
			continue
		}
		s.mu.Lock()
		b.tier = to
		b.used += bytes
		s.mu.Unlock()
		s.vacate(w.file, left, from)
		return true
	}
	return false
}

// noRoom says why there is none, in the order of what the reader of the message can do: nothing (its time was up),
// replace a disk, or make room.
func (w *Writer) noRoom(ctx context.Context, tierIndex int) error {
	if err := ctx.Err(); err != nil {
		return dfs.Wrap(err, "write", w.ref.describe())
	}
	if err := w.s.tiers[tierIndex].Writable(); err != nil {
		return dfs.Errorf(dfs.Unavailable, "write", w.ref.describe(), "no tier of this worker takes writes: %v", err)
	}
	return dfs.Errorf(dfs.ResourceExhausted, "write", w.ref.describe(), "tier %s is full of data that is pinned, in use or not yet "+
		"persisted: wait for persists, unpin or free some, or add workers", w.s.tiers[tierIndex].Name())
}

// takeoverWait is how long a write waits for an earlier one of the same block, whose client is gone but whose stream was
// not yet seen to end.
const takeoverWait = 5 * time.Second

// claim makes the index busy for this write. What is held of it from an earlier attempt is dropped: a version's content
// is what its last writer sent.
// Unavailable after takeoverWait says that the other stream is alive: the client tries again, or another worker.
// The entry that it sets is ended by install, Abort, or the failure of stage.
func (w *Writer) claim(ctx context.Context, index uint32) error {
	s := w.s
	waitCtx, cancel := s.h.WithTimeout(ctx, takeoverWait)
	defer cancel()
	for {
		s.mu.Lock()
		other := w.file.busy[index]
		old := w.file.blocks[index]
		switch {
		case other != nil:
			s.mu.Unlock()
			if err := other.done.Wait(waitCtx); err != nil {
				return dfs.Errorf(dfs.Unavailable, "write", w.ref.describe(), "block %d is being written by another stream: try again", index)
			}
		case old != nil:
			idle := s.drop(w.file, old)
			s.mu.Unlock()
			if idle {
				s.cleanUp(w.file, old)
			}
		default:
			w.file.setBusy(index, &busy{done: s.h.NewEvent(), writing: true})
			s.mu.Unlock()
			return nil
		}
	}
}
