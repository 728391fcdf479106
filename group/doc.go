// Package group spreads a fixed number of partitions over the members of a group: each
// partition has one owner at a time, and there is no leader.
//
//	g, err := group.Join(ctx, co, group.Config{Name: "index", Partitions: 64, Member: "host-1"},
//		func(ctx context.Context, p *group.Partition) error {
//			return index(ctx, p.Index) // until ctx ends
//		})
//	if err != nil {
//		return err
//	}
//	defer g.Leave(ctx)
//
// # How it works
//
// A member is the holder of a mutex with its name. Every member follows who is there, and
// computes from that alone who is to own which partition; all come to the same result, and
// when a member joins or leaves, few partitions move. Each partition is a mutex too. Who is
// to own a partition locks it and calls the function. Who is no longer to own it ends
// the function's context, waits until the function has returned, and unlocks. So there
// are never two owners, whatever the members believe.
//
// Changes of the members take effect after Config.Settle, so that a restart of all processes
// does not move every partition several times.
//
// # What is safe
//
// The function's context ends before the partition's lock can be lost, see
// [concurrency.Lock.Context]. A process that was suspended for longer than its lease lives
// still believes that it owns its partitions when it wakes up: write with [Partition.Txn],
// which etcd refuses then, or give [Partition.Token] to the resource.
//
// # Keys
//
// All are below the name and "/": m/<member>/<lease> for a member, with the value
// "weight/partitions", and
// p/<partition>/<lease> for an owner and who waits. They are on the leases of the
// Coordinator; when a process dies, others have its partitions after their TTL and
// Config.Settle.
//
// # Costs
//
// A member that comes takes three requests for itself, one that goes takes one, and each partition
// that moves takes two: one that joins and leaves alone, with 16 partitions, 38 requests, which are messages of
// 5.5 KB together. While nothing changes, there are no requests but the renewals of the lease. Each
// member keeps a watch of the members, and one for each partition that it owns.
//
// # Limits
//
// Partitions are numbered from 0. Their number must be the same in all members, and be chosen
// at the beginning: with another number, the work of a partition is another one. At most 4,096.
// Join with another number than the members have fails with ErrConfigMismatch. To change the
// number, stop all members first, or use another name.
package group
