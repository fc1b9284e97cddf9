// Package eviction decides what a full cache gives up: pure, deterministic policies over keys and their sizes, without
// clocks, tasks or disks. The block store uses them on a worker; the simulator and trace runs use the same code.
package eviction

// Policy orders the keys of one tier. It is not safe for concurrent use: its owner's lock guards it. A key is added
// when its first bytes arrive and removed when its owner drops it by itself; Evict removes the key that it answers.
type Policy[K comparable] interface {
	// Add makes key known, or grows one that is, by bytes. Adding is not a use.
	Add(key K, bytes int64)
	// Touch notes a use. An unknown key is ignored.
	Touch(key K)
	// Remove forgets key, which its owner dropped for a reason of its own. An unknown key is ignored.
	Remove(key K)
	// Evict picks the next victim among those that evictable allows, and removes it. It is false when there is none. Keys
	// that are refused keep a place; every key is asked a bounded number of times.
	Evict(evictable func(K) bool) (K, bool)
	// Len is the number of keys.
	Len() int
}

// New makes the policy called name: "lru" or "s3-fifo" (the default, ""). It is nil for any other name.
func New[K comparable](name string) Policy[K] {
	switch name {
	case "", "s3-fifo":
		return NewS3FIFO[K]()
	case "lru":
		return NewLRU[K]()
	}
	return nil
}
