// Package idempotent writes exactly once: a [Writer] finds out what happened to a
// transaction whose answer was lost, and no copy of it has an effect after that, however
// late it arrives.
//
//	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
//	…
//	result, err := w.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{
//		etcd.PutRequest{Key: "orders/7", Value: order},
//	}})
//
// [Writer.Txn] is for calls of one process. [Writer.Once] gives a write an ID, so that
// it is applied once even if another process, or the same one after a restart, repeats it.
//
// # How it works
//
// A Writer has lanes, each of which makes one write at a time. A lane is a key on the lease
// of the coordinator's session. Each write compares the mod revision of the lane's key with
// that of the lane's last write, and puts the key:
//
//	If   mod(lane) = revision of the write before
//	Then the write, Put(lane, number of the write and the branch taken)
//	Else Get(lane)
//
// The first copy of the request that etcd applies changes the key's mod revision, and a mod
// revision never comes back. So no other copy is applied, whether it arrives at once or
// after hours, even when the key is gone with its lease. The value that Else reads shows what
// happened to the write: its number means that the write was applied. When the key is gone, the
// key's history shows it. When the call's context ends before the outcome is known, the Writer
// puts the key in the background, which makes the copies in flight ineffective,
// and the lane takes the next write only after that.
//
// A refusal, such as a lease that does not exist, settles a write only as long as no earlier
// copy may have been applied. Otherwise the Writer first makes the earlier ones ineffective
// in the same way.
//
// Puts and deletions of single keys that callers make while two writes are in flight share the
// next one: one Txn on one lane, applied at one revision. When a shared write is refused, each
// caller repeats its part alone. Config.Alone turns sharing off.
//
// [Writer.Once] has its own key for each ID, the marker, in place of the lane. The
// marker's lease is granted with the ID's first use and is not renewed; when it has ended,
// the marker is gone, and copies of that use are refused because they put with that lease.
//
// # Costs
//
// A write takes one request, as a plain Txn does. The request and etcd's log grow by a
// compare and a put of the lane's key. A Txn that puts 10 bytes to a key of 9 is a message of
// 177 bytes instead of 27, and takes 263 bytes of the log instead of 110; one of [Writer.Once]
// with an ID of 9 bytes takes 159 and 247. Writes that share a Txn share that cost. Nothing
// accumulates in the store: a Writer has at most Config.Lanes keys, whose old values disappear with
// the next compaction. The first write of each lane takes one more request, and the first
// write on a coordinator grants the lease. A write of [Writer.Once] leaves its marker, about
// 200 bytes of etcd's memory, for Config.Keep, and every 256th takes one more request.
//
// # Limits
//
// etcd accepts 128 compares and 128 operations per Txn (--max-txn-ops). A Writer's Txn can
// have 127 operations, and with conditions 127 compares and 126 operations in each branch.
// Nested transactions have one less. A request with more fails with etcd.ErrTooManyOps.
//
// A write must not delete a range that contains the writer's own keys, which are below
// Config.Name: etcd refuses that with etcd.ErrDuplicateKey. If those keys are deleted by other
// means, the guarantee for the IDs of [Writer.Once] is lost; writes of [Writer.Txn] remain safe.
//
// With authentication, the user needs read and write permission below Config.Name.
//
// A cluster that is restored from a backup loses later writes, also those that were reported as
// applied.
package idempotent
