package main

import "context"

// txnRows are Txns full to etcd's default limit.
func txnRows() []row {
	return []row{
		{
			name: "txn-128-get", about: "a Txn of 128 gets, 256 B each; an operation is a Txn",
			callers: []int{16},
			prepare: fillKeys,
			run: func(ctx context.Context, r *round) (figures, error) {
				keys := newKeys("key/", r.scale.Keys)
				return r.timed(ctx, func(caller int) operation {
					return operation{do: func(ctx context.Context, seq int) error {
						return r.load.txnGet(ctx, batch(keys, caller, seq))
					}}
				})
			},
		},
		{
			name: "txn-128-put", about: "a Txn of 128 puts, 256 B each; an operation is a Txn",
			callers: []int{16},
			run: func(ctx context.Context, r *round) (figures, error) {
				keys := newKeys("key/", r.scale.Keys)
				v := newValue(valueSize)
				return r.timed(ctx, func(caller int) operation {
					return operation{do: func(ctx context.Context, seq int) error {
						return r.load.txnPut(ctx, batch(keys, caller, seq), v)
					}}
				})
			},
		},
	}
}

// batch is txnSize neighbouring keys, or all where there are fewer.
func batch(keys []string, caller, seq int) []string {
	if len(keys) <= txnSize {
		return keys
	}
	at := pick(caller, seq, len(keys)-txnSize)
	return keys[at : at+txnSize]
}
