package inodestore

// slotIndex finds the slot of a hash: an open-addressed table with linear probing, whose buckets of 8 bytes hold the
// hash's upper half and the slot's number. A lookup touches one cache line where a Go map touches four, and the table
// takes less than half of a map's memory. Whether the slot has the key itself is the caller's to compare.
//
// INV-1: from a hash's home bucket to its entry no bucket is free. remove keeps this by moving entries back.
type slotIndex struct {
	buckets []bucket // a power of two, at most 3/4 used
	used    int
}

type bucket struct {
	tag  uint32
	slot uint32 // its number + 1; 0: free
}

const smallestIndex = 16

// find returns key's bucket and slot.
func (x *slotIndex) find(hash uint64, slots []cacheEntry, key cacheKey) (place int, slot uint32, ok bool) {
	if len(x.buckets) == 0 {
		return 0, 0, false
	}
	mask := len(x.buckets) - 1
	tag := uint32(hash >> 32)
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		b := x.buckets[i]
		if b.slot == 0 {
			return 0, 0, false
		}
		if b.tag == tag && slots[b.slot-1].key == key {
			return i, b.slot - 1, true
		}
	}
}

// insert adds a slot that is not there.
func (x *slotIndex) insert(hash uint64, slot uint32, slots []cacheEntry) {
	if (x.used+1)*4 > len(x.buckets)*3 {
		x.grow(slots)
	}
	x.place(hash, slot)
	x.used++
}

// place puts a slot into the first free bucket from its home on. There is one: the table is never full.
func (x *slotIndex) place(hash uint64, slot uint32) {
	mask := len(x.buckets) - 1
	i := int(hash) & mask
	for x.buckets[i].slot != 0 {
		i = (i + 1) & mask
	}
	x.buckets[i] = bucket{tag: uint32(hash >> 32), slot: slot + 1}
}

// grow doubles the table. Buckets hold half of the hash, so the slots are asked for the whole.
func (x *slotIndex) grow(slots []cacheEntry) {
	old := x.buckets
	x.buckets = make([]bucket, max(2*len(old), smallestIndex))
	for _, b := range old {
		if b.slot != 0 {
			x.place(slots[b.slot-1].hash, b.slot-1)
		}
	}
}

// remove frees the bucket at i, and moves back what had probed past it (INV-1).
func (x *slotIndex) remove(i int, slots []cacheEntry) {
	mask := len(x.buckets) - 1
	x.used--
	for j := (i + 1) & mask; x.buckets[j].slot != 0; j = (j + 1) & mask {
		home := int(slots[x.buckets[j].slot-1].hash) & mask
		if (j-home)&mask >= (j-i)&mask { // its home is at or before i: it may move there
			x.buckets[i] = x.buckets[j]
			i = j
		}
	}
	x.buckets[i] = bucket{}
}
