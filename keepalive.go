package etcd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// keeper keeps the client's leases alive. One goroutine, the owner, decides what
// is sent and sends it; each stream has a receiver. Both end when there is
// nothing to do, and begin with the first lease.
//
// A lease waits in timers until it is due, then in a pool's due heap until a
// stream has room, and is back in timers the moment it is sent: an answer only
// moves its deadline, so no heap is touched for it.
//
// keeper.mu is held across nothing that blocks, and while it is held no lock is
// taken but those of connections' state and of contexts that end.
type keeper struct {
	c        *Client
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wake     chan struct{} // capacity 1: the owner is to look again
	routines sync.WaitGroup

	mu sync.Mutex // guards the fields below, and those of leases, pools and streams

	closed  bool
	running bool  // the owner is
	wakeAt  int64 // when the owner wakes by itself
	clock   leaseClock
	leases  map[LeaseID]*Lease
	timers  leaseHeap

	kept  pool // renewals that are due
	alone pool // those of leases whose renewal has ended or held up a stream
	once  pool // KeepAliveOnce and Adopt

	news      []leaseNews                   // to be told, see unlock
	listeners map[*Lease][]*renewalListener // nil until there is one

	shortest int64 // the shortest TTL since there were none; 0: none
	tick     int64 // renewals are sent at multiples of it
	latency  int64 // of answers that wait behind no other, smoothed
}

const (
	// longestSleep is the longest the owner sleeps while there are leases: after
	// the machine has slept it finds out this soon what has become of them.
	longestSleep = int64(time.Second)
	longestTick  = int64(time.Second)
	noTime       = int64(1<<63 - 1)
)

func (k *keeper) init(c *Client) {
	k.c = c
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.wake = make(chan struct{}, 1)
	k.clock = newLeaseClock()
	k.leases = make(map[LeaseID]*Lease)
	k.kept = pool{k: k, window: 2048, streams: 32, patience: int64(50 * time.Millisecond)}
	k.once = pool{k: k, window: 256, streams: 8, patience: int64(50 * time.Millisecond)}
	k.alone = pool{k: k, window: 1, streams: 4}
	for _, p := range k.pools() {
		p.first = min(p.window, 32)
	}
}

func (k *keeper) pools() [3]*pool { return [3]*pool{&k.kept, &k.alone, &k.once} }

// close ends all leases, without revoking them, and waits for the goroutines.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	for _, l := range k.leases {
		k.endLocked(l, clientClosed("KeepAlive"))
	}
	var streams []*renewStream
	for _, p := range k.pools() {
		p.failCallsLocked(clientClosed("KeepAlive"))
		streams = append(streams, p.open...)
	}
	k.mu.Unlock()
	k.cancel()
	for _, s := range streams {
		s.stream.Close()
	}
	k.routines.Wait()
}

// now is the time on the leases' clock.
func (k *keeper) now() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clock.now()
}

// count is how many leases live.
func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.leases)
}

// add takes a new lease.
func (k *keeper) add(l *Lease) {
	k.mu.Lock()
	defer k.unlock()
	k.addLocked(l)
}

// adopt takes a lease that exists, or returns the one that it has by that ID.
func (k *keeper) adopt(l *Lease) *Lease {
	k.mu.Lock()
	defer k.unlock()
	have, ok := k.leases[l.ID]
	if !ok {
		k.addLocked(l)
		return l
	}
	have.keepers++
	if have.keepers == 1 {
		have.leaveHeap()
		k.firstTimeLocked(have)
	}
	return have
}

// leave makes a lease that nobody wants renewed any longer one that is not.
func (k *keeper) leave(l *Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.keepers == 0 || l.ended.Load() != nil {
		return
	}
	l.keepers--
	if l.keepers == 0 {
		l.leaveHeap()
		l.alone = false
		k.timers.push(l, l.wakeLocked())
	}
}

