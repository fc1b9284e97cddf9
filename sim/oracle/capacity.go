package oracle

import "github.com/forebay/forebay/system/proto"

// Capacity guards C6 on the workers: no tier holds more than its capacity, at any moment that is looked at. A worker that
// has just begun is excused by its caller for recovering: what its disk has, an eviction that a crash undid included, is taken as
// it is, and the evictor catches up (tier.ForceReserve).
type Capacity struct{ Book *Book }

// Look judges one worker's tiers.
func (o Capacity) Look(worker string, tiers []*proto.TierInfo) {
	for _, t := range tiers {
		if t.UsedBytes > t.CapacityBytes || t.UsedBytes < 0 {
			o.Book.Violation("capacity", "worker %s: tier %s holds %d bytes of %d", worker, t.Name, t.UsedBytes, t.CapacityBytes)
		}
	}
}
