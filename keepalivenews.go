package etcd

import "time"

// leaseNews is what has become of a lease and the observer has not been told
// yet, because keeper.mu was held.
type leaseNews struct {
	lost    *Error         // why it is over; nil when it was renewed
	renewed LeaseRenewInfo // its ID in both cases
}

// lostLocked notes that a lease is over. What this client has ended itself is no
// news, nor what it was told not to keep.
func (k *keeper) lostLocked(l *Lease, reason *Error) {
	if l.manual || reason.sentinel == ErrLeaseRevoked || reason.sentinel == ErrClosed {
		return
	}
	k.news = append(k.news, leaseNews{lost: reason, renewed: LeaseRenewInfo{ID: l.ID}})
}

// renewedLocked notes an answer to a renewal, before it moves the deadline.
func (k *keeper) renewedLocked(l *Lease, endpoint string, ttl time.Duration) {
	o := &k.c.observer
	o.renewals.Add(1)
	if o.hooks.LeaseRenewed == nil || ttl == 0 || l.ended.Load() != nil {
		return
	}
	k.news = append(k.news, leaseNews{renewed: LeaseRenewInfo{
		ID: l.ID, Endpoint: endpoint, TTL: ttl, Margin: time.Duration(l.deadlineLocked() - k.clock.now()),
	}})
}

// unlock releases mu and then tells the news. Whatever may end or renew a lease
// releases mu with it.
func (k *keeper) unlock() {
	news := k.news
	k.news = nil
	k.mu.Unlock()
	o := &k.c.observer
	for i := range news {
		if n := &news[i]; n.lost != nil {
			o.leaseLost(n.renewed.ID, n.lost)
		} else {
			o.hooks.LeaseRenewed(n.renewed)
		}
	}
}