func (k *keeper) addLocked(l *Lease) {
	if old, ok := k.leases[l.ID]; ok {
		// The server has granted the ID again, so the one we know is gone.
		k.endLocked(old, expired(old))
	}
	k.leases[l.ID] = l
	if k.closed {
		k.endLocked(l, clientClosed("KeepAlive"))
		return
	}
	if k.shortest == 0 || l.ttl < k.shortest {
		k.shortest, k.tick = l.ttl, tickOf(l.ttl)
	}
	k.firstTimeLocked(l)
}

// firstTimeLocked sets the first renewal, at a third of the TTL or up to half of
// that sooner, so that leases that were granted together are not renewed so.
func (k *keeper) firstTimeLocked(l *Lease) {
	third := l.ttl / 3
	l.next = k.atTickLocked(l.sent + third - rand.Int64N(third/2+1))
	k.timers.push(l, l.wakeLocked())
	k.wakeByLocked(l.wakeLocked())
}

// nextLocked is when to renew a lease again that is renewed now: a third of the
// TTL later, and a tick less for one in sixteen, so that leases that some accident
// has brought together part again. Where answers take so long that this would not
// do, after half of what they leave: the next answer then comes before the
// deadline that the one before it has set.
func (k *keeper) nextLocked(ttl, now int64) int64 {
	next := k.atTickLocked(now + ttl/3)
	if rand.Uint32()%16 == 0 {
		next -= k.tick
	}
	spare := max((ttl-k.latency)/2, ttl/20)
	return min(next, now+spare)
}

// atTickLocked is the last tick up to the given time. Renewals are sent at ticks,
// because what a few cost is wake-ups.
func (k *keeper) atTickLocked(at int64) int64 { return at - at%k.tick }

// tickOf is the time between ticks when ttl is the shortest TTL: of the parts that
// divide its third evenly the largest that leaves two of them and is not too long.
func tickOf(ttl int64) int64 {
	tick := ttl / 3 / 2
	for tick > longestTick {
		tick /= 2
	}
	return max(tick, 1)
}

// wakeByLocked sees that the owner looks again at the given time at the latest.
func (k *keeper) wakeByLocked(at int64) {
	if !k.running {
		if k.closed {
			return
		}
		k.running = true
		k.wakeAt = 0
		k.routines.Go(k.own)
		return
	}
	if at < k.wakeAt {
		signal(k.wake)
	}
}

// own is the owner.
func (k *keeper) own() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	b := new(outgoing)
	for {
		wait, more := k.step(b)
		b.run(k.ctx)
		if !more {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-k.wake:
		case <-k.ctx.Done():
		}
	}
}

// step does what is due and fills b with what is to be sent. It returns for how
// long nothing will be, or false when there is nothing left at all.
func (k *keeper) step(b *outgoing) (wait time.Duration, more bool) {
	k.mu.Lock()
	defer k.unlock()
	if k.closed {
		k.running = false
		return 0, false
	}
	now := k.clock.now()
	k.dueLocked(now)
	next := now + longestSleep
	idle := len(k.leases) == 0
	for _, p := range k.pools() {
		next = min(next, p.stepLocked(now, b))
		idle = idle && p.idleLocked()
	}
	if idle {
		k.running = false
		k.shortest, k.latency = 0, 0
		return 0, false
	}
	if !k.timers.empty() {
		next = min(next, k.timers.first().at)
	}
	k.wakeAt = next
	return max(time.Duration(next-now), 0), true
}

// dueLocked ends the leases whose time is up and moves those that are to be
// renewed to their pool.
func (k *keeper) dueLocked(now int64) {
	for !k.timers.empty() && k.timers.first().at <= now {
		l := k.timers.first().lease
		l.leaveHeap()
		switch {
		case l.deadlineLocked() <= now:
			k.endLocked(l, k.notRenewedLocked(l))
		case l.keepers > 0 && l.next <= now:
			l.poolLocked().pushLocked(l)
		default:
			k.timers.push(l, l.wakeLocked()) // an answer has moved its deadline
		}
	}
}

