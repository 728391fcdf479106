package main

import (
	"context"
	"runtime/metrics"
	"sync"
	"time"
)

// iterValueSize is the value of range-iter's pairs in bytes.
const iterValueSize = 100

// figPeakHeap is the peak of the heap in use (live and unswept objects) during a
// round, in MB of 10^6 bytes.
const figPeakHeap = "peak_heap_mb"

// rangeRows returns large reads.
func rangeRows() []row {
	return []row{
		{
			name: "range-100k", about: "one unary Get of 100,000 pairs, 256 B each",
			callers: []int{1},
			prepare: func(ctx context.Context, l load, s scale) error {
				return fill(ctx, l, newKeys("range/", s.RangePairs), valueSize)
			},
			run: func(ctx context.Context, r *round) (figures, error) {
				return r.timed(ctx, func(int) operation {
					return operation{
						least: 2, // one takes about as long as a round of -quick
						do: func(ctx context.Context, _ int) error {
							return r.load.getAll(ctx, "range/", r.scale.RangePairs)
						},
					}
				})
			},
		},
		{
			name: "range-iter", about: "a walk over 500,000 pairs (-quick: 50,000), 100 B each, with the streaming read; an operation is a pair",
			callers: []int{1},
			prepare: func(ctx context.Context, l load, s scale) error {
				return fill(ctx, l, newKeys("range/", s.IterPairs), iterValueSize)
			},
			run: runWalk,
		},
	}
}

// runWalk does one walk per round, however long the round is.
func runWalk(ctx context.Context, r *round) (figures, error) {
	heap := watchHeap()
	out, err := r.measure(func() (int64, error) {
		heap.reset()
		pairs := 0
		err := r.load.walk(ctx, "range/", r.scale.IterPairs, func() {
			if pairs%1000 == 0 {
				heap.read()
			}
			pairs++
		})
		return int64(pairs), err
	})
	peak := heap.stop()
	if err != nil {
		return nil, err
	}
	out[figPeakHeap] = float64(peak) / 1e6
	return out, nil
}

// heapWatch samples the heap from its own goroutine and at every call of read.
// Safe for concurrent use.
type heapWatch struct {
	quit    chan struct{}
	stopped sync.WaitGroup

	mu     sync.Mutex // protects the fields below
	sample []metrics.Sample
	peak   uint64
}

func watchHeap() *heapWatch {
	h := &heapWatch{
		quit:   make(chan struct{}),
		sample: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}},
	}
	h.stopped.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-h.quit:
				return
			case <-tick.C:
				h.read()
			}
		}
	})
	return h
}

func (h *heapWatch) read() {
	h.mu.Lock()
	defer h.mu.Unlock()
	metrics.Read(h.sample)
	h.peak = max(h.peak, h.sample[0].Value.Uint64())
}

func (h *heapWatch) reset() {
	h.mu.Lock()
	h.peak = 0
	h.mu.Unlock()
}

// stop returns the peak since reset in bytes.
func (h *heapWatch) stop() uint64 {
	close(h.quit)
	h.stopped.Wait()
	h.read()
	return h.peak
}
