// Package sequence hands out unique numbers: order numbers, ticket numbers, shard IDs. Its
// [Counter] is a number to which each addition is made exactly once.
//
//	orders, err := sequence.New(c, sequence.Config{Name: "sequences/orders"})
//	…
//	id, err := orders.Next(ctx)
//
// # How it works
//
// etcd counts the puts of a key since its creation, its version. Each put of the
// sequence's key takes the next block of numbers: the version before the put says which.
// The Txn compares nothing that other clients change, so there are no conflicts, and any
// number of clients and callers take blocks with one round trip each. The callers of one
// [Sequence] share a block.
//
// # Costs
//
// A block takes one request, a message of 82 bytes and 170 bytes of etcd's log with a name of 7.
// [Counter.Add] takes one request of 263 bytes while no other process adds, and one more when it
// does not know the value. The store keeps one key for each name.
//
// # What is promised
//
// Each number goes to one caller only, whatever fails. Within one Sequence numbers grow.
// There are gaps: the rest of a block is lost when the program ends, and a whole block
// when the answer to its request is lost.
//
// The promise holds as long as the key exists. Deleting it, or restoring the cluster
// from a backup, makes the numbers start again from the version that is left. A Sequence that
// notices returns ErrReset from then on; one that is made afterwards cannot notice.
package sequence
