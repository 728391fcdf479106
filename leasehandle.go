package etcd

import (
	"context"
	"sync/atomic"
	"time"
)

// Lease is a lease that this client knows: one of [Client.Grant] or
// [Client.Adopt]. Its methods may be called concurrently. There is nothing to
// release: it ends when it is revoked or lost, or with the client. One that is to
// be left to others, or to expire, is renewed until [Lease.StopKeepAlive].
type Lease struct {
	// Header is of the answer that granted the lease, or of the renewal that
	// adopted it.
	Header ResponseHeader
	ID     LeaseID
	// TTL is the TTL as the server has granted it.
	TTL time.Duration

	keeper *keeper
	ended  atomic.Pointer[Error]

	// The fields below are guarded by keeper.mu once the keeper has the lease.
	// Times are leaseClock's.

	life     context.Context         // ends with it; made when first asked for
	end      context.CancelCauseFunc // of life
	sent     int64                   // when the last renewal that succeeded was sent
	lastSend int64                   // when the last renewal was sent
	next     int64                   // when the next one is due
	ttl      int64                   // as the last answer has it
	lastErr  *Error                  // of its last renewal, when that failed by its own fault
	heap     *leaseHeap
	place    int32 // in heap
	keepers  int32 // how many want it renewed: Grant and Adopt less StopKeepAlive
	revoking int16 // calls of Revoke under way
	failures uint8 // in a row while alone
	alone    bool  // in quarantine: only renewed on a stream of its own
	gone     bool  // the server does not know it, but we may be who revoked it
}

// Done is closed when the lease is over; [Lease.Err] then says why. A lease that
// cannot be renewed is over at [Lease.Deadline], before the server lets it expire,
// unless the process itself was stopped at that time.
//
// A lease that is ended elsewhere is different: its keys are gone first, and the
// next renewal tells, usually within a third of the TTL. Somebody may revoke it. So
// may an etcd member that was the leader and did not run for longer than the TTL:
// when it runs again it can revoke what the next leader has renewed (seen with
// etcd 3.7). No client can foresee that. Where two holders at a time do harm, guard
// writes with a compare in their Txn.
func (l *Lease) Done() <-chan struct{} { return l.lifetime().Done() }

// lifetime is a context that ends with the lease.
func (l *Lease) lifetime() context.Context {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.life == nil {
		l.life, l.end = context.WithCancelCause(context.Background())
		if reason := l.ended.Load(); reason != nil {
			l.end(reason)
		}
	}
	return l.life
}

// Context is a child of parent that ends with the lease too, for work that may
// only be done while the lease lives. [context.Cause] is then what [Lease.Err]
// returns. Call cancel when the work is done, as with [context.WithCancel].
//
// It ends at [Lease.Deadline] at the latest, which tells nothing of what the
// server does meanwhile with a request that has been sent: guard writes that must
// not come late with a compare in their Txn.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	if parent == nil {
		ctx, end := context.WithCancelCause(context.Background())
		end(invalid("Lease.Context", errNilContext))
		return ctx, func() {}
	}
	life := l.lifetime()
	ctx, end := context.WithCancelCause(parent)
	if life.Err() != nil {
		end(context.Cause(life))
	}
	stop := context.AfterFunc(life, func() { end(context.Cause(life)) })
	return ctx, func() {
		stop()
		end(nil)
	}
}

// Revoke ends the lease and deletes the keys on it, as [Client.Revoke] does.
//
// Errors: ErrLeaseNotFound when the server does not know it any more, and those
// of every call. The lease may have been revoked if [MaybeApplied] says so; as
// long as a Revoke fails the lease is kept alive.
//
// etcd: Lease/LeaseRevoke (since 3.0)
func (l *Lease) Revoke(ctx context.Context) error {
	_, err := l.keeper.c.Revoke(ctx, RevokeRequest{ID: l.ID})
	return err
}

// StopKeepAlive leaves the lease to itself: it is renewed no longer and lives out
// its TTL, unless it is revoked, or renewed by somebody else or with
// [Client.KeepAliveOnce]. A renewal that is under way may still come. The lease
// then ends with ErrLeaseExpired, at [Lease.Deadline]; until then [Client.Adopt]
// takes it up again. To end a lease at once, revoke it.
//
// A lease that was adopted n times after its Grant is kept alive until StopKeepAlive
// has been called as often as both together, so that users who know nothing of one
// another can share a lease. Calls beyond that do nothing.
func (l *Lease) StopKeepAlive() { l.keeper.leave(l) }

// Err is nil as long as the lease lives, and then tells why it is over. errors.Is
// finds one of
//
//   - ErrLeaseRevoked: this client has revoked it.
//   - ErrLeaseExpired: the server knows it no longer: it expired, or somebody
//     else has revoked it. Also when one that is not kept alive (NoKeepAlive,
//     [Lease.StopKeepAlive]) was not renewed.
//   - ErrLeaseNotRenewed: no renewal has succeeded until [Lease.Deadline]. What
//     the last try failed with is found too: ErrUnavailable, ErrNoLeader,
//     ErrPermissionDenied, ErrUnauthenticated and so on.
//   - ErrClosed: the client was closed. The server lets the lease live out its TTL.
func (l *Lease) Err() error {
	if err := l.ended.Load(); err != nil {
		return err
	}
	return nil
}

// Deadline is until when the lease lives unless it is revoked, by somebody or by a
// former leader, see [Lease.Done]: its TTL after the last renewal that succeeded was
// sent. Renewals move it. It is when the lease is given up if they do not.
func (l *Lease) Deadline() time.Time {
	k := l.keeper
	k.mu.Lock()
	left := l.deadlineLocked() - k.clock.now()
	k.mu.Unlock()
	return time.Now().Add(time.Duration(left))
}

// clockDrift is the part of a TTL by which the server's clock may run faster than
// ours: one in a thousand.
const clockDrift = 1000

func (l *Lease) deadlineLocked() int64 { return l.sent + l.ttl - l.ttl/clockDrift }

// wakeLocked is when the keeper has to look at the lease.
func (l *Lease) wakeLocked() int64 {
	if l.keepers == 0 {
		return l.deadlineLocked()
	}
	return min(l.next, l.deadlineLocked())
}
