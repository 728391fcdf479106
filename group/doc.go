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
// A member holds a mutex with its name. Every member follows the list of members and
// computes from that alone which member should own which partition. All come to the same
// result, and when a member joins or leaves, few partitions move. Each partition is a mutex too.
// Its new owner locks it and calls the function. The old owner ends the function's context, waits
// until the function has returned, and unlocks. So a partition never has two owners, whatever the
// members believe.
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
// "weight/partitions", and p/<partition>/<lease> for an owner and for each waiting member. They
// are on the leases of the Coordinator: when a process dies, other members own its partitions
// after the TTL and Config.Settle.
//
// # Costs
//
// A member takes three requests to join, one to leave, and two for each partition that moves: a
// single member with 16 partitions takes 38 requests to join and leave, with messages of 5.5 KB in
// total. While nothing changes, only the lease is renewed. Each member keeps a watch of the members,
// and one for each partition that it owns.
//
// # Limits
//
// Partitions are numbered from 0. There are at most 4,096, and their number must be the same in
// all members. Choose it at the beginning: with a different number, a partition stands for
// different work. Join fails with ErrConfigMismatch if the number differs from that of the members.
// To change the number, stop all members first, or use another name.
package group
