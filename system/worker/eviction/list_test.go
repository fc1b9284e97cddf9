package eviction

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// walk is the keys of a queue from its head, after checking the links both ways.
func (q *queue[K]) walk(t *testing.T) (keys []K) {
	t.Helper()
	before, bytes := none, int64(0)
	for i := q.head; i != none; i = q.a.entries[i].next {
		e := q.a.entries[i]
		if e.prev != before || q.a.index[e.key] != i {
			t.Fatalf("entry %d of %v: behind %d, want %d; the index says %d", i, e.key, e.prev, before, q.a.index[e.key])
		}
		keys, bytes, before = append(keys, e.key), bytes+e.bytes, i
	}
	if q.tail != before || q.length != len(keys) || q.bytes != bytes {
		t.Fatalf("tail %d, want %d; length %d, want %d; %d bytes, want %d", q.tail, before, q.length, len(keys), q.bytes, bytes)
	}
	return keys
}

// TestQueuesAreLists compares two queues in one arena with slices, over random pushes, moves, removals and growth (INV-1), and
// checks that the arena is no larger than the most keys that there ever were.
func TestQueuesAreLists(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 9))
		a := newArena[int]()
		queues := []queue[int]{newQueue(&a), newQueue(&a)}
		models := make([][]int, 2)
		most := 0
		for step := range 2000 {
			which := r.IntN(2)
			q, model := &queues[which], &models[which]
			switch pick := r.IntN(5); {
			case pick < 2 || len(*model) == 0:
				q.push(a.alloc(step, r.Int64N(100)))
				*model = slices.Insert(*model, 0, step)
			case pick == 2: // away
				at := r.IntN(len(*model))
				i := a.index[(*model)[at]]
				q.remove(i)
				a.release(i)
				*model = slices.Delete(*model, at, at+1)
			case pick == 3: // to the other queue's head
				at := r.IntN(len(*model))
				key := (*model)[at]
				q.remove(a.index[key])
				queues[1-which].push(a.index[key])
				*model = slices.Delete(*model, at, at+1)
				models[1-which] = slices.Insert(models[1-which], 0, key)
			default:
				q.grow(a.index[(*model)[r.IntN(len(*model))]], r.Int64N(50)-20)
			}
			most = max(most, len(models[0])+len(models[1]))
			if step%50 == 0 {
				for i := range queues {
					if got := queues[i].walk(t); !slices.Equal(got, models[i]) {
						t.Fatalf("seed %d, step %d: %v, want %v", seed, step, got, models[i])
					}
				}
			}
		}
		if len(a.entries) > most || len(a.index) != len(models[0])+len(models[1]) {
			t.Errorf("seed %d: %d entries for %d keys, %d of them known", seed, len(a.entries), most, len(a.index))
		}
	}
}

// TestNames: each name that a configuration may give leads to its policy, and no other leads to one.
func TestNames(t *testing.T) {
	for _, name := range []string{"", "s3-fifo"} {
		if _, ok := New[int](name).(*S3FIFO[int]); !ok {
			t.Errorf("%q is %T", name, New[int](name))
		}
	}
	if _, ok := New[int]("lru").(*LRU[int]); !ok {
		t.Errorf("lru is %T", New[int]("lru"))
	}
	for _, name := range []string{"LRU", "fifo", " lru"} {
		if p := New[int](name); p != nil {
			t.Errorf("%q is %T", name, p)
		}
	}
}

// TestGhostsReturnToMain: a newcomer that was dropped lately comes back into the main queue, one that its owner removed does
// not, and a key is never both a ghost and known (INV-1).
func TestGhostsReturnToMain(t *testing.T) {
	s := NewS3FIFO[string]()
	s.Add("dropped", 10)
	if key, ok := s.Evict(func(string) bool { return true }); key != "dropped" || !ok {
		t.Fatalf("evicted %q, %v", key, ok)
	}
	s.Add("removed", 10)
	s.Remove("removed")
	for key, want := range map[string]uint8{"dropped": inMain, "removed": inSmall} {
		s.Add(key, 10)
		if got := s.a.entries[s.a.index[key]].queue; got != want {
			t.Errorf("%s is in queue %d, want %d", key, got, want)
		}
		if _, ghost := s.ghosts[key]; ghost {
			t.Errorf("%s is known and a ghost", key)
		}
	}
}
