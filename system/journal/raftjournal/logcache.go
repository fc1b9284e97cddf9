package raftjournal

import (
	"sync"

	"github.com/hashicorp/raft"
)

// logCache holds the newest entries, so that followers and the state machine are served from memory. It is bounded in
// bytes, which raft.LogCache is not.
//
// INV-1: its entries have consecutive indexes, and each equals what the log has at its index.
type logCache struct {
	limit int

	mu    sync.RWMutex
	logs  []*raft.Log // ascending
	bytes int
}

// get fills log with the entry of the index, and tells whether it has it. It never blocks on the disk.
func (c *logCache) get(index uint64, log *raft.Log) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.logs) == 0 || index < c.logs[0].Index || index > c.logs[len(c.logs)-1].Index {
		return false
	}
	// The entry's bytes are shared, with Raft, which never changes them.
	*log = *c.logs[index-c.logs[0].Index]
	return true
}

// add appends entries that the log has taken, and drops the oldest above the limit.
// A gap before them empties it first (INV-1). One entry larger than the limit is not kept.
func (c *logCache) add(logs []*raft.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.logs); n > 0 && c.logs[n-1].Index+1 != logs[0].Index {
		c.reset()
	}
	c.logs = append(c.logs, logs...)
	for _, l := range logs {
		c.bytes += logBytes(l)
	}
	drop := 0
	for ; c.bytes > c.limit && drop < len(c.logs); drop++ {
		c.bytes -= logBytes(c.logs[drop])
	}
	clear(c.logs[:drop]) // the slice's memory may live on
	c.logs = c.logs[drop:]
}

// cut removes min..max, which the log has removed.
// It forgets more than it must, which costs reads from the disk and nothing else.
func (c *logCache) cut(min, max uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.logs) == 0 || max < c.logs[0].Index || min > c.logs[len(c.logs)-1].Index {
		return
	}
	c.reset() // truncations are rare: the next entries fill it again
}

// reset forgets all. The caller holds mu.
func (c *logCache) reset() { c.logs, c.bytes = nil, 0 }

// logBytes is about what an entry takes.
func logBytes(l *raft.Log) int { return len(l.Data) + len(l.Extensions) + 128 }
