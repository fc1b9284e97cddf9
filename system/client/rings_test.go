package client

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"testing"
	"weak"

	"google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

func encodedPlacement(t *testing.T, n int) []byte {
	t.Helper()
	p := &pb.Placement{}
	for i := range n {
		p.Workers = append(p.Workers, &pb.PlacedWorker{Id: fmt.Sprint("w", i), Address: fmt.Sprint("a:", i), CapacityBytes: int64(i)})
	}
	data, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRingsAreShared: equal placements give one ring, others another, and what nobody has any more is not remembered; the cache
// stays within its bound, and what is no placement is an error.
func TestRingsAreShared(t *testing.T) {
	c := ringCache{seed: maphash.MakeSeed(), known: make(map[uint64]weak.Pointer[sharedRing])}
	get := func(data []byte) *ring {
		t.Helper()
		r, err := c.get(data)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	data := encodedPlacement(t, 3)
	a := get(data)
	if w := a.workers[2]; len(a.workers) != 3 || w.ID != "w2" || w.Address != "a:2" || w.CapacityBytes() != 2 || !w.Live {
		t.Errorf("%+v", a.workers)
	}
	again := encodedPlacement(t, 3)
	data[len(data)-1]++ // the caller's bytes are the caller's
	if get(again) != a {
		t.Error("equal placements have two rings")
	}
	if get(data) == a {
		t.Error("another placement has the same ring")
	}
	if _, err := c.get([]byte{0xff}); !dfs.IsKind(err, dfs.Unknown) {
		t.Errorf("no placement: %v", err)
	}
	var kept []*ring
	for i := range 3 * maxRings {
		kept = append(kept, get(encodedPlacement(t, 10+i)))
	}
	if len(c.known) != maxRings {
		t.Errorf("%d rings are remembered, the bound is %d", len(c.known), maxRings)
	}
	runtime.KeepAlive(kept)
	kept = nil
	runtime.GC()
	get(encodedPlacement(t, 5))
	if len(c.known) > 3 {
		t.Errorf("%d rings are remembered that nobody has", len(c.known))
	}
	runtime.KeepAlive(a)
}
