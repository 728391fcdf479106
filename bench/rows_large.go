package main

import (
	"context"

	"silly.store/etcd"
)

// The figures of large values, besides the common ones.
const (
	figMB       = "mb_s"          // MB of values per second
	figCPUPerMB = "client_cpu_mb" // µs of client CPU per MB
)

// largeKeys is how many large values there are.
const largeKeys = 64

// largeRows move values that dwarf their requests.
func largeRows() []row {
	const kilobytes = 1000
	rows := func(size int, suffix, about string) []row {
		return []row{
			{
				name: "large-get" + suffix, about: "Get of a value of " + about + "; ours with CoalesceOff", callers: []int{16}, quick: []int{},
				coalesce: etcd.CoalesceOff,
				prepare: func(ctx context.Context, l load, _ scale) error {
					v := newValue(size)
					for _, key := range newKeys("large/", largeKeys) {
						if err := l.put(ctx, key, v); err != nil {
							return err
						}
					}
					return nil
				},
				run: func(ctx context.Context, r *round) (figures, error) {
					return r.large(ctx, size, func(ctx context.Context, key string, _ value) error { return r.load.get(ctx, key) })
				},
			},
			{
				name: "large-put" + suffix, about: "Put of a value of " + about, callers: []int{16}, quick: []int{},
				coalesce: etcd.CoalesceOff,
				run: func(ctx context.Context, r *round) (figures, error) {
					return r.large(ctx, size, r.load.put)
				},
			},
		}
	}
	return append(rows(100*kilobytes, "", "100 KB"), rows(1000*kilobytes, "-1m", "1 MB")...)
}

// large times do over values of a size.
func (r *round) large(ctx context.Context, size int, do func(ctx context.Context, key string, v value) error) (figures, error) {
	keys, v := newKeys("large/", largeKeys), newValue(size)
	heap := watchHeap()
	out, err := r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error {
			return do(ctx, keys[pick(caller, seq, len(keys))], v)
		}}
	})
	peak := heap.stop()
	if err != nil {
		return nil, err
	}
	megabytes := float64(size) / 1e6
	out[figMB] = out[figOps] * megabytes
	out[figPeakHeap] = float64(peak) / 1e6
	if cpu, ok := out[figClientCPU]; ok {
		out[figCPUPerMB] = cpu / megabytes
	}
	return out, nil
}
