package main

import (
	"math"
	"math/bits"
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

// histogram counts latencies in buckets of constant relative width. It is
// allocated before a round begins; record neither allocates nor locks, and each
// caller has its own histogram. Not safe for concurrent use.
type histogram struct {
	counts [histBuckets]uint32
	total  int64
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

func (h *histogram) record(d time.Duration) {
	h.counts[histIndex(int64(d))]++
	h.total++
}

func (h *histogram) add(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
}

func (h *histogram) reset() { *h = histogram{} }

// quantile returns the q-th quantile (0 to 1, nearest rank) in nanoseconds; 0 when
// nothing was recorded.
func (h *histogram) quantile(q float64) float64 {
	if h.total == 0 {
		return 0
	}
	rank := max(int64(math.Ceil(q*float64(h.total))), 1)
	var seen int64
	for i, n := range h.counts {
		seen += int64(n)
		if seen >= rank {
			return histValue(i)
		}
	}
	return histValue(histBuckets - 1)
}
