package etcd

import (
	"sync/atomic"
	"time"
)

// Lease is a lease that this client knows: one of [Client.Grant] or
// [Client.Adopt]. Its methods may be called concurrently. There is nothing to
// release: it ends when it is revoked or lost, or with the client.
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

	done     chan struct{} // made when first asked for
	sent     int64         // when the last renewal that succeeded was sent
	lastSend int64         // when the last renewal was sent
	next     int64         // when the next one is due
	ttl      int64         // as the last answer has it
	lastErr  *Error        // of its last renewal, when that failed by its own fault
	heap     *leaseHeap
	place    int32 // in heap
	revoking int16 // calls of Revoke under way
	failures uint8 // in a row while alone
	manual   bool  // NoKeepAlive
	alone    bool  // in quarantine: only renewed on a stream of its own
	gone     bool  // the server does not know it, but we may be who revoked it
}

// Done is closed when the lease is over; [Lease.Err] then says why. That is never
// later than the server can delete the lease and its keys, unless the process
// itself was stopped at that time.
func (l *Lease) Done() <-chan struct{} {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
	}
	return l.done
}

// Err is nil as long as the lease lives, and then tells why it is over. errors.Is
// finds one of
//
//   - ErrLeaseRevoked: this client has revoked it.
//   - ErrLeaseExpired: the server knows it no longer: it expired, or somebody
//     else has revoked it. Also when one with NoKeepAlive was not renewed.
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

// Deadline is until when the lease certainly lives unless somebody revokes it:
// its TTL after the last renewal that succeeded was sent. Renewals move it. It is
// when the lease is given up if they do not.
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
	if l.manual {
		return l.deadlineLocked()
	}
	return min(l.next, l.deadlineLocked())
}
