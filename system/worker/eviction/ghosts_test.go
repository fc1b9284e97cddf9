package eviction

import (
	"math/rand/v2"
	"testing"
)

// check holds S3FIFO to its invariants and its queues to their sums.
func (s *S3FIFO[K]) check(t *testing.T) {
	t.Helper()
	seen := map[K]bool{}
	for number, q := range []*queue[K]{&s.small, &s.main} {
		length, bytes := 0, int64(0)
		for i := q.tail; i != none; i = s.a.entries[i].prev {
			e := s.a.entries[i]
			if seen[e.key] || int(e.queue) != number || s.a.index[e.key] != i {
				t.Fatalf("INV-1: key %v", e.key)
			}
			if _, ghost := s.ghosts[e.key]; ghost {
				t.Fatalf("INV-1: key %v is a ghost too", e.key)
			}
			seen[e.key] = true
			length++
			bytes += e.bytes
		}
		if length != q.length || bytes != q.bytes {
			t.Fatalf("queue %d: %d keys of %d bytes, counted %d of %d", number, length, bytes, q.length, q.bytes)
		}
	}
	if len(seen) != len(s.a.index) {
		t.Fatalf("%d keys in queues, %d in the index", len(seen), len(s.a.index))
	}
}

// checkGhosts holds it to INV-2, which is restored by each eviction.
func (s *S3FIFO[K]) checkGhosts(t *testing.T) {
	t.Helper()
	if most := max(s.Len(), ghostsMin); len(s.ghosts) > most || len(s.ghostOrder) > 2*most {
		t.Fatalf("INV-2: %d ghosts, %d notes for %d keys", len(s.ghosts), len(s.ghostOrder), s.Len())
	}
}

// TestInvariants runs random operations and checks the invariants after each.
func TestInvariants(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	s := NewS3FIFO[int]()
	for range 4000 {
		key := r.IntN(200)
		switch r.IntN(7) {
		case 0, 1, 2:
			s.Add(key, r.Int64N(100))
		case 3:
			s.Touch(key)
		case 4:
			s.Remove(key)
		default:
			if before := s.sequence; true {
				s.Evict(func(k int) bool { return k%5 != 0 })
				if s.sequence > before {
					s.checkGhosts(t)
				}
			}
		}
		s.check(t)
	}
}

// TestArenaReuse: entries of keys that went are used again, so that memory is bounded by the keys held at a time.
func TestArenaReuse(t *testing.T) {
	s := NewS3FIFO[int]()
	for key := range 100_000 {
		s.Add(key, 1)
		if s.Len() > 100 {
			s.Evict(func(int) bool { return true })
		}
	}
	if len(s.a.entries) > 102 || len(s.ghosts) > 101 || cap(s.ghostOrder) > 2000 {
		t.Errorf("%d entries, %d ghosts, room for %d notes", len(s.a.entries), len(s.ghosts), cap(s.ghostOrder))
	}
}
