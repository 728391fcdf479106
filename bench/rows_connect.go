package main

import "context"

// connectRows returns the cost of a new client.
func connectRows() []row {
	return []row{{
		name: "connect", about: "a new client and its first Get; closing it counts as CPU, not as latency",
		callers: []int{1},
		prepare: fillKeys,
		run: func(ctx context.Context, r *round) (figures, error) {
			key := newKeys("key/", 1)[0]
			return r.timed(ctx, func(int) operation {
				var l load
				return operation{
					do: func(ctx context.Context, _ int) (err error) {
						if l, err = newLoad(r.client, r.coalesce); err != nil {
							return err
						}
						if err := l.open(r.target); err != nil {
							return err
						}
						return l.get(ctx, key)
					},
					after: func() error { return l.close() },
				}
			})
		},
	}}
}
