package main

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Each power of two of nanoseconds is cut into 128 buckets, so that a latency is
// off by less than 0.4 %. Times above 2^40 ns (18 minutes) share the last bucket.
const (
	histSubBits = 7
	histSub     = 1 << histSubBits
	histMaxBits = 40
	histBuckets = (histMaxBits - histSubBits + 1) * histSub
)

// histogram counts latencies in buckets of constant relative width. It is allocated before a
// round begins; record neither allocates nor locks. Safe for concurrent use, apart from reset.
type histogram struct {
	counts [histBuckets]atomic.Uint32
}

func histIndex(ns int64) int {
	if ns < 0 {
		ns = 0
	}
	if ns >= 1<<histMaxBits {
		return histBuckets - 1
	}
	v := uint64(ns)
	if v < histSub {
		return int(v)
	}
	shift := bits.Len64(v) - histSubBits - 1
	return shift*histSub + int(v>>shift)
}

// histValue returns the middle of a bucket in nanoseconds.
func histValue(index int) float64 {
	if index < 2*histSub {
		return float64(index)
	}
	shift := index/histSub - 1
	low := uint64(index-shift*histSub) << shift
	return float64(low) + float64(uint64(1)<<shift)/2
}

func (h *histogram) record(d time.Duration) { h.counts[histIndex(int64(d))].Add(1) }

func (h *histogram) add(o *histogram) {
	for i := range o.counts {
		h.counts[i].Add(o.counts[i].Load())
	}
}

func (h *histogram) reset() { *h = histogram{} }

// total returns how many latencies were recorded.
func (h *histogram) total() int64 {
	var sum int64
	for i := range h.counts {
		sum += int64(h.counts[i].Load())
	}
	return sum
}

// quantile returns the q-th quantile (0 to 1, nearest rank) in nanoseconds; 0 when
// nothing was recorded.
func (h *histogram) quantile(q float64) float64 {
	total := h.total()
	if total == 0 {
		return 0
	}
	rank := max(int64(math.Ceil(q*float64(total))), 1)
	var seen int64
	for i := range h.counts {
		seen += int64(h.counts[i].Load())
		if seen >= rank {
			return histValue(i)
		}
	}
	return histValue(histBuckets - 1)
}
