package keepalive

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

// Keeper keeps the client's leases alive. One goroutine, the owner, decides what to
// send and sends it; each stream has a receiver. They start with the first lease
// and end when there is nothing left to do.
//
// A lease waits in timers until it is due, then in a pool's due heap until a stream
// has room. It returns to timers as soon as it is sent: an answer only moves its
// deadline and touches no heap.
//
// While mu is held, the only locks taken are those of connections' state and of
// contexts that end.
type Keeper struct {
	engine   *call.Engine
	config   Config
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wake     chan struct{} // capacity 1: makes the owner look again
	routines sync.WaitGroup

	mu sync.Mutex // guards the fields below, and those of leases, pools and streams

	closed  bool
	running bool  // the owner runs
	wakeAt  int64 // when the owner wakes by itself
	clock   leaseClock
	entries map[int64]*Entry
	timers  leaseHeap

	kept pool // renewals that are due
	// quarantine renews the leases whose renewal ended or held up a stream.
	quarantine pool
	once       pool // single renewals

	notifications []notification                // see unlock
	leaderless    bool                          // to be reported by unlock
	listeners     map[*Entry][]*renewalListener // nil until there is one
	counts        counters

	shortest int64 // the shortest TTL since there were none; 0: none
	tick     int64 // renewals are sent at multiples of it
	latency  int64 // of answers that wait behind no other, smoothed
}

const (
	// longestSleep is the longest time that the owner sleeps while there are
	// leases, so that it checks them soon after the machine has slept.
	longestSleep = int64(time.Second)
	longestTick  = int64(time.Second)
	noTime       = int64(1<<63 - 1)
)

// Config holds the functions to which a Keeper reports. Renewed and Lost are called
// with no lock held.
type Config struct {
	// Reason converts the error that ended a lease for Entry.Err and Lost. It is called
	// once per lease, while the Keeper is locked.
	Reason func(*call.Error) error
	// Renewed, when not nil, is called for each answered renewal of a lease that the
	// keeper has.
	Renewed func(Renewal)
	// Lost is called when a lease that should be renewed ends and this client did
	// not end it.
	Lost func(id int64, reason error)
	// Leaderless, when not nil, is called when renewals find no leader: a stream was
	// refused or ended for that reason, and the next one too.
	Leaderless func()
}

