package main

import (
	"context"

	"silly.store/etcd"
)

// coalesceRows returns single gets and puts whose callers share requests. client/v3
// and our plain client do the same work with one request per operation.
func coalesceRows() []row {
	return []row{
		{
			name: "get-coalesced", about: "get with our client at its default, CoalesceReads",
			callers: []int{1, 16, 256}, quick: []int{256},
			coalesce: etcd.CoalesceReads, plain: true, explicit: "txn-128-get",
			prepare: fillKeys,
			run:     runGet,
		},
		{
			name: "put-coalesced", about: "put, ours with CoalesceAll",
			callers: []int{1, 16, 256}, quick: []int{256},
			coalesce: etcd.CoalesceAll, plain: true, explicit: "txn-128-put",
			run: runPut,
		},
		{
			name: "mixed-coalesced", about: "nine Gets per Put, ours with CoalesceAll",
			callers:  []int{256},
			coalesce: etcd.CoalesceAll, plain: true,
			prepare: fillKeys,
			run:     runMixed,
		},
	}
}

// runMixed makes every tenth operation of a caller a Put; at any time about a tenth
// of the callers put.
func runMixed(ctx context.Context, r *round) (figures, error) {
	keys := newKeys("key/", r.scale.Keys)
	v := newValue(valueSize)
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			key := keys[pick(caller, seq, len(keys))]
			if (caller+seq)%10 == 0 {
				return r.load.put(ctx, key, v)
			}
			return r.load.get(ctx, key)
		}}
	})
}
