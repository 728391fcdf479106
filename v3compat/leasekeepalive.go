package v3compat

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

// keptLease is a lease with channels of KeepAlive. It is renewed by the
// etcd.Client from when that has adopted it until its last channel is closed: all
// of them when the lease is over, one when its context ends. All fields but the
// first two are guarded by lessor.mu.
type keptLease struct {
	l  *lessor
	id clientv3.LeaseID

	channels []*keepAliveChannel
	over     bool
	adopting context.CancelFunc // ends the adoption
	lease    *etcd.Lease        // nil until it is adopted
	stop     []func()           // ends listening to it
}

// keepAliveChannel is a channel of KeepAlive, with what follows its context.
type keepAliveChannel struct {
	out    chan *clientv3.LeaseKeepAliveResponse
	follow func() bool // false: the end of the context has been followed
	// leader: its context is one of WithRequireLeader.
	leader bool
}

// KeepAlive returns at once. The first response comes with the first renewal, for
// a lease that this client keeps already with the next one. What finds the channel
// full is dropped.
func (l *lessor) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	ch := &keepAliveChannel{out: make(chan *clientv3.LeaseKeepAliveResponse, clientv3.LeaseResponseChSize)}
	if ctx == nil {
		close(ch.out)
		return ch.out, errNilContext
	}
	ch.leader = requiresLeader(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		close(ch.out)
		return ch.out, clientv3.ErrKeepAliveHalted{Reason: context.Canceled}
	}
	k := l.kept[id]
	if k == nil {
		k = l.keepLocked(id)
	}
	k.channels = append(k.channels, ch)
	ch.follow = l.afterLocked(ctx, func() { k.leaveLocked(ch) })
	return ch.out, nil
}

// keepLocked begins to keep a lease alive.
func (l *lessor) keepLocked(id clientv3.LeaseID) *keptLease {
	ctx, cancel := context.WithTimeout(context.Background(), l.first)
	k := &keptLease{l: l, id: id, adopting: cancel}
	l.kept[id] = k
	l.routines.Go(func() { k.adopt(ctx) })
	return k
}

// afterLocked has f called with l.mu held when ctx has ended. stop prevents that,
// and reports whether it was in time.
func (l *lessor) afterLocked(ctx context.Context, f func()) (stop func() bool) {
	l.routines.Add(1)
	end := context.AfterFunc(ctx, func() {
		defer l.routines.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		f()
	})
	return func() bool {
		stopped := end()
		if stopped {
			l.routines.Done()
		}
		return stopped
	}
}

// adopt has the etcd.Client keep the lease, or gives it up: when the server does
// not know it or denies it, or no server has answered in time.
func (k *keptLease) adopt(ctx context.Context) {
	for {
		lease, err := k.l.c.Adopt(ctx, etcd.LeaseID(k.id))
		if err == nil {
			k.adopted(lease)
			return
		}
		if !passes(err) || !pause(ctx) {
			k.l.mu.Lock()
			k.endLocked()
			k.l.mu.Unlock()
			return
		}
	}
}

// adopted takes the lease and hands out what its adoption has shown.
func (k *keptLease) adopted(lease *etcd.Lease) {
	l := k.l
	l.mu.Lock()
	defer l.mu.Unlock()
	k.adopting()
	if k.over {
		lease.StopKeepAlive()
		return
	}
	k.lease = lease
	life, cancel := lease.Context(context.Background())
	follow := l.afterLocked(life, k.endLocked)
	k.stop = append(k.stop, lease.OnRenewal(k.renewed), func() { follow(); cancel() })
	k.sendLocked(keepAliveResponse(lease.Header, k.id, lease.TTL))
}

// renewed hands out the answer to a renewal.
func (k *keptLease) renewed(r etcd.KeepAliveResponse) {
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	k.sendLocked(keepAliveResponse(r.Header, k.id, r.TTL))
}

// sendLocked blocks on no channel.
func (k *keptLease) sendLocked(resp *clientv3.LeaseKeepAliveResponse) {
	for _, ch := range k.channels {
		select {
		case ch.out <- resp:
		default:
		}
	}
}

// leaderless closes the channels that require a leader. The leases live on with the
// others.
func (l *lessor) leaderless() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.kept {
		for _, ch := range slices.Clone(k.channels) {
			if ch.leader {
				ch.follow()
				k.leaveLocked(ch)
			}
		}
	}
}

// leaveLocked closes a channel whose context has ended. The last one ends the
// keep-alive.
func (k *keptLease) leaveLocked(ch *keepAliveChannel) {
	i := slices.Index(k.channels, ch)
	if i < 0 {
		return
	}
	close(ch.out)
	k.channels = slices.Delete(k.channels, i, i+1)
	if len(k.channels) == 0 {
		k.endLocked()
	}
}

// endLocked closes what channels there are and has the lease renewed no longer.
func (k *keptLease) endLocked() {
	if k.over {
		return
	}
	k.over = true
	delete(k.l.kept, k.id)
	k.adopting()
	for _, ch := range k.channels {
		ch.follow()
		close(ch.out)
	}
	k.channels = nil
	for _, stop := range k.stop {
		stop()
	}
	if k.lease != nil {
		k.lease.StopKeepAlive()
	}
}
