// Package idempotent writes exactly once: a [Writer] finds out what became of a
// transaction whose answer was lost, and no copy of it has an effect after that, however
// late it arrives.
//
//	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
//	…
//	result, err := w.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{
//		etcd.PutRequest{Key: "orders/7", Value: order},
//	}})
//
// [Writer.Txn] is for the calls of one process. [Writer.Once] gives a write an ID, so that
// it is applied once also when another process, or the same one after a restart, makes it
// again.
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
// after hours, and also not when the key is gone with its lease. What Else reads tells what
// became of the write: its number means that it was applied. When the key is gone, the
// key's history tells. When the call's context ends before anything is known, the Writer
// puts the key in the background, which makes the copies that are under way ineffective,
// and the lane takes the next write only after that.
//
// A refusal, such as a lease that does not exist, settles a write only as long as no earlier
// copy may have been applied. Otherwise the Writer first makes the earlier ones ineffective
// in the same way.
//
// Puts and deletions of single keys that callers make while two writes are under way share the
// next one: one Txn on one lane, applied at one revision. A shared write that is refused is
// made again by each of them alone. Config.Alone turns that off.
//
// [Writer.Once] has its own key for each ID, the marker, in place of the lane. The
// marker's lease is granted with the ID's first use and is not renewed; when it has ended,
// the marker is gone, and copies of that use are refused because they put with that lease.
//
// # Costs
//
// A write takes one request, as a plain Txn does. The request and etcd's log grow by a
// compare and a put of the lane's key. A Txn that puts 10 bytes to a key of 9 is a message of
// 177 bytes in place of 27, and takes 263 bytes of the log in place of 110; one of [Writer.Once]
// with an ID of 9 bytes 159 and 247. Writes that share a Txn share that. Nothing
// accumulates in the store: a Writer has Config.Lanes keys at most, whose old values go with
// the next compaction. The first write of each lane takes one request more, and the first
// one of a coordinator grants the lease. A write of [Writer.Once] leaves its marker, about
// 200 bytes of etcd's memory, for Config.Keep, and every 256th one takes one request more.
//
// # Limits
//
// etcd accepts 128 compares and 128 operations per Txn (--max-txn-ops). A Writer's Txn can
// have 127 operations, and with conditions 127 compares and 126 operations in each branch.
// Nested transactions have one less. A request with more fails with etcd.ErrTooManyOps.
//
// A range that a write deletes must not contain the writer's own keys, which are below
// Config.Name: etcd refuses it with etcd.ErrDuplicateKey. Whoever deletes those keys by other
// means ends the guarantee for the IDs of [Writer.Once]; writes of [Writer.Txn] remain safe.
//
// With authentication, the user needs read and write permission below Config.Name.
//
// A cluster that is restored from a backup forgets writes that were reported as applied, as
// it forgets every other.
package idempotent
