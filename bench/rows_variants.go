package main

import (
	"context"

	"silly.store/etcd"
)

// variantRows measure what namespaces and telemetry cost: our client with them, beside our
// client without them.
func variantRows() []row {
	shared := func(name, about, variant string) row {
		return row{
			name: name, about: about, variant: variant, coalesce: etcd.CoalesceReads,
			callers: []int{256}, quick: []int{}, prepare: fillKeys, run: runGet,
		}
	}
	return []row{
		{
			name: "namespace-get", about: "get in a namespace, beside get of the same keys without one",
			callers: []int{1, 256}, quick: []int{}, variant: insideName, coalesce: etcd.CoalesceOff,
			prepare: fillKeys, run: runGetInside,
		},
		{
			name: "namespace-put", about: "the same with put",
			callers: []int{1, 256}, quick: []int{}, variant: insideName, coalesce: etcd.CoalesceOff,
			run: runPutInside,
		},
		{
			name: "namespace-shared", about: "the same with get-coalesced",
			callers: []int{256}, quick: []int{}, variant: insideName, coalesce: etcd.CoalesceReads,
			prepare: fillKeys, run: runGetInside,
		},
		shared("hook-empty", "get-coalesced with Hooks.Call set to one that does nothing, beside ours without it", hookedName),
		shared("metrics", "get-coalesced with the metrics of package etcdprom, beside ours without them", metricsName),
		shared("metrics-otel", "the same with those of package etcdotel", metersName),
		shared("traces-sampled", "get-coalesced with traces of package etcdotel, of which one in a hundred is kept, beside ours without them", sampledName),
		shared("traces", "the same with all of them kept", tracedName),
	}
}

// keysInside are the keys of newKeys("key/", n) as the client names them.
func (r *round) keysInside() []string {
	if r.client == insideName {
		return newKeys("", r.scale.Keys)
	}
	return newKeys("key/", r.scale.Keys)
}

func runGetInside(ctx context.Context, r *round) (figures, error) {
	keys := r.keysInside()
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			return r.load.get(ctx, keys[pick(caller, seq, len(keys))])
		}}
	})
}

func runPutInside(ctx context.Context, r *round) (figures, error) {
	keys, v := r.keysInside(), newValue(valueSize)
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			return r.load.put(ctx, keys[pick(caller, seq, len(keys))], v)
		}}
	})
}
