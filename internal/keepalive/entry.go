package keepalive

import (
	"context"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/call"
)

// Entry is the keeper's record of a lease. The owner embeds it in its own struct,
// so that a lease is one allocation. Its methods may be called concurrently once
// the keeper has it.
type Entry struct {
	// ID and Owner are set before the keeper has the entry and never change.
	ID    int64
	Owner any

	ended atomic.Pointer[error] // the result of Err; set with Keeper.mu held

	// Keeper.mu guards the fields below once the keeper has the entry. Times are on
	// the keeper's clock.

	life     context.Context         // ends with the lease; made on first use
	end      context.CancelCauseFunc // of life
	sent     int64                   // when the last successful renewal was sent
	lastSend int64                   // when the last renewal was sent; before the first, just after the keeper got the lease
	next     int64                   // when the next renewal is due
	ttl      int64                   // from the last answer
	lastErr  *call.Error             // of the last renewal, if the lease itself made it fail
	heap     *leaseHeap
	place    int32 // in heap
	holds    int32 // number of users that want it renewed
	revoking int16 // calls of Revoke in progress
	failures uint8 // in a row while in quarantine
	// quarantined: it is renewed only on a stream without other leases.
	quarantined bool
	gone        bool // the server does not know it, but perhaps because this client revoked it
}

// Hold marks the lease as one to renew. Call it before the keeper has the entry.
func (e *Entry) Hold() { e.holds = 1 }

// Term sets how long the lease lives, counted from sent on the keeper's clock. Call
// it before the keeper has the entry.
func (e *Entry) Term(sent int64, ttl time.Duration) { e.sent, e.ttl = sent, int64(ttl) }

// Lifetime returns a context that ends with the lease. Its cause is then the error
// that Err returns.
func (k *Keeper) Lifetime(e *Entry) context.Context {
	k.lock()
	defer k.unlock()
	if e.life == nil {
		e.life, e.end = context.WithCancelCause(context.Background())
		if err := e.Err(); err != nil {
			e.end(err)
		}
	}
	return e.life
}

// Err returns nil while the lease lives, and then the reason why it ended, as
// converted by Config.Reason. It returns the same value each time.
func (e *Entry) Err() error {
	if err := e.ended.Load(); err != nil {
		return *err
	}
	return nil
}

// hasEnded reports whether the lease has ended.
func (e *Entry) hasEnded() bool { return e.ended.Load() != nil }

// Deadline returns the time at which the lease is given up unless it is renewed.
func (k *Keeper) Deadline(e *Entry) time.Time {
	k.lock()
	left := e.deadlineLocked() - k.clock.now()
	k.unlock()
	return time.Now().Add(time.Duration(left))
}

// clockDrift is the inverse of the rate by which the server's clock may run faster
// than ours: one in a thousand.
const clockDrift = 1000

func (e *Entry) deadlineLocked() int64 { return e.sent + e.ttl - e.ttl/clockDrift }

// wakeLocked returns when the keeper must next look at the lease.
func (e *Entry) wakeLocked() int64 {
	if e.holds == 0 {
		return e.deadlineLocked()
	}
	return min(e.next, e.deadlineLocked())
}

func (k *Keeper) poolLocked(e *Entry) *pool {
	if e.quarantined {
		return &k.quarantine
	}
	return &k.kept
}
