// Package balance owns the endpoints of a client: it connects to them when they
// are needed, remembers which have failed, and chooses one for each call. It
// knows connections, not messages.
//
// A [Set] has one lock, Set.mu, never held while dialing or waiting. The choice
// of a connection that is up takes no lock. Dials run in goroutines of their
// own, so that many callers share one and each waits only as long as its own
// context; Close cancels them and waits.
//
// # Not obvious
//
//   - Members are tended when a choice meets them. Dials and probes start there, in the
//     background, and the call goes on to another member; an idle client does neither.
//   - A member that is set aside comes back with a prompt answer or a probe, and not with
//     the late answer that set it aside. Otherwise a cluster that is slow as a whole would
//     come back again and again, to be hedged again: with all members aside nothing is.
//   - A probe is a linearizable read, so a member without a leader, a learner and a stuck
//     one all fail it, and one that only refuses writes passes: it relapses, and comes
//     back later each time.
//   - A connection that ends within a second counts as a failed dial only if it has
//     answered nothing. Otherwise a way that is cut again and again would be avoided for
//     longer than it takes to use it.
//   - A first call makes one connection. Up begins a dial and Pick joins it; a further lane
//     goes to the member that is up.
//   - After an outage, in which no member could be reached, all clients come back at once.
//     Each dials what it needs, and the other members over four seconds (outage.go).
//   - The lanes of a member that is down wait for one another: a failed dial of one puts
//     the others off too, so three lanes cost no more than one while it lasts.
//   - A new connection is checked with an empty Txn when there are several endpoints. A
//     member answers that from local state, with a header, also when it has no leader and
//     to a client without a name; Status would want a user.
//   - DNS is a member of the set that is never up ([Endpoint].Finder), last in order:
//     connecting to it asks for SRV records, so DNS is asked when there is nothing else or
//     nothing else can be reached, with the backoff of any endpoint.
//   - Ad-hoc members are those that calls name and the set has not: checked, connected to
//     and closed like members, never chosen, forgotten when unused and another one comes.
//   - The set looks a host up itself. net.Dialer takes the first address that accepts TCP,
//     and behind that one may be no member or a stopped one. A dial tries the next address
//     when the handshake or the check fails, or beside the first when that takes longer
//     than 300 ms. Addresses that failed go last for a minute.
//   - Behind one address there may be several members. When a connection is suspect and no
//     other member is fit, another one is dialed to the same address, with up to six
//     attempts beside each other, since a balancer may choose the same member again. Calls
//     wait for it only 150 ms, as for any member, and then use the suspect connection. That
//     one is drained once it is replaced: its late reads are hedged onto the new one, and
//     watches and renewals leave it.
//   - A member that answers PINGs and no requests has no suspect connection. When a request
//     behind the only address is late, its connection is probed, and without an answer
//     others are dialed and probed: only one that answers takes its place. So a cluster that
//     is slow as a whole keeps its connections, and costs ever fewer dials (doubt.go).
//   - A connection without a free stream is not drained when another one takes its place.
//     Watches and renewals hold its streams, and they leave a connection that drains. It
//     stays beside the new one and is used again when it has room.
//   - A proxy may end each connection after few requests, even after one. Connections that
//     brief are not checked for a minute after one was found good. One that served a call
//     and ended in good order is replaced without a pause, and a request refused by such
//     an end is sent again as often as it takes: each connection serves some request.
package balance
