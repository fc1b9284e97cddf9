package eviction

// none is the end of a list.
const none = int32(-1)

// entry is a key's place in a queue. uses and queue are the policy's own. In a free entry next links the free
// ones.
type entry[K comparable] struct {
	key        K
	bytes      int64
	prev, next int32
	uses       uint8
	queue      uint8
}

// arena holds the entries of all queues of a policy in one slice, linked by index: no allocation for each key, and
// little for the garbage collector to follow.
type arena[K comparable] struct {
	entries []entry[K]
	free    int32
	index   map[K]int32
}

func newArena[K comparable]() arena[K] { return arena[K]{free: none, index: map[K]int32{}} }

// alloc makes an entry that is in no queue yet.
func (a *arena[K]) alloc(key K, bytes int64) int32 {
	i := a.free
	if i != none {
		a.free = a.entries[i].next
	} else {
		i = int32(len(a.entries))
		a.entries = append(a.entries, entry[K]{})
	}
	a.entries[i] = entry[K]{key: key, bytes: bytes, prev: none, next: none}
	a.index[key] = i
	return i
}

// release forgets a key and keeps its entry for the next one. It must be in no queue.
func (a *arena[K]) release(i int32) {
	delete(a.index, a.entries[i].key)
	a.entries[i] = entry[K]{next: a.free}
	a.free = i
}

// queue is a doubly linked list through the arena: pushed at the head, evicted at the tail.
// INV-1: length and bytes are the number and the sum of the entries between head and tail. An entry is in one
// queue at most, since it has one pair of links.
type queue[K comparable] struct {
	a          *arena[K]
	head, tail int32
	length     int
	bytes      int64
}

func newQueue[K comparable](a *arena[K]) queue[K] { return queue[K]{a: a, head: none, tail: none} }

// push puts an entry at the head. It must be in no queue.
func (q *queue[K]) push(i int32) {
	e := &q.a.entries[i]
	e.prev, e.next = none, q.head
	if q.head != none {
		q.a.entries[q.head].prev = i
	} else {
		q.tail = i
	}
	q.head = i
	q.length++
	q.bytes += e.bytes
}

// remove takes an entry out; it stays in the arena.
func (q *queue[K]) remove(i int32) {
	e := &q.a.entries[i]
	if e.prev != none {
		q.a.entries[e.prev].next = e.next
	} else {
		q.head = e.next
	}
	if e.next != none {
		q.a.entries[e.next].prev = e.prev
	} else {
		q.tail = e.prev
	}
	q.length--
	q.bytes -= e.bytes
}

// grow changes the size of an entry where it is; bytes may be negative.
func (q *queue[K]) grow(i int32, bytes int64) {
	q.a.entries[i].bytes += bytes
	q.bytes += bytes
}
