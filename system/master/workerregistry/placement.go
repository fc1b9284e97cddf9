package workerregistry

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"

	gproto "google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/proto"
)

// Placement is what clients place blocks by: who is live, where, and with what capacity. Thousands of clients ask for it and
// hardly ever is there anything new, so that it has a version, and is encoded once for all of them.
//
// INV-4: sum is the exclusive or of what every live worker counts for, a hash of its entry. So the version follows from the
// content alone: after a failover it is the old one again as soon as the same workers have registered, and clients need not
// fetch what they have.

// placement is the last one that was encoded.
type placement struct {
	version uint64
	encoded []byte
}

// place keeps sum in step with a worker that changed. r.mu is held.
func (r *Registry) place(w *worker) {
	now := uint64(0)
	if w.live {
		now = entryHash(w.info)
	}
	r.sum ^= w.placed ^ now
	w.placed = now
}

// unplace takes a worker out that is replaced or forgotten. r.mu is held.
func (r *Registry) unplace(w *worker) {
	r.sum ^= w.placed
	w.placed = 0
}

// entryHash is what a worker's entry counts for.
func entryHash(info *proto.WorkerInfo) uint64 {
	h := fnv.New64a()
	for _, part := range []string{info.Id, info.Address} { // with their lengths: no two entries run into each other
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		_, _ = h.Write([]byte(part)) // a hash never fails
	}
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(capacity(info))))
	x := h.Sum64()
	x ^= x >> 32 // FNV's high bits know little of the last bytes
	x *= 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// capacity is the room in all tiers that work.
func capacity(info *proto.WorkerInfo) (total int64) {
	for _, t := range info.Tiers {
		if !t.Failed {
			total += t.CapacityBytes
		}
	}
	return total
}

// Version is that of the placement now. It is never 0.
func (r *Registry) Version() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versionLocked()
}

func (r *Registry) versionLocked() uint64 { return max(r.sum, 1) }

// Placement is the encoded placement with its version. The bytes are shared: nobody changes them.
func (r *Registry) Placement() (version uint64, encoded []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.versionLocked(); r.last.version != v {
		r.last = placement{v, r.encode()}
	}
	return r.last.version, r.last.encoded
}

// encode lists the live workers by id. r.mu is held.
func (r *Registry) encode() []byte {
	m := &proto.Placement{}
	for _, w := range r.workers {
		if w.live {
			m.Workers = append(m.Workers, &proto.PlacedWorker{Id: w.info.Id, Address: w.info.Address, CapacityBytes: capacity(w.info)})
		}
	}
	slices.SortFunc(m.Workers, func(a, b *proto.PlacedWorker) int { return strings.Compare(a.Id, b.Id) })
	encoded, err := gproto.Marshal(m)
	if err != nil {
		panic(err) // ids and addresses came as text in messages
	}
	return encoded
}
