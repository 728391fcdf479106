package main

import "context"

// sameKeys ends the names of the Txns whose keys are those of the rows get and put.
const sameKeys = "-same-keys"

// txnRows are Txns full to etcd's default limit, of neighbouring keys, which are
// the least work for a server, and of such as single calls choose: there 2 callers
// have as many operations under way as 256 callers of get or put.
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
			name: "txn-128-get" + sameKeys, about: "the same of keys that 128 callers of the row get would read",
			callers: []int{2}, quick: []int{},
			prepare: fillKeys,
			run:     runTxns(gets, asSingle),
		},
		{
			name: "txn-128-put" + sameKeys, about: "the same of keys that 128 callers of the row put would write",
			callers: []int{2}, quick: []int{},
			run: runTxns(puts, asSingle),
		},
	}
}

// txn is one Txn of the keys.
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

// asSingle puts side by side what neighbouring callers of single keys choose at the
// same time.
func asSingle(keys []string) []string {
	out := make([]string, len(keys))
	for caller := range out {
		out[caller] = keys[pick(caller, 0, len(keys))]
	}
	return out
}

// batch is txnSize keys side by side, or all where there are fewer.
func batch(keys []string, caller, seq int) []string {
	if len(keys) <= txnSize {
		return keys
	}
	at := pick(caller, seq, len(keys)-txnSize)
	return keys[at : at+txnSize]
}
