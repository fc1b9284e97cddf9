package eviction

// S3FIFO is the algorithm of Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023): a small queue
// for newcomers, a main queue for what was used again, and a ghost queue that remembers which newcomers were dropped. A
// scan passes through the small queue and leaves the main one alone, which is what training epochs and table scans do to
// an LRU. Sizes are bytes; the ghosts are as many as there are keys.
//
// INV-1: a key is in exactly one of small and main, or is a ghost, or is unknown.
// INV-2: after an eviction that made a ghost there are at most as many ghosts as keys (ghostsMin are always allowed), and
// at most twice as many notes of their order. Keys that are removed leave their ghosts until then.
//
//	newcomer --> small --(tail, used more than once)--> main --(tail, used)--> main's head, a use less
//	   |           |                                      |
//	   |           +--(tail, used at most once)--> ghost   +--(tail, not used)--> gone
//	   +--(a ghost)--> main
type S3FIFO[K comparable] struct {
	a           arena[K]
	small, main queue[K]

	ghosts     map[K]uint64 // to the sequence number under which it stands in ghostOrder
	ghostOrder []ghost[K]   // a FIFO; entries whose number is not the map's are dead
	sequence   uint64
}

type ghost[K comparable] struct {
	key      K
	sequence uint64
}

// uses saturates at maxUses, so that a key which was hot once leaves after as many passes of the main queue.
const (
	inSmall, inMain = 0, 1
	maxUses         = 3
	smallShare      = 10 // the small queue's share of bytes is 1/smallShare
	ghostsMin       = 64
)

// NewS3FIFO makes an empty one.
func NewS3FIFO[K comparable]() *S3FIFO[K] {
	s := &S3FIFO[K]{a: newArena[K](), ghosts: map[K]uint64{}}
	s.small, s.main = newQueue(&s.a), newQueue(&s.a)
	return s
}

func (s *S3FIFO[K]) queueOf(i int32) *queue[K] {
	if s.a.entries[i].queue == inMain {
		return &s.main
	}
	return &s.small
}

// Add implements Policy. A newcomer that was dropped lately goes to the main queue at once.
// A key that is there grows where it is: that more of it came is not a use. bytes may be negative.
func (s *S3FIFO[K]) Add(key K, bytes int64) {
	if i, ok := s.a.index[key]; ok {
		s.queueOf(i).grow(i, bytes)
		return
	}
	i := s.a.alloc(key, bytes)
	if _, ok := s.ghosts[key]; ok {
		delete(s.ghosts, key)
		s.a.entries[i].queue = inMain
	}
	s.queueOf(i).push(i)
}

// Touch implements Policy.
// It moves nothing, which makes a hit cheap; a key that is not there is ignored.
func (s *S3FIFO[K]) Touch(key K) {
	if i, ok := s.a.index[key]; ok && s.a.entries[i].uses < maxUses {
		s.a.entries[i].uses++
	}
}

// Remove implements Policy.
// It leaves no ghost: what was freed by its owner says nothing of how useful it was.
func (s *S3FIFO[K]) Remove(key K) {
	if i, ok := s.a.index[key]; ok {
		s.queueOf(i).remove(i)
		s.a.release(i)
	}
}

// Len implements Policy.
func (s *S3FIFO[K]) Len() int { return s.small.length + s.main.length }

// Evict implements Policy. A refused key goes to the head of its queue. Each step that yields no victim moves a key to
// main, takes a use away, or refuses one, so that (maxUses+2) steps for each key are enough to have asked all.
func (s *S3FIFO[K]) Evict(evictable func(K) bool) (K, bool) {
	refused := 0
	for range (maxUses + 2) * (s.Len() + 1) {
		i, ok := s.oldest()
		if !ok {
			break
		}
		e := &s.a.entries[i]
		q := s.queueOf(i)
		q.remove(i)
		switch {
		case e.queue == inSmall && e.uses > 1:
			e.queue, e.uses = inMain, 0
			s.main.push(i)
		case e.queue == inMain && e.uses > 0:
			e.uses--
			s.main.push(i)
		case !evictable(e.key):
			q.push(i)
			if refused++; refused > s.Len() {
				return s.any(evictable)
			}
		default:
			key, wasSmall := e.key, e.queue == inSmall
			s.a.release(i)
			if wasSmall {
				s.remember(key)
			}
			return key, true
		}
	}
	return s.any(evictable)
}

// oldest is the tail of the queue whose turn it is.
//
// The small queue gives way while it has its share of bytes or more, so that the main queue keeps nine tenths.
func (s *S3FIFO[K]) oldest() (int32, bool) {
	smallFirst := s.small.bytes*smallShare >= s.small.bytes+s.main.bytes
	if s.small.length > 0 && (smallFirst || s.main.length == 0) {
		return s.small.tail, true
	}
	return s.main.tail, s.main.length > 0
}

// remember makes key a ghost and forgets the oldest ghosts over the bound.
func (s *S3FIFO[K]) remember(key K) {
	s.sequence++
	s.ghosts[key] = s.sequence
	s.ghostOrder = append(s.ghostOrder, ghost[K]{key, s.sequence})
	limit := max(s.Len(), ghostsMin)
	for len(s.ghosts) > limit || len(s.ghostOrder) > 2*limit {
		oldest := s.ghostOrder[0]
		s.ghostOrder = s.ghostOrder[1:]
		if s.ghosts[oldest.key] == oldest.sequence {
			delete(s.ghosts, oldest.key)
		}
	}
}

// any is the oldest key that may go, wherever it stands: for caches of which nearly everything is refused.
func (s *S3FIFO[K]) any(evictable func(K) bool) (K, bool) {
	for _, q := range []*queue[K]{&s.small, &s.main} {
		for i := q.tail; i != none; i = s.a.entries[i].prev {
			if key := s.a.entries[i].key; evictable(key) {
				s.Remove(key)
				return key, true
			}
		}
	}
	var zero K
	return zero, false
}
