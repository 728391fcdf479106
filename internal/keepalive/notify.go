package keepalive

import (
	"slices"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/call"
)

// Renewal is an answered renewal.
type Renewal struct {
	ID       int64
	Endpoint string
	Header   call.Header
	// TTL is the lease's TTL, counted from when the renewal was sent.
	TTL time.Duration
	// Margin is how long before the lease's deadline the answer arrived.
	Margin time.Duration
}

// OnRenewal calls f for each renewal of the lease from now on, with no lock held
// and possibly from several goroutines at once. stop ends the calls, and so does
// the end of the lease. Neither waits for a call in progress.
func (k *Keeper) OnRenewal(l *Entry, f func(Renewal)) (stop func()) {
	listener := &renewalListener{f}
	k.lock()
	defer k.unlock()
	if l.hasEnded() {
		return func() {}
	}
	if k.listeners == nil {
		k.listeners = make(map[*Entry][]*renewalListener)
	}
	// A list is never modified, because unlock reads it without the lock.
	k.listeners[l] = append(slices.Clip(k.listeners[l]), listener)
	return func() { k.stopListener(l, listener) }
}

// renewalListener is a function that is called for a lease's renewals.
type renewalListener struct {
	f func(Renewal)
}

func (k *Keeper) stopListener(l *Entry, listener *renewalListener) {
	k.lock()
	defer k.unlock()
	left := slices.DeleteFunc(slices.Clone(k.listeners[l]), func(other *renewalListener) bool { return other == listener })
	if len(left) == 0 {
		delete(k.listeners, l)
		return
	}
	k.listeners[l] = left
}

// Counts are the totals of a Keeper.
type Counts struct {
	// Renewals counts answered renewals. Lost counts leases that should have been
	// renewed but ended, and were not ended by this client.
	Renewals, Lost int64
}

// Counts returns the totals so far.
func (k *Keeper) Counts() Counts { return Counts{k.counts.renewals.Load(), k.counts.lost.Load()} }

type counters struct {
	renewals, lost atomic.Int64
}

// notification is an event of a lease that cannot be reported while Keeper.mu is
// held.
type notification struct {
	lost      error   // why it ended; nil if it was renewed
	renewal   Renewal // its ID in both cases
	listeners []*renewalListener
}

// lostLocked reports a lease that has ended as lost, unless this client ended it or
// was not supposed to renew it.
func (k *Keeper) lostLocked(l *Entry, reason *call.Error) {
	if l.holds == 0 || reason.Sentinel == call.ErrLeaseRevoked || reason.Sentinel == call.ErrClosed {
		return
	}
	k.counts.lost.Add(1)
	k.notifications = append(k.notifications, notification{lost: l.Err(), renewal: Renewal{ID: l.ID}})
}

// renewedLocked handles the answer to a renewal that was sent at the given time.
// Every answer from any stream comes here.
func (k *Keeper) renewedLocked(l *Entry, endpoint string, sent int64, a *Answer) {
	k.counts.renewals.Add(1)
	k.notifyLocked(l, endpoint, a)
	k.answeredLocked(l, sent, Seconds(a.TTL))
}

// notifyLocked queues a renewal for its listeners. Call it before the deadline
// moves.
func (k *Keeper) notifyLocked(l *Entry, endpoint string, a *Answer) {
	listeners := k.listeners[l]
	if a.TTL <= 0 || l.hasEnded() || k.config.Renewed == nil && len(listeners) == 0 {
		return
	}
	k.notifications = append(k.notifications, notification{
		renewal: Renewal{
			ID: l.ID, Endpoint: endpoint, Header: a.Header, TTL: Seconds(a.TTL),
			Margin: time.Duration(l.deadlineLocked() - k.clock.now()),
		},
		listeners: listeners,
	})
}

func (k *Keeper) lock() { k.mu.Lock() }

// unlock releases mu and then reports what happened while it was held.
func (k *Keeper) unlock() {
	pending, leaderless := k.notifications, k.leaderless
	k.notifications, k.leaderless = nil, false
	k.mu.Unlock()
	if leaderless {
		k.config.Leaderless()
	}
	for i := range pending {
		n := &pending[i]
		if n.lost != nil {
			k.config.Lost(n.renewal.ID, n.lost)
			continue
		}
		if k.config.Renewed != nil {
			k.config.Renewed(n.renewal)
		}
		for _, listener := range n.listeners {
			listener.f(n.renewal)
		}
	}
}
