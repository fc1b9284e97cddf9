package eviction

// LRU evicts what was used longest ago: the baseline that the others are measured against.
type LRU[K comparable] struct {
	a arena[K]
	q queue[K]
}

// NewLRU makes an empty LRU.
func NewLRU[K comparable]() *LRU[K] {
	l := &LRU[K]{a: newArena[K]()}
	l.q = newQueue(&l.a)
	return l
}

// Add implements Policy.
// A key that is there grows and keeps its place.
func (l *LRU[K]) Add(key K, bytes int64) {
	if i, ok := l.a.index[key]; ok {
		l.q.grow(i, bytes)
		return
	}
	l.q.push(l.a.alloc(key, bytes))
}

// Touch implements Policy.
func (l *LRU[K]) Touch(key K) {
	if i, ok := l.a.index[key]; ok {
		l.q.remove(i)
		l.q.push(i)
	}
}

// Remove implements Policy.
func (l *LRU[K]) Remove(key K) {
	if i, ok := l.a.index[key]; ok {
		l.q.remove(i)
		l.a.release(i)
	}
}

// Evict implements Policy. Refused keys keep their places.
// It walks past all that is refused, which is slow when nearly everything is pinned.
func (l *LRU[K]) Evict(evictable func(K) bool) (K, bool) {
	for i := l.q.tail; i != none; i = l.a.entries[i].prev {
		if key := l.a.entries[i].key; evictable(key) {
			l.Remove(key)
			return key, true
		}
	}
	var zero K
	return zero, false
}

// Len implements Policy.
func (l *LRU[K]) Len() int { return l.q.length }
