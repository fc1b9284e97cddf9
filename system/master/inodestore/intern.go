package inodestore

import (
	"sync"
)

// internLimit bounds the shared names; more distinct users than this and the rest are copies.
const internLimit = 4096

var principals interner

// interner shares equal strings. Safe for concurrent use.
// Names are never let go: the bound is on their number, and they come from the cluster's users and groups.
type interner struct {
	mu     sync.RWMutex
	shared map[string]string
}

// intern gives a string equal to b. Only the first internLimit different ones are shared; beyond them it still answers
// right.
func (i *interner) intern(b []byte) string {
	i.mu.RLock()
	s, ok := i.shared[string(b)] // does not allocate
	i.mu.RUnlock()
	if ok {
		return s
	}
	s = string(b)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shared == nil {
		i.shared = make(map[string]string)
	}
	if len(i.shared) < internLimit {
		i.shared[s] = s
	}
	return s
}
