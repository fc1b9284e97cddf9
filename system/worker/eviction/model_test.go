package eviction_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/forebay/forebay/system/worker/eviction"
)

// item is a key in a model's queue; the queue's oldest is first.
type item struct {
	key   int
	bytes int64
	uses  int
}

func find(queue []item, key int) int {
	return slices.IndexFunc(queue, func(i item) bool { return i.key == key })
}

// lruModel is LRU as one would explain it.
type lruModel struct{ queue []item }

func (m *lruModel) Add(key int, bytes int64) {
	if i := find(m.queue, key); i < 0 {
		m.queue = append(m.queue, item{key: key, bytes: bytes})
	}
}

func (m *lruModel) Touch(key int) {
	if i := find(m.queue, key); i >= 0 {
		used := m.queue[i]
		m.queue = append(slices.Delete(m.queue, i, i+1), used)
	}
}

func (m *lruModel) Remove(key int) {
	m.queue = slices.DeleteFunc(m.queue, func(i item) bool { return i.key == key })
}

func (m *lruModel) Evict(evictable func(int) bool) (int, bool) {
	for i, it := range m.queue {
		if evictable(it.key) {
			m.queue = slices.Delete(m.queue, i, i+1)
			return it.key, true
		}
	}
	return 0, false
}

func (m *lruModel) Len() int { return len(m.queue) }

// s3Model is S3-FIFO on plain slices, after the paper's pseudo code and this package's bounds.
type s3Model struct {
	small, main []item
	ghosts      []struct {
		key  int
		live bool
	}
}

func (m *s3Model) Len() int { return len(m.small) + len(m.main) }

func (m *s3Model) at(key int) *item {
	for _, q := range []*[]item{&m.small, &m.main} {
		if i := find(*q, key); i >= 0 {
			return &(*q)[i]
		}
	}
	return nil
}

func (m *s3Model) Add(key int, bytes int64) {
	if it := m.at(key); it != nil {
		it.bytes += bytes
		return
	}
	for i, g := range m.ghosts {
		if g.key == key && g.live {
			m.ghosts[i].live = false
			m.main = append(m.main, item{key: key, bytes: bytes})
			return
		}
	}
	m.small = append(m.small, item{key: key, bytes: bytes})
}

func (m *s3Model) Touch(key int) {
	if it := m.at(key); it != nil {
		it.uses = min(it.uses+1, 3)
	}
}

func (m *s3Model) Remove(key int) {
	other := func(i item) bool { return i.key == key }
	m.small, m.main = slices.DeleteFunc(m.small, other), slices.DeleteFunc(m.main, other)
}

func sum(queue []item) (bytes int64) {
	for _, it := range queue {
		bytes += it.bytes
	}
	return bytes
}

func (m *s3Model) Evict(evictable func(int) bool) (int, bool) {
	for refused, steps := 0, 5*(m.Len()+1); steps > 0 && m.Len() > 0 && refused <= m.Len(); steps-- {
		fromSmall := len(m.main) == 0 || len(m.small) > 0 && 10*sum(m.small) >= sum(m.small)+sum(m.main)
		q := &m.main
		if fromSmall {
			q = &m.small
		}
		it := (*q)[0]
		*q = (*q)[1:]
		switch {
		case fromSmall && it.uses > 1:
			it.uses = 0
			m.main = append(m.main, it)
		case !fromSmall && it.uses > 0:
			it.uses--
			m.main = append(m.main, it)
		case !evictable(it.key):
			*q = append(*q, it)
			refused++
		default:
			if fromSmall {
				m.remember(it.key)
			}
			return it.key, true
		}
	}
	for _, it := range append(slices.Clone(m.small), m.main...) {
		if evictable(it.key) {
			m.Remove(it.key)
			return it.key, true
		}
	}
	return 0, false
}

func (m *s3Model) remember(key int) {
	m.ghosts = append(m.ghosts, struct {
		key  int
		live bool
	}{key, true})
	for limit := max(m.Len(), 64); ; m.ghosts = m.ghosts[1:] {
		live := 0
		for _, g := range m.ghosts {
			if g.live {
				live++
			}
		}
		if live <= limit && len(m.ghosts) <= 2*limit {
			return
		}
	}
}

// TestAgainstModels does random operations on each policy and on its model: they evict the same keys in the same order,
// whatever is refused, whatever the sizes, and with ghosts that come back.
func TestAgainstModels(t *testing.T) {
	models := map[string]func() eviction.Policy[int]{
		"lru": func() eviction.Policy[int] { return &lruModel{} }, "s3-fifo": func() eviction.Policy[int] { return &s3Model{} },
	}
	for _, name := range policies {
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(seed, 11))
			p, m := eviction.New[int](name), models[name]()
			keys, pinned := 20+r.IntN(300), r.IntN(4) // of ten
			evictable := func(k int) bool { return (k*7+int(seed))%10 >= pinned }
			for step := range 1500 {
				key := r.IntN(keys)
				if r.IntN(3) == 0 {
					key = r.IntN(1 + keys/10) // a few are hot
				}
				switch r.IntN(9) {
				case 0, 1, 2, 3:
					bytes := r.Int64N(1 << 20)
					p.Add(key, bytes)
					m.Add(key, bytes)
				case 4, 5:
					p.Touch(key)
					m.Touch(key)
				case 6:
					p.Remove(key)
					m.Remove(key)
				default:
					got, ok := p.Evict(evictable)
					want, wantOK := m.Evict(evictable)
					if got != want || ok != wantOK {
						t.Fatalf("%s, seed %d, step %d: evicted %d, %v; the model %d, %v", name, seed, step, got, ok, want, wantOK)
					}
				}
				if p.Len() != m.Len() {
					t.Fatalf("%s, seed %d, step %d: %d keys, the model has %d", name, seed, step, p.Len(), m.Len())
				}
			}
		}
	}
}
