package blockmap

import (
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
)

const (
	shards        = 64
	inlineHolders = 4
)

// holders is a set of worker numbers; 0 is no worker. More than inlineHolders of them spill into the shard's extra map.
// A zero ends it: places after the first zero are zero too.
type holders [inlineHolders]uint16

// Most blocks have few holders, so extra is nearly empty and held needs no pointer for the collector to follow.
type shard struct {
	mu    sync.RWMutex
	held  map[dfs.BlockID]holders
	extra map[dfs.BlockID][]uint16
}

// add returns false when n holds b already. s.mu is held.
// The first zero place is free and nothing lies behind it, so one pass finds either n or the place for it.
func (s *shard) add(b dfs.BlockID, n uint16) bool {
	h := s.held[b]
	for i := range h {
		if h[i] == n {
			return false
		}
		if h[i] == 0 {
			h[i] = n
			s.held[b] = h
			return true
		}
	}
	if slices.Contains(s.extra[b], n) {
		return false
	}
	s.extra[b] = append(s.extra[b], n)
	return true
}

// remove moves later holders up, the first of those beside into the inline places (INV-1, INV-2). It returns false
// when n does not hold b. s.mu is held.
// Moving up keeps the order, so the holder that is asked first is always the one that has had the block longest.
func (s *shard) remove(b dfs.BlockID, n uint16) bool {
	h := s.held[b]
	extra := s.extra[b]
	if i := slices.Index(extra, n); i >= 0 {
		s.setExtra(b, slices.Delete(extra, i, i+1))
		return true
	}
	i := slices.Index(h[:], n)
	if i < 0 {
		return false
	}
	copy(h[i:], h[i+1:])
	h[inlineHolders-1] = 0
	if len(extra) > 0 {
		h[inlineHolders-1] = extra[0]
		s.setExtra(b, extra[1:])
	}
	if h == (holders{}) {
		delete(s.held, b)
	} else {
		s.held[b] = h
	}
	return true
}

// setExtra keeps the holders beside the inline ones; a block without any takes no place in the map. s.mu is held.
// It may share memory with the list that it replaces: nobody keeps one without the lock.
func (s *shard) setExtra(b dfs.BlockID, extra []uint16) {
	if len(extra) == 0 {
		delete(s.extra, b)
		return
	}
	s.extra[b] = extra
}
