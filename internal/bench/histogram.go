package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// subBits make 128 steps per power of two: a value is known to within 0.8 %.
const (
	subBits    = 7
	steps      = 1 << subBits
	maxShift   = 41 - subBits // largest value told apart: 2^41 ns, 36 minutes
	buckets    = steps*2 + maxShift*steps
	maxElapsed = time.Duration(1)<<41 - 1
)

// Histogram counts durations in buckets whose width grows with the value. It is
// safe for concurrent use; reading while others record gives a recent state.
type Histogram struct {
	counts [buckets]atomic.Int64
	max    atomic.Int64
}

// bucketOf is the bucket of a value. Values below 2*steps have one each; above,
// the leading subBits+1 bits of the value choose.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-(subBits+1), 0)
	return shift<<subBits + int(v>>shift)
}

// topOf is the largest value in a bucket.
func topOf(bucket int) uint64 {
	if bucket < 2*steps {
		return uint64(bucket)
	}
	shift := bucket>>subBits - 1
	return uint64(bucket-shift<<subBits+1)<<shift - 1
}

// Record counts d once; a negative d counts as 0, one beyond 36 minutes as that.
func (h *Histogram) Record(d time.Duration) {
	d = min(max(d, 0), maxElapsed)
	h.counts[bucketOf(uint64(d))].Add(1)
	for {
		m := h.max.Load()
		if int64(d) <= m || h.max.CompareAndSwap(m, int64(d)) {
			return
		}
	}
}

// Count is the number of values recorded.
func (h *Histogram) Count() int64 {
	var n int64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// Max is the largest value recorded, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// Quantile is the smallest value that at least the share q of all values do not
// exceed, rounded up by at most 0.8 %; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	rank := int64(q * float64(n))
	if float64(rank) < q*float64(n) {
		rank++
	}
	rank = min(max(rank, 1), n)
	var below int64
	for i := range h.counts {
		if below += h.counts[i].Load(); below >= rank {
			return min(time.Duration(topOf(i)), h.Max())
		}
	}
	return h.Max()
}
