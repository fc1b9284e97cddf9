package scenario

import (
	"math/bits"
	"time"
)

// histogram counts durations in a bounded space: a hundred million operations take as much as a hundred. Each power of two
// of nanoseconds has subBuckets buckets of equal width, so that a quantile is told at most 1/64 (1.6 %) too long and never
// too short. What is longer than an hour counts as an hour.
type histogram struct {
	counts []uint64 // grows to the longest that came, 2,368 buckets at most
	total  uint64
	most   time.Duration // exactly
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
	longest    = time.Hour
)

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.most = max(h.most, d)
	i := bucketOf(uint64(min(d, longest)))
	if i >= len(h.counts) {
		h.counts = append(h.counts, make([]uint64, i+1-len(h.counts))...)
	}
	h.counts[i]++
	h.total++
}

// quantile is the duration below or at which the share q of all lies.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.total)), h.total-1)
	for i, n := range h.counts {
		if rank < n {
			return min(time.Duration(bucketEnd(i)), h.most)
		}
		rank -= n
	}
	return h.most
}

// bucketOf: values below subBuckets have a bucket each; of larger ones the leading subBits+1 bits choose.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// bucketEnd is the largest value in a bucket.
func bucketEnd(i int) uint64 {
	shift := max(i>>subBits-1, 0)
	return (uint64(i-shift<<subBits)+1)<<shift - 1
}
