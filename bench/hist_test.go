package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBucketsAreNarrowAndOrdered(t *testing.T) {
	last := -1
	for ns := int64(0); ns < 1<<histMaxBits; ns += 1 + ns/500 {
		i := histIndex(ns)
		if i < last || i >= histBuckets {
			t.Fatalf("%d ns is in bucket %d after bucket %d of %d", ns, i, last, histBuckets)
		}
		last = i
		if off := math.Abs(histValue(i) - float64(ns)); off > 0.004*float64(ns) {
			t.Fatalf("%d ns reads as %.1f", ns, histValue(i))
		}
	}
	if i := histIndex(math.MaxInt64); i != histBuckets-1 {
		t.Errorf("the longest time is in bucket %d, want the last", i)
	}
	if i := histIndex(-1); i != 0 {
		t.Errorf("a negative time is in bucket %d, want 0", i)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a, b histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(math.Exp(rng.NormFloat64()*1.5+11)) + 50
		all = append(all, d)
		if i%3 == 0 {
			a.record(d)
		} else {
			b.record(d)
		}
	}
	a.add(&b)
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(all[max(int(math.Ceil(q*float64(len(all))))-1, 0)])
		if got := a.quantile(q); math.Abs(got-want) > 0.004*want {
			t.Errorf("quantile %v is %.0f, want %.0f", q, got, want)
		}
	}
	a.reset()
	if a.total() != 0 || a.quantile(0.5) != 0 {
		t.Errorf("after reset: %d recorded, median %v", a.total(), a.quantile(0.5))
	}
}