// New makes a keeper, which has no goroutine until there is a lease.
func New(engine *call.Engine, config Config) *Keeper {
	k := &Keeper{engine: engine, config: config, wake: make(chan struct{}, 1), clock: newLeaseClock(), entries: make(map[int64]*Entry)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.kept = pool{k: k, window: 2048, streams: 32, patience: int64(50 * time.Millisecond)}
	k.once = pool{k: k, window: 256, streams: 8, patience: int64(50 * time.Millisecond)}
	k.quarantine = pool{k: k, window: 1, streams: 4}
	for _, p := range k.pools() {
		p.first = min(p.window, 32)
	}
	return k
}

func (k *Keeper) pools() [3]*pool { return [3]*pool{&k.kept, &k.quarantine, &k.once} }

// Close ends all leases without revoking them, and waits for the goroutines.
func (k *Keeper) Close() {
	k.lock()
	k.closed = true
	for _, l := range k.entries {
		k.endLocked(l, call.Closed("KeepAlive"))
	}
	var streams []*renewStream
	for _, p := range k.pools() {
		p.failCallsLocked(call.Closed("KeepAlive"))
		streams = append(streams, p.open...)
	}
	k.unlock()
	k.cancel()
	for _, s := range streams {
		s.Close()
	}
	k.routines.Wait()
}

// Now returns the time on the leases' clock.
func (k *Keeper) Now() int64 {
	k.lock()
	defer k.unlock()
	return k.clock.now()
}

// Count returns the number of live leases.
func (k *Keeper) Count() int {
	k.lock()
	defer k.unlock()
	return len(k.entries)
}

// Late reports whether half of the term of l is over. The keeper must not have l yet.
func (k *Keeper) Late(l *Entry) bool {
	k.lock()
	defer k.unlock()
	return k.clock.now() > l.sent+l.ttl/2
}

// Over reports whether the term of l may be over. The keeper must not have l yet.
func (k *Keeper) Over(l *Entry) bool {
	k.lock()
	defer k.unlock()
	return k.clock.now() >= l.deadlineLocked()
}

// Add takes a new lease.
func (k *Keeper) Add(l *Entry) {
	k.lock()
	defer k.unlock()
	k.addLocked(l)
}

// Adopt takes an existing lease, unless the keeper already has one with that ID. It
// returns the one that the keeper has.
func (k *Keeper) Adopt(l *Entry) *Entry {
	k.lock()
	defer k.unlock()
	have, ok := k.entries[l.ID]
	if !ok {
		k.addLocked(l)
		return l
	}
	have.holds++
	if have.holds == 1 {
		have.leaveHeap()
		k.firstTimeLocked(have)
	}
	return have
}

// Release takes back one hold. A lease without holds is not renewed.
func (k *Keeper) Release(l *Entry) {
	k.lock()
	defer k.unlock()
	if l.holds == 0 || l.hasEnded() {
		return
	}
	l.holds--
	if l.holds == 0 {
		l.leaveHeap()
		l.quarantined = false
		k.timers.push(l, l.wakeLocked())
	}
}

func (k *Keeper) addLocked(l *Entry) {
	if old, ok := k.entries[l.ID]; ok {
		// The server granted the ID again, so the lease that we know is gone.
		k.endLocked(old, expired(old))
	}
	k.entries[l.ID], l.lastSend = l, k.clock.now()+1
	if k.closed {
		k.endLocked(l, call.Closed("KeepAlive"))
		return
	}
	if k.shortest == 0 || l.ttl < k.shortest {
		k.shortest, k.tick = l.ttl, tickOf(l.ttl)
	}
	k.firstTimeLocked(l)
}

// firstTimeLocked schedules the first renewal after a third of the TTL or up to
// half of that earlier, so that leases that were granted together are not renewed
// together.
func (k *Keeper) firstTimeLocked(l *Entry) {
	third := l.ttl / 3
	l.next = k.atTickLocked(l.sent + third - rand.Int64N(third/2+1))
	k.timers.push(l, l.wakeLocked())
	k.wakeByLocked(l.wakeLocked())
}

// nextLocked returns when to renew a lease again that is renewed now: after a third
// of the TTL, and a tick earlier for one in sixteen, which spreads out leases that
// an outage has synchronized. If answers are too slow for that, the next renewal is
// due after half of the time that they leave, so that its answer arrives before the
// deadline that the previous one set.
func (k *Keeper) nextLocked(ttl, now int64) int64 {
	next := k.atTickLocked(now + ttl/3)
	if rand.Uint32()%16 == 0 {
		next -= k.tick
	}
	spare := max((ttl-k.latency)/2, ttl/20)
	return min(next, now+spare)
}

// atTickLocked returns the last tick at or before the given time. Renewals go out
// at ticks, because a few renewals cost mostly wake-ups.
func (k *Keeper) atTickLocked(at int64) int64 { return at - at%k.tick }

// tickOf returns the time between ticks when ttl is the shortest TTL: the largest
// interval that divides a third of ttl evenly into at least two parts and is not
// too long.
func tickOf(ttl int64) int64 {
	tick := ttl / 3 / 2
	for tick > longestTick {
		tick /= 2
	}
	return max(tick, 1)
}

// wakeByLocked makes sure that the owner looks again by the given time.
func (k *Keeper) wakeByLocked(at int64) {
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
		call.Signal(k.wake)
	}
}

