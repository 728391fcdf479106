package etcd

import (
	"slices"
	"time"
)

// OnRenewal has f called with the answer to each renewal of the lease from now on,
// [Client.KeepAliveOnce] included. f must not block: answers for other leases wait
// for it. It may be called from several goroutines at a time, and may use the
// client.
//
// stop ends that, and so does the end of the lease, see [Lease.Done]. A call that
// is under way then is not waited for. stop may be called again.
//
// For all leases at once there is [Hooks.LeaseRenewed].
func (l *Lease) OnRenewal(f func(KeepAliveResponse)) (stop func()) {
	if f == nil {
		return func() {}
	}
	k, listener := l.keeper, &renewalListener{f}
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.ended.Load() != nil {
		return func() {}
	}
	if k.listeners == nil {
		k.listeners = make(map[*Lease][]*renewalListener)
	}
	// A list is never changed, because unlock reads it without the lock.
	k.listeners[l] = append(slices.Clip(k.listeners[l]), listener)
	return func() { k.stopListener(l, listener) }
}

// renewalListener is a function that wants to know of a lease's renewals.
type renewalListener struct {
	f func(KeepAliveResponse)
}

func (k *keeper) stopListener(l *Lease, listener *renewalListener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(k.listeners[l]), func(other *renewalListener) bool { return other == listener })
	if len(left) == 0 {
		delete(k.listeners, l)
		return
	}
	k.listeners[l] = left
}

// leaseNews is what has become of a lease and nobody has been told yet, because
// keeper.mu was held.
type leaseNews struct {
	lost      *Error         // why it is over; nil when it was renewed
	renewed   LeaseRenewInfo // its ID in both cases
	answer    KeepAliveResponse
	listeners []*renewalListener // to be told of answer
}

// lostLocked notes that a lease is over. What this client has ended itself is no
// news, nor what it was told not to keep.
func (k *keeper) lostLocked(l *Lease, reason *Error) {
	if l.keepers == 0 || reason.sentinel == ErrLeaseRevoked || reason.sentinel == ErrClosed {
		return
	}
	k.news = append(k.news, leaseNews{lost: reason, renewed: LeaseRenewInfo{ID: l.ID}})
}

// renewedLocked notes an answer to a renewal, before it moves the deadline.
func (k *keeper) renewedLocked(l *Lease, endpoint string, resp *leaseKeepAliveResponse) {
	o := &k.c.observer
	o.renewals.Add(1)
	if resp.TTL <= 0 || l.ended.Load() != nil {
		return
	}
	listeners := k.listeners[l]
	if o.hooks.LeaseRenewed == nil && len(listeners) == 0 {
		return
	}
	ttl := seconds(resp.TTL)
	k.news = append(k.news, leaseNews{
		renewed:   LeaseRenewInfo{ID: l.ID, Endpoint: endpoint, TTL: ttl, Margin: time.Duration(l.deadlineLocked() - k.clock.now())},
		answer:    KeepAliveResponse{Header: resp.Header, ID: l.ID, TTL: ttl},
		listeners: listeners,
	})
}

// unlock releases mu and then tells the news. Whatever may end or renew a lease
// releases mu with it.
func (k *keeper) unlock() {
	news := k.news
	k.news = nil
	k.mu.Unlock()
	o := &k.c.observer
	for i := range news {
		n := &news[i]
		if n.lost != nil {
			o.leaseLost(n.renewed.ID, n.lost)
			continue
		}
		if o.hooks.LeaseRenewed != nil {
			o.hooks.LeaseRenewed(n.renewed)
		}
		for _, listener := range n.listeners {
			listener.f(n.answer)
		}
	}
}
