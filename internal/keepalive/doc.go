// Package keepalive renews leases until they are revoked, lost or released.
//
// The Keeper (keeper.go) holds every lease as an Entry (entry.go) and decides when
// to renew it and when it has ended. Due renewals wait in a pool (pool.go) for one
// of its streams (stream.go). once.go makes single renewals over the same streams,
// and outgoing.go collects the messages of one step of the keeper. A heap (heap.go)
// orders leases by time, on a clock that counts the machine's sleep (clock.go).
// notify.go reports renewals and lost leases.
//
// Keeper.mu guards all of this. Only Keeper.lock and Keeper.unlock touch it,
// because unlock also reports what happened meanwhile. It is never held across
// anything that blocks.
//
// # Not obvious
//
//   - Renewals go out at ticks, which divide a third of the shortest TTL evenly, so that a
//     lease is renewed after a third of its TTL and many renewals share one write. One in
//     sixteen goes a tick earlier, which spreads out leases that an outage has
//     synchronized.
//   - A lease's deadline is its TTL after the renewal was sent, less a thousandth of the
//     TTL for clocks that differ, on a clock that counts the machine's sleep.
//   - The silence of its streams reveals a stuck member. If the first renewal on a stream
//     is unanswered for a second or a sixth of the shortest TTL, all renewals of that
//     stream move elsewhere, and other streams to that member take no renewals until they
//     answer. The blamed lease avoids the member too, because its pool respects what the
//     other pool avoids. The member is not set aside, because the lease may be to blame:
//     etcd answers nothing on a stream while it waits for the deletion of an expired lease.
//   - A renewal stream answers in order and ends at the first lease that fails. The failure
//     belongs to the first unanswered renewal, whose lease is then renewed alone
//     (quarantine).
//   - A leader that was suspended may revoke live leases. After a SIGSTOP for longer than
//     the TTL and a SIGCONT, etcd 3.7.3 considers every lease expired by its own clock. It
//     checks that it still leads only if its last tick is older than three ticks, once per
//     batch. Revocations that it proposes as a follower are forwarded and applied. Those
//     that it proposed as a leader, 16 at a time, are lost; when they time out (7 s by
//     default) the rest of the batch is forwarded. In six trials it deleted 12 to 56 leases
//     of this client that had 4 to 6 s left, and in three of the trials leases of
//     go.etcd.io/etcd/client/v3; the former leader counted the revocations. A client can
//     only notice soon: the next renewal is answered "not found"
//     (TestFormerLeaderRevokesLeases).
package keepalive
