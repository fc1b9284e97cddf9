package blockmap

import (
	"math/bits"

	"github.com/forebay/forebay/system/dfs"
)

// table maps blocks to their inline holders: open addressing with linear probing, in one slice without pointers. A Go map of
// the same took 67 bytes a block and two lookups, most of their time misses of the processor's cache; this takes 24 to 40
// and one (BenchmarkAddLocate, and BenchmarkTakeBatch of package master).
//
// INV-4: an entry without holders is free, and between an entry's home and its place there is no free one. So a search may
// end at the first free entry, and removal moves up what it would cut off from its home.
//
// A table grows by half. With mapShards of them the pause is short (100 million blocks: 100,000 entries each, about 1 ms
// under that shard's lock). It never shrinks, except to nothing.
type table struct {
	entries []entry
	used    int
}

// entry is 24 bytes: a dfs.BlockID alone would take as many.
type entry struct {
	inode          dfs.InodeID
	version, index uint32
	holders        holders
}

const smallestTable = 8

// full is at nine entries of ten: the searches that find nothing look at 50 entries then, three cache lines of eight,
// and at 13 on the average over a table's growth.
func (t *table) full() bool { return (t.used+1)*10 > len(t.entries)*9 }

// home is where b's search begins. The high bits of its hash chose the shard; these are others.
func (t *table) home(hash uint64) int {
	hi, _ := bits.Mul64(hash<<shardBits, uint64(len(t.entries)))
	return int(hi)
}

func (e *entry) is(b dfs.BlockID) bool {
	return e.inode == b.File.Inode && e.version == b.File.Version && e.index == b.Index
}

func (e *entry) block() dfs.BlockID {
	return dfs.BlockID{File: dfs.FileVersion{Inode: e.inode, Version: e.version}, Index: e.index}
}

// find is the place of b's entry, until the next change of the table; -1 when nobody holds it.
func (t *table) find(b dfs.BlockID) int {
	if t.used == 0 {
		return -1
	}
	for i := t.home(hashOf(b)); t.entries[i].holders[0] != 0; i = t.after(i) {
		if t.entries[i].is(b) {
			return i
		}
	}
	return -1
}

func (t *table) after(i int) int {
	if i++; i < len(t.entries) {
		return i
	}
	return 0
}

// entryFor is b's entry, or a free one that is b's as soon as the caller gives it a holder.
func (t *table) entryFor(b dfs.BlockID) *entry {
	if t.full() {
		t.grow()
	}
	i := t.home(hashOf(b))
	for ; t.entries[i].holders[0] != 0; i = t.after(i) {
		if t.entries[i].is(b) {
			return &t.entries[i]
		}
	}
	t.used++
	t.entries[i] = entry{inode: b.File.Inode, version: b.File.Version, index: b.Index}
	return &t.entries[i]
}

// grow places everything anew.
func (t *table) grow() {
	old := t.entries
	t.entries = make([]entry, max(smallestTable, len(old)+len(old)/2))
	for i := range old {
		if old[i].holders[0] != 0 {
			j := t.home(hashOf(old[i].block()))
			for t.entries[j].holders[0] != 0 {
				j = t.after(j)
			}
			t.entries[j] = old[i]
		}
	}
}

// delete frees a place. What follows up to the next free entry is moved up where it may be: not
// before its home (INV-4).
func (t *table) delete(hole int) {
	n := len(t.entries)
	for i := t.after(hole); t.entries[i].holders[0] != 0; i = t.after(i) {
		home := t.home(hashOf(t.entries[i].block()))
		if (i-home+n)%n >= (i-hole+n)%n { // its home is at the hole or before it
			t.entries[hole] = t.entries[i]
			hole = i
		}
	}
	t.entries[hole] = entry{}
	t.used--
}
