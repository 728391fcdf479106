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
			run:     runTxnGet(neighbours),
		},
		{
			name: "txn-128-put", about: "a Txn of 128 puts, 256 B each; an operation is a Txn",
			callers: []int{16},
			run:     runTxnPut(neighbours),
		},
		{
			name: "txn-128-get" + sameKeys, about: "the same of keys that 128 callers of the row get would read",
			callers: []int{2}, quick: []int{},
			prepare: fillKeys,
			run:     runTxnGet(asSingle),
		},
		{
			name: "txn-128-put" + sameKeys, about: "the same of keys that 128 callers of the row put would write",
			callers: []int{2}, quick: []int{},
			run: runTxnPut(asSingle),
		},
	}
}

// choice appends to batch the keys of a caller's Txn.
type choice func(batch, keys []string, caller, seq int) []string

// neighbours is txnSize neighbouring keys, or all where there are fewer.
func neighbours(batch, keys []string, caller, seq int) []string {
	if len(keys) <= txnSize {
		return append(batch, keys...)
	}
	at := pick(caller, seq, len(keys)-txnSize)
	return append(batch, keys[at:at+txnSize]...)
}

// asSingle is what txnSize callers of single keys choose, at the same seq. No two
// are the same while there are as many keys.
func asSingle(batch, keys []string, caller, seq int) []string {
	for i := range min(txnSize, len(keys)) {
		batch = append(batch, keys[pick(caller*txnSize+i, seq, len(keys))])
	}
	return batch
}

func runTxnGet(choose choice) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (figures, error) {
		keys := newKeys("key/", r.scale.Keys)
		return r.timed(ctx, func(caller int) operation {
			batch := make([]string, 0, txnSize)
			return operation{do: func(ctx context.Context, seq int) error {
				return r.load.txnGet(ctx, choose(batch, keys, caller, seq))
			}}
		})
	}
}

func runTxnPut(choose choice) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (figures, error) {
		keys := newKeys("key/", r.scale.Keys)
		v := newValue(valueSize)
		return r.timed(ctx, func(caller int) operation {
			batch := make([]string, 0, txnSize)
			return operation{do: func(ctx context.Context, seq int) error {
				return r.load.txnPut(ctx, choose(batch, keys, caller, seq), v)
			}}
		})
	}
}
