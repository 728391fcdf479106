package keepalive

import (
	"context"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// pool is a group of streams and the renewals that wait for one of them. It opens a
// stream when no open one has room, and gives a stream back after it has been idle
// for a while.
//
// A stream answers in order, one at a time, and each answer may cost the member a
// round trip to the leader. So a pool puts no more on a stream than the stream
// answers soon, and opens another one while renewals wait.
type pool struct {
	k        *Keeper
	window   int   // maximum number of renewals in flight on a stream
	streams  int   // maximum number of streams that take renewals
	patience int64 // how long renewals wait before another stream is opened

	// The fields below are guarded by Keeper.mu.

	due   leaseHeap // by deadline: the most urgent one goes first
	calls []*renewCall
	open  []*renewStream

	opening   bool
	first     int         // window of new streams
	fullSince int64       // since when renewals find no room; 0: there is room
	notBefore int64       // earliest time to open a stream
	failures  int         // consecutive streams that answered nothing
	stalls    int         // since the last answer
	avoid     string      // endpoint of the last stream that failed or stalled
	stalledAt int64       // when a stream last stalled
	lastErr   *call.Error // since the last answer
}

const (
	// streamIdle is how long an idle stream is kept.
	streamIdle = int64(5 * time.Second)
	// A stream stalls if an answer takes longer than stallMost or a sixth of the
	// shortest TTL, but at least stallLeast, so that a busy machine does not look
	// like a stall.
	stallMost  = int64(time.Second)
	stallLeast = int64(100 * time.Millisecond)
	// The longest time that renewals should wait behind others on a stream.
	queueMost  = int64(250 * time.Millisecond)
	queueLeast = int64(20 * time.Millisecond)
)

// openBackoff spaces the attempts to open a stream while they fail.
var openBackoff = backoff.Backoff{First: 20 * time.Millisecond, Cap: time.Second}

// idleLocked reports whether nothing waits and no stream is open.
func (p *pool) idleLocked() bool {
	return !p.waitingLocked() && len(p.open) == 0 && !p.opening
}

// waitingLocked reports whether renewals wait for a stream.
func (p *pool) waitingLocked() bool { return !p.due.empty() || len(p.calls) > 0 }

// pushLocked queues a lease.
func (p *pool) pushLocked(l *Entry) { p.due.push(l, l.deadlineLocked()) }

// stepLocked handles everything that is due in the pool and returns when to call it
// again.
func (p *pool) stepLocked(now int64, b *outgoing) (next int64) {
	next = noTime
	for !p.due.empty() && p.due.first().at <= now {
		l := p.due.first().lease
		p.k.endLocked(l, p.k.notRenewedLocked(l))
	}
	for _, s := range p.open {
		s.checkStallLocked(now)
		b.tend = b.tend || s.openedSuspect && s.sent.len() > 0 && s.Conn.State() == transport.Suspect
	}
	for _, s := range p.open {
		if !p.waitingLocked() {
			break
		}
		s.fillLocked(now, b)
	}
	next = min(next, p.growLocked(now))
	kept := p.open[:0]
	for _, s := range p.open {
		at, keep := s.lookAgainLocked(now)
		if !keep {
			s.givenBack = true
			b.close = append(b.close, s)
			continue
		}
		kept = append(kept, s)
		next = min(next, at)
	}
	clear(p.open[len(kept):])
	p.open = kept
	if !p.due.empty() {
		next = min(next, p.due.first().at)
	}
	return next
}

// growLocked opens a stream if one is needed. It returns when it may open the next
// one.
func (p *pool) growLocked(now int64) (next int64) {
	if !p.waitingLocked() {
		p.fullSince = 0
		return noTime
	}
	if p.fullSince == 0 {
		p.fullSince = now
	}
	live := 0
	for _, s := range p.open {
		if s.usableLocked() {
			live++
		}
	}
	if p.opening || live >= p.streams || len(p.open) >= 2*p.streams {
		return noTime // an answer, or the end of a stream, wakes the owner
	}
	at := p.notBefore
	if live > 0 {
		at = max(at, p.fullSince+p.patience)
	}
	if at > now {
		return at
	}
	p.opening, p.fullSince = true, now
	p.k.routines.Go(func() { p.receive() })
	return noTime
}

// stallAfterLocked returns how long a stream may leave a renewal unanswered.
func (p *pool) stallAfterLocked() int64 {
	k := p.k
	d := stallMost
	if k.shortest > 0 {
		d = max(min(d, k.shortest/6), stallLeast)
	}
	return max(d, 4*k.latency)
}

// patienceLocked is how long a stream may answer nothing, of a limit for streams that
// have not stalled before: members that are merely slow get more time.
func (p *pool) patienceLocked(limit int64) int64 {
	return int64(backoff.Backoff{First: time.Duration(limit), Cap: time.Duration(8 * limit)}.Span(p.stalls))
}

// queueGoalLocked returns how long renewals may wait behind others on a stream.
func (p *pool) queueGoalLocked() int64 {
	if p.k.shortest == 0 {
		return queueMost
	}
	return max(min(queueMost, p.k.shortest/20), queueLeast)
}

// troubledLocked notes why a stream could not be opened, or has ended. One member without
// a leader may be alone with that, so it takes two such streams in a row to report it.
func (p *pool) troubledLocked(e *call.Error) {
	if before := p.lastErr; p.k.config.Leaderless != nil && before != nil {
		p.k.leaderless = p.k.leaderless || e.Sentinel == call.ErrNoLeader && before.Sentinel == call.ErrNoLeader
	}
	p.lastErr = e
}

// failedLocked records that a stream could not be opened, or ended before it
// answered anything.
func (p *pool) failedLocked(e *call.Error) {
	if e.Drained() {
		p.troubledLocked(e)
		return
	}
	b := openBackoff
	if p.k.shortest > 0 {
		b.Cap = max(min(b.Cap, time.Duration(p.k.shortest/8)), b.First)
	}
	p.notBefore = p.k.clock.now() + int64(b.Jittered(p.failures))
	p.failures++
	p.troubledLocked(e)
}

// answeredLocked records that a stream has received answers.
func (p *pool) answeredLocked(s *renewStream) {
	p.failures, p.stalls, p.lastErr = 0, 0, nil
	if p.avoid == s.Endpoint() {
		p.avoid = ""
	}
	if p.waitingLocked() && s.window-s.sent.len() >= (s.window+1)/2 {
		p.k.wakeByLocked(s.progress)
	}
}

// failCallsLocked ends the calls that wait for a stream.
func (p *pool) failCallsLocked(e *call.Error) {
	for _, c := range p.calls {
		c.failLocked(e)
	}
	p.calls = nil
}

// receive opens a stream, receives on it until it ends, and then queues the
// unanswered renewals again.
func (p *pool) receive() {
	k := p.k
	s, err := p.openStream()
	k.lock()
	p.opening = false
	switch {
	case err != nil:
		p.failedLocked(err)
		p.failCallsLocked(err)
	case k.closed:
	default:
		p.open = append(p.open, s)
	}
	closed := k.closed
	k.wakeByLocked(0)
	k.unlock()
	if err != nil {
		return
	}
	if !closed {
		err = s.receiveAll()
	}
	s.Close()
	k.lock()
	s.endedLocked(err)
	k.wakeByLocked(0)
	k.unlock()
}

// troubleLocked returns the pool that decides which member p avoids: p itself, or
// kept if one of its streams has stalled since. kept renews most leases and so
// notices a stuck member first.
func (p *pool) troubleLocked() *pool {
	if kept := &p.k.kept; kept.avoid != "" && kept.stalledAt > p.stalledAt {
		return kept
	}
	return p
}

// openLimit returns which member a new stream avoids, and bounds the time to
// connect: another member may be faster.
func (p *pool) openLimit() (avoid string, stuck bool, limit time.Duration) {
	k := p.k
	k.lock()
	defer k.unlock()
	limit = 3 * time.Second
	if k.shortest > 0 {
		limit = max(min(limit, time.Duration(k.shortest/4)), 250*time.Millisecond)
	}
	t := p.troubleLocked()
	return t.avoid, t.stalls > 0, limit
}

func (p *pool) openStream() (*renewStream, *call.Error) {
	k := p.k
	avoid, stuck, limit := p.openLimit()
	ctx, cancel := context.WithTimeout(k.ctx, limit)
	defer cancel()
	suspected := new(atomic.Bool)
	stream, err := k.engine.Open(ctx, call.Request{Method: rpc.Renew}, call.StreamOptions{
		Avoid: avoid, Insist: stuck && k.engine.Set.Size() > 1,
		Patient:   p != &k.once, // a caller waits for a single renewal, but not for the others
		OnSuspect: func(balance.Picked) { suspected.Store(true); call.Signal(k.wake) },
	})
	if err != nil && k.ctx.Err() == nil {
		err = err.LimitedTo(limit)
	}
	if err != nil {
		return nil, err
	}
	if stuck && stream.Endpoint() == avoid { // there was no other one
		k.engine.Set.Doubt(stream.Conn)
	}
	s := &renewStream{pool: p, Stream: stream, openedSuspect: stream.Conn.State() == transport.Suspect, suspected: suspected}
	k.lock()
	s.opened = k.clock.now()
	s.window, s.progress = p.first, s.opened
	s.quickest = [2]int64{int64(time.Hour), int64(time.Hour)}
	k.unlock()
	return s, nil
}
