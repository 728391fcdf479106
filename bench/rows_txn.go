package main

import "context"

// sameKeys is the suffix of the Txn rows that use the keys of the rows get and put.
const sameKeys = "-same-keys"

// txnRows returns Txns full to etcd's default limit: with neighbouring keys, which
// cost the server least, and with the keys of single calls, where 2 callers have as
// many operations in flight as 256 callers of get or put.
func txnRows() []row {
	return []row{
		{
			name: "txn-128-get", about: "a Txn of 128 gets, 256 B each; an operation is a Txn",
			callers: []int{16},
			prepare: fillKeys,
			run:     runTxns(gets, neighbours),
		},
		{
			name: "txn-128-put", about: "a Txn of 128 puts, 256 B each; an operation is a Txn",
			callers: []int{16},
			run:     runTxns(puts, neighbours),
		},
		{
			name: "txn-128-get" + sameKeys, about: "the same with the keys that 128 callers of the row get would read",
			callers: []int{2}, quick: []int{},
			prepare: fillKeys,
			run:     runTxns(gets, asSingle),
		},
		{
			name: "txn-128-put" + sameKeys, about: "the same with the keys that 128 callers of the row put would write",
			callers: []int{2}, quick: []int{},
			run: runTxns(puts, asSingle),
		},
	}
}

// txn makes one Txn of the keys.
type txn func(ctx context.Context, keys []string) error

func gets(r *round) txn { return r.load.txnGet }

func puts(r *round) txn {
	v := newValue(valueSize)
	return func(ctx context.Context, keys []string) error { return r.load.txnPut(ctx, keys, v) }
}

func runTxns(kind func(*round) txn, order func(keys []string) []string) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (figures, error) {
		keys, do := order(newKeys("key/", r.scale.Keys)), kind(r)
		return r.timed(ctx, func(caller int) operation {
			return operation{do: func(ctx context.Context, seq int) error {
				return do(ctx, batch(keys, caller, seq))
			}}
		})
	}
}

// neighbours leaves the keys in their order.
func neighbours(keys []string) []string { return keys }

// asSingle orders the keys so that a batch holds those that callers of single keys
// choose at the same time.
func asSingle(keys []string) []string {
	out := make([]string, len(keys))
	for caller := range out {
		out[caller] = keys[pick(caller, 0, len(keys))]
	}
	return out
}

// batch returns txnSize adjacent keys, or all if there are fewer.
func batch(keys []string, caller, seq int) []string {
	if len(keys) <= txnSize {
		return keys
	}
	at := pick(caller, seq, len(keys)-txnSize)
	return keys[at : at+txnSize]
}
