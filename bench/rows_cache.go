package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// The figures of caches.
const (
	figKeyBytes   = "key_bytes"   // live heap per key, without the bytes of key and value
	figPeakRatio  = "peak_ratio"  // the largest heap while a cache is filled, by what is live afterwards
	figVisibleP50 = "visible_p50" // µs from the answer to a Put until a reader sees it
	figVisibleP99 = "visible_p99" // µs
	cachePrefix   = "cached/"
	elsewhere     = "elsewhere/key"
)

// reading is a client's way to read a prefix again and again: ours is a cache, client/v3's
// is a Get for each read, and a map that is filled by a Get and changed by a watch.
type reading interface {
	peek(ctx context.Context, key string) error
	linearizable(ctx context.Context, key string) error
	// change puts a pair and returns its revision.
	change(ctx context.Context, key string, v value) (int64, error)
	// visible waits until the local copy has a revision.
	visible(ctx context.Context, revision int64) error
	// len is how many keys the local copy has.
	len() int
	close()
}

// cacheRows measure reads from memory.
func cacheRows() []row {
	fill := func(ctx context.Context, l load, s scale) error {
		return fill(ctx, l, newKeys(cachePrefix, s.Keys), valueSize)
	}
	fillMany := func(ctx context.Context, l load, s scale) error {
		return fillAll(ctx, l, newKeys(cachePrefix, s.Cached), valueSize)
	}
	return []row{
		{
			name: "cache-peek", about: "a read from the cache of 10,000 keys, 256 B; client/v3 makes a Get",
			callers: []int{1, 16}, quick: []int{1}, prepare: fill, run: runPeek,
		},
		{
			name: "cache-linearizable", about: "a linearizable read of one of 10,000 keys through the cache; client/v3 makes a Get",
			callers: []int{1, 256}, quick: []int{256}, prepare: fill, run: runLinearizable(false),
		},
		{
			name: "cache-linearizable-busy", about: "the same while another key of the store changes all the time",
			callers: []int{1, 256}, quick: []int{256}, prepare: fill, run: runLinearizable(true),
		},
		{
			name: "cache-update", about: "a Put of one of 10,000 keys until a reader of the cache sees it; client/v3: of a map that a watch maintains; " + figVisibleP99 + " begins with the Put's answer",
			callers: []int{16}, quick: []int{}, prepare: fill, run: runUpdate,
		},
		{
			name: "cache-bootstrap", about: "a cache of 1,000,000 keys, 256 B, from New until Ready; client/v3: one Get into a map; an operation is a key",
			callers: []int{1}, quick: []int{}, prepare: fillMany, run: runBootstrap,
		},
		{
			name: "cache-memory", about: "the same; " + figKeyBytes + " is the live heap beyond the keys and values",
			callers: []int{1}, quick: []int{}, prepare: fillMany, run: runBootstrap,
		},
	}
}

// fillAll is fill by several goroutines, for a million keys.
func fillAll(ctx context.Context, l load, keys []string, size int) error {
	const workers = 8
	errs := make([]error, workers)
	var done sync.WaitGroup
	share := (len(keys) + workers - 1) / workers
	for i := range workers {
		done.Go(func() {
			from := min(i*share, len(keys))
			errs[i] = fill(ctx, l, keys[from:min(from+share, len(keys))], size)
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

// reading returns the one that all rounds share.
func (r *round) reading(ctx context.Context) (reading, error) {
	if rd, ok := r.state.(reading); ok {
		return rd, nil
	}
	rd, err := r.load.cached(ctx, cachePrefix)
	if err == nil {
		r.state = rd
	}
	return rd, err
}

func runPeek(ctx context.Context, r *round) (figures, error) {
	rd, err := r.reading(ctx)
	if err != nil {
		return nil, err
	}
	keys := newKeys(cachePrefix, r.scale.Keys)
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			return rd.peek(ctx, keys[pick(caller, seq, len(keys))])
		}}
	})
}

func runLinearizable(busy bool) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (out figures, err error) {
		rd, err := r.reading(ctx)
		if err != nil {
			return nil, err
		}
		if busy {
			stop := r.change(ctx)
			defer func() { err = errors.Join(err, stop()) }()
		}
		keys := newKeys(cachePrefix, r.scale.Keys)
		return r.timed(ctx, func(caller int) operation {
			return operation{do: func(ctx context.Context, seq int) error {
				return rd.linearizable(ctx, keys[pick(caller, seq, len(keys))])
			}}
		})
	}
}

// change has one caller put a key that is not in the cache, until the returned function is
// called.
func (r *round) change(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		v := newValue(valueSize)
		var err error
		for err == nil {
			err = r.load.put(ctx, elsewhere, v)
		}
		if ctx.Err() != nil {
			err = nil
		}
		ended <- err
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

func runUpdate(ctx context.Context, r *round) (figures, error) {
	rd, err := r.reading(ctx)
	if err != nil {
		return nil, err
	}
	keys, v := newKeys(cachePrefix, r.scale.Keys), newValue(valueSize)
	seen := new(histogram)
	out, err := r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			revision, err := rd.change(ctx, keys[pick(caller, seq, len(keys))], v)
			if err != nil {
				return err
			}
			answered := time.Now()
			err = rd.visible(ctx, revision)
			seen.record(time.Since(answered))
			return err
		}}
	})
	if err != nil {
		return nil, err
	}
	out[figVisibleP50], out[figVisibleP99] = seen.quantile(0.50)/1e3, seen.quantile(0.99)/1e3
	return out, nil
}

// runBootstrap fills one cache per round, however long the round is.
func runBootstrap(ctx context.Context, r *round) (figures, error) {
	before := float64(liveHeap())
	heap := watchHeap()
	var rd reading
	out, err := r.measure(func() (int64, error) {
		heap.reset()
		var err error
		if rd, err = r.load.cached(ctx, cachePrefix); err != nil {
			return 0, err
		}
		if n := rd.len(); n != r.scale.Cached {
			err = fmt.Errorf("the cache has %d keys, want %d", n, r.scale.Cached)
		}
		return int64(r.scale.Cached), err
	})
	peak := heap.stop()
	if rd != nil {
		defer rd.close()
	}
	if err != nil {
		return nil, err
	}
	live := float64(liveHeap()) - before
	n := r.scale.Cached
	out[figKeyBytes] = live/float64(n) - float64(len(newKeys(cachePrefix, 1)[0])+valueSize)
	out[figPeakRatio] = (float64(peak) - before) / live
	out[figPeakHeap] = float64(peak) / 1e6
	runtime.KeepAlive(rd)
	return out, nil
}
