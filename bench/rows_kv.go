package main

import (
	"context"
	"fmt"
	"sync"

	"silly.store/etcd"
)

const (
	valueSize = 256 // bytes of a value, except in range-iter
	txnSize   = 128 // operations of a Txn; etcd's default limit
)

// kvRows returns single gets and puts: each is its own request, and its caller
// waits for it.
func kvRows() []row {
	return []row{
		{
			name: "get", about: "linearizable Get of one key, 256 B; ours with CoalesceOff",
			callers:  []int{1, 16, 256},
			coalesce: etcd.CoalesceOff,
			prepare:  fillKeys,
			run:      runGet,
		},
		{
			name: "put", about: "Put of one key, 256 B; ours with CoalesceOff; the server's fsync is off",
			callers:  []int{1, 16, 256},
			coalesce: etcd.CoalesceOff,
			run:      runPut,
		},
		{
			name: "put-fsync", about: "the same with the server's fsync on",
			callers:  []int{1, 256},
			coalesce: etcd.CoalesceOff,
			server:   serverOptions{fsync: true},
			run:      runPut,
		},
	}
}

func runGet(ctx context.Context, r *round) (figures, error) {
	keys := newKeys("key/", r.scale.Keys)
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			return r.load.get(ctx, keys[pick(caller, seq, len(keys))])
		}}
	})
}

func runPut(ctx context.Context, r *round) (figures, error) {
	keys := newKeys("key/", r.scale.Keys)
	v := newValue(valueSize)
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			return r.load.put(ctx, keys[pick(caller, seq, len(keys))], v)
		}}
	})
}

// pick walks the n keys in an order that is the same for both clients and
// differs between callers.
func pick(caller, seq, n int) int {
	return (caller*7919 + seq*104_729) % n
}

func fillKeys(ctx context.Context, l load, s scale) error {
	return fill(ctx, l, newKeys("key/", s.Keys), valueSize)
}

// fill writes the keys, txnSize at a time, from a few goroutines.
func fill(ctx context.Context, l load, keys []string, size int) error {
	const writers = 8
	v := newValue(size)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for at := w * txnSize; at < len(keys); at += writers * txnSize {
				if err := l.txnPut(ctx, keys[at:min(at+txnSize, len(keys))], v); err != nil {
					cancel(fmt.Errorf("filling the server: %w", err))
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