// own is the owner's goroutine.
func (k *Keeper) own() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	b := new(outgoing)
	for {
		wait, more := k.step(b)
		b.run(k.ctx, k.engine.Set)
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

// step handles everything that is due and fills b with the messages to send. It
// returns how long the owner may wait, or false if nothing is left to do.
func (k *Keeper) step(b *outgoing) (wait time.Duration, more bool) {
	k.lock()
	defer k.unlock()
	if k.closed {
		k.running = false
		return 0, false
	}
	now := k.clock.now()
	k.dueLocked(now)
	next := now + longestSleep
	idle := len(k.entries) == 0
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

// dueLocked ends the leases whose deadline has passed and moves those that are due
// for renewal to their pool.
func (k *Keeper) dueLocked(now int64) {
	for !k.timers.empty() && k.timers.first().at <= now {
		l := k.timers.first().lease
		l.leaveHeap()
		switch {
		case l.deadlineLocked() <= now:
			k.endLocked(l, k.notRenewedLocked(l))
		case l.holds > 0 && l.next <= now:
			k.poolLocked(l).pushLocked(l)
		default:
			k.timers.push(l, l.wakeLocked()) // an answer moved its deadline
		}
	}
}

// endLocked ends a lease. Only the first reason counts.
func (k *Keeper) endLocked(l *Entry, reason *call.Error) {
	if l.hasEnded() {
		return
	}
	err := k.config.Reason(reason)
	l.ended.Store(&err)
	k.lostLocked(l, reason)
	l.leaveHeap()
	l.lastErr = nil
	delete(k.listeners, l)
	if k.entries[l.ID] == l {
		delete(k.entries, l.ID)
	}
	if l.end != nil {
		l.end(err)
	}
}

// expired is the reason for the end of a lease that the server does not know.
func expired(l *Entry) *call.Error {
	return &call.Error{
		Op: "KeepAlive", Code: transport.NotFound, Outcome: call.OutcomeRejected, Sentinel: call.ErrLeaseExpired,
		Message: fmt.Sprintf("lease %x does not exist: it expired or was revoked", uint64(l.ID)),
	}
}

// notRenewedLocked is the reason for the end of a lease whose deadline has passed.
func (k *Keeper) notRenewedLocked(l *Entry) *call.Error {
	if l.holds == 0 {
		return &call.Error{
			Op: "KeepAlive", Code: transport.NotFound, Sentinel: call.ErrLeaseExpired,
			Message: fmt.Sprintf("lease %x was not renewed within its TTL of %v", uint64(l.ID), time.Duration(l.ttl)),
		}
	}
	if l.gone {
		return expired(l)
	}
	e := &call.Error{
		Op: "KeepAlive", Code: transport.DeadlineExceeded, Sentinel: call.ErrLeaseNotRenewed,
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
	e.Endpoint, e.Code, e.Cause = last.Endpoint, last.Code, last
	e.Message += "; last error: " + last.Text()
	return e
}

// BeginRevoke records that a lease is about to be revoked. It returns nil if the
// keeper does not have the lease.
func (k *Keeper) BeginRevoke(id int64) *Entry {
	k.lock()
	defer k.unlock()
	l := k.entries[id]
	if l != nil {
		l.revoking++
	}
	return l
}

// EndRevoke handles the result of a Revoke.
func (k *Keeper) EndRevoke(l *Entry, err *call.Error) {
	if l == nil {
		return
	}
	k.lock()
	defer k.unlock()
	l.revoking--
	switch {
	case err == nil:
		k.endLocked(l, &call.Error{
			Op: "KeepAlive", Code: transport.NotFound, Sentinel: call.ErrLeaseRevoked,
			Message: fmt.Sprintf("lease %x was revoked", uint64(l.ID)),
		})
	case err.Sentinel == call.ErrLeaseNotFound, l.gone && l.revoking == 0:
		k.endLocked(l, expired(l))
	}
}

// answeredLocked handles the server's answer to a renewal that was sent at the
// given time.
func (k *Keeper) answeredLocked(l *Entry, sent int64, ttl time.Duration) {
	switch {
	case l.hasEnded():
	case ttl == 0 && sent < l.lastSend:
		// Perhaps it is about an earlier lease with the ID. The last renewal will tell.
	case ttl == 0 && l.revoking > 0:
		l.gone = true // EndRevoke gives the reason
	case ttl == 0:
		k.endLocked(l, expired(l))
	case sent > l.sent:
		l.sent = sent
		l.ttl = int64(ttl)
		l.quarantined, l.failures, l.lastErr = false, 0, nil
		if l.heap != nil && l.heap != &k.timers {
			// It was queued again and no longer needs to be sent.
			l.leaveHeap()
			l.next = k.nextLocked(l.ttl, l.lastSend)
			k.timers.push(l, l.wakeLocked())
		}
	}
}

// Renewed handles the answer to a renewal that was sent at the given time on a
// stream that the keeper does not own.
func (k *Keeper) Renewed(endpoint string, sent int64, a *Answer) {
	k.lock()
	defer k.unlock()
	if l := k.entries[a.ID]; l != nil {
		k.renewedLocked(l, endpoint, sent, a)
	}
}
