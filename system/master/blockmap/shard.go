package blockmap

import (
	"slices"
	"sync"

	"github.com/forebay/forebay/system/dfs"
)

const (
	shardBits     = 10
	mapShards     = 1 << shardBits
	inlineHolders = 4
)

// holders is a set of worker numbers; 0 is no worker. More than inlineHolders of them spill into the shard's extra map.
// A zero ends it: places after the first zero are zero too.
type holders [inlineHolders]uint16

// Most blocks have few holders, so extra is nearly empty and made only when there is one.
type shard struct {
	mu    sync.RWMutex
	held  table
	extra map[dfs.BlockID][]uint16

	touched uint16 // of addAll; it means nothing, and is kept so that the loads are not left out
}

// add returns false when n holds b already. s.mu is held.
// The first zero place is free and nothing lies behind it, so one pass finds either n or the place for it.
func (s *shard) add(b dfs.BlockID, n uint16) bool {
	e := s.held.entryFor(b)
	for i := range e.holders {
		if e.holders[i] == n {
			return false
		}
		if e.holders[i] == 0 {
			e.holders[i] = n
			return true
		}
	}
	if slices.Contains(s.extra[b], n) {
		return false
	}
	if s.extra == nil {
		s.extra = map[dfs.BlockID][]uint16{}
	}
	s.extra[b] = append(s.extra[b], n)
	return true
}

// remove moves later holders up, the first of those beside into the inline places (INV-1, INV-2). It returns false
// when n does not hold b. s.mu is held.
// Moving up keeps the order, so the holder that is asked first is always the one that has had the block longest.
func (s *shard) remove(b dfs.BlockID, n uint16) bool {
	at := s.held.find(b)
	return at >= 0 && s.removeAt(at, b, n)
}

func (s *shard) removeAt(at int, b dfs.BlockID, n uint16) bool {
	h := &s.held.entries[at].holders
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
	if h[0] == 0 {
		s.held.delete(at)
	}
	return true
}

// removeAll takes n out of every block. s.mu is held.
// A removal may move another entry to the place under the cursor, which is then looked at again. What it moves to a place
// before the cursor comes from there: over the table's end, where it was looked at already.
func (s *shard) removeAll(n uint16) {
	for i := 0; i < len(s.held.entries); {
		if e := &s.held.entries[i]; e.holders[0] == 0 || !s.holds(e, n) {
			i++
		} else {
			s.removeAt(i, e.block(), n)
		}
	}
}

// holds looks beside the inline places only when all of them are taken (INV-1).
func (s *shard) holds(e *entry, n uint16) bool {
	return slices.Contains(e.holders[:], n) || e.holders[inlineHolders-1] != 0 && slices.Contains(s.extra[e.block()], n)
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