func (l *Lease) poolLocked() *pool {
	if l.alone {
		return &l.keeper.alone
	}
	return &l.keeper.kept
}

// endLocked ends a lease. The first reason stays.
func (k *keeper) endLocked(l *Lease, reason *Error) {
	if !l.ended.CompareAndSwap(nil, reason) {
		return
	}
	k.lostLocked(l, reason)
	l.leaveHeap()
	l.lastErr = nil
	delete(k.listeners, l)
	if k.leases[l.ID] == l {
		delete(k.leases, l.ID)
	}
	if l.end != nil {
		l.end(reason)
	}
}

// expired is the reason of a lease that the server does not know.
func expired(l *Lease) *Error {
	return &Error{
		Op: "KeepAlive", Code: CodeNotFound, Outcome: Rejected, sentinel: ErrLeaseExpired,
		Message: fmt.Sprintf("lease %x is over: it expired or was revoked", uint64(l.ID)),
	}
}

// notRenewedLocked is the reason of a lease whose deadline has passed.
func (k *keeper) notRenewedLocked(l *Lease) *Error {
	if l.keepers == 0 {
		return &Error{
			Op: "KeepAlive", Code: CodeNotFound, sentinel: ErrLeaseExpired,
			Message: fmt.Sprintf("lease %x was not renewed within its TTL of %v", uint64(l.ID), time.Duration(l.ttl)),
		}
	}
	if l.gone {
		return expired(l)
	}
	e := &Error{
		Op: "KeepAlive", Code: CodeDeadlineExceeded, sentinel: ErrLeaseNotRenewed,
		Message: fmt.Sprintf("no renewal of lease %x succeeded within its TTL of %v", uint64(l.ID), time.Duration(l.ttl)),
	}
	last := l.lastErr
	if last == nil {
		last = k.kept.lastErr
	}
	if last == nil {
		e.Message += "; the last one was not answered"
		return e
	}
	e.Endpoint, e.Code, e.cause = last.Endpoint, last.Code, last
	e.Message += "; last error: " + last.text()
	return e
}

// beginRevoke notes that a lease is about to be revoked. It returns nil for one
// that the keeper does not know.
func (k *keeper) beginRevoke(id LeaseID) *Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.leases[id]
	if l != nil {
		l.revoking++
	}
	return l
}

// endRevoke takes the result of a Revoke.
func (k *keeper) endRevoke(l *Lease, err error) {
	if l == nil {
		return
	}
	k.mu.Lock()
	defer k.unlock()
	l.revoking--
	switch e, _ := err.(*Error); {
	case err == nil:
		k.endLocked(l, &Error{
			Op: "KeepAlive", Code: CodeNotFound, sentinel: ErrLeaseRevoked,
			Message: fmt.Sprintf("lease %x was revoked", uint64(l.ID)),
		})
	case e != nil && e.sentinel == ErrLeaseNotFound, l.gone && l.revoking == 0:
		k.endLocked(l, expired(l))
	}
}

// answeredLocked takes the server's word on a renewal that was sent at the given
// time.
func (k *keeper) answeredLocked(l *Lease, sent int64, ttl time.Duration) {
	switch {
	case l.ended.Load() != nil:
	case ttl == 0 && l.revoking > 0:
		l.gone = true // the Revoke under way will tell why
	case ttl == 0:
		k.endLocked(l, expired(l))
	case sent > l.sent:
		l.sent = sent
		l.ttl = int64(ttl)
		l.alone, l.failures, l.lastErr = false, 0, nil
		if l.heap != nil && l.heap != &k.timers {
			// It had been put in line again and need not be sent.
			l.leaveHeap()
			l.next = k.nextLocked(l.ttl, l.lastSend)
			k.timers.push(l, l.wakeLocked())
		}
	}
}
