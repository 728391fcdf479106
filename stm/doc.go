// Package stm runs a function as a transaction: what it reads and writes happens at one
// moment, as if no other client were there (software transactional memory).
//
//	_, err := stm.Run(ctx, c, stm.Config{}, func(tx *stm.Tx) error {
//		from, _, err := tx.Get("accounts/a")
//		if err != nil {
//			return err
//		}
//		…
//		return tx.Put(etcd.PutRequest{Key: "accounts/a", Value: less})
//	})
//
// [Update] is the short form for a single key.
//
// # How it works
//
// The first read is linearizable, and its revision holds for all reads that follow:
// the function sees one state of the store. Its writes are kept until it returns. Then
// one Txn compares everything that was read and applies the writes. When another client
// has changed something meanwhile, the same Txn answers with the present state instead,
// and the function runs again on that: a conflict costs no further read.
//
// A transaction is strictly serializable: it takes effect at one moment between the
// call and the return of Run. Ranges are part of that. A key that another client adds to
// a range, deletes from it or changes in it is a conflict.
//
// # Limits
//
// etcd accepts 128 compares and 128 operations per Txn (--max-txn-ops). A key that is
// read takes one compare, a range takes one and one more for each of its keys, and a
// write takes one operation; with a Writer it is 127 compares and 126 operations. Beyond the limit Run fails with etcd.ErrTooManyOps.
//
// # Costs
//
// One round trip per read of the first attempt, one for the commit, and one per
// conflict. Transactions that only read do not commit. One that reads and puts two keys of 9
// bytes takes three requests, together of 145 bytes with values of 10, and with a Writer 360.
//
// Under load the reads and commits of one client's transactions share requests. Transactions
// that change the same keys at the same time take turns, and have one commit; see
// [Config.Alone] for what watches see of that. Those of different clients make
// each other run again, and pause from the third conflict on. Where every process changes one
// key all the time, a lock or package sequence does better.
//
// With [Config.Writer] a commit is a write of package idempotent, with what that costs, and
// is made exactly once.
package stm
