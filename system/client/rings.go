package client

import (
	"bytes"
	"hash/maphash"
	"sync"
	"weak"

	"google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// A placement of 3,000 workers is most of what an idle client remembers, and it is the same for all of them. Clients of one
// process (a gateway's users, the 30,000 of a simulated cluster) share it: a ring follows from the bytes alone and does not
// change, so that nobody can tell a shared one from one of his own.

// maxRings bounds the rings that are remembered for sharing; more clusters or versions than this at a time are not shared.
const maxRings = 64

// rings remembers the rings that some client of this process has, weakly: one that nobody has is freed.
var rings = ringCache{seed: maphash.MakeSeed(), known: make(map[uint64]weak.Pointer[sharedRing])}

type ringCache struct {
	seed  maphash.Seed
	mu    sync.Mutex // of memory only
	known map[uint64]weak.Pointer[sharedRing]
}

// sharedRing is a ring with the bytes that it was made of.
type sharedRing struct {
	ring
	encoded []byte
}

// get is the ring of an encoded placement. encoded is copied when it is kept. An error: it is no placement.
func (c *ringCache) get(encoded []byte) (*ring, error) {
	key := maphash.Bytes(c.seed, encoded)
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.known[key].Value(); have != nil && bytes.Equal(have.encoded, encoded) {
		return &have.ring, nil
	}
	var p pb.Placement
	if err := proto.Unmarshal(encoded, &p); err != nil {
		return nil, dfs.Errorf(dfs.Unknown, "list workers", "", "the master's answer is no placement (%v): see its log", err)
	}
	workers := make([]Worker, len(p.Workers))
	tiers := make([]Tier, len(p.Workers))
	for i, w := range p.Workers {
		tiers[i] = Tier{CapacityBytes: w.CapacityBytes}
		workers[i] = Worker{ID: dfs.WorkerID(w.Id), Address: w.Address, Live: true, Tiers: tiers[i : i+1]}
	}
	made := &sharedRing{*newRing(workers), bytes.Clone(encoded)}
	if len(c.known) >= maxRings {
		for key, p := range c.known {
			if p.Value() == nil {
				delete(c.known, key)
			}
		}
	}
	if len(c.known) < maxRings {
		c.known[key] = weak.Make(made)
	}
	return &made.ring, nil
}
