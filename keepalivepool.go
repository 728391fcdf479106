package etcd

import (
	"context"
	"math/rand/v2"
	"time"

	"silly.store/etcd/internal/transport"
)

// pool is a group of streams and the renewals that wait for one of them. A stream
// is opened when there is none with room, and given back when it has been idle
// for a while.
//
// A stream answers in order, one at a time, and each answer may cost the member a
// round trip to the leader. So a pool puts no more on a stream than it answers
// soon, and opens another while renewals wait.
type pool struct {
	k        *keeper
	window   int   // the most renewals under way on a stream
	streams  int   // the most streams that take renewals
	patience int64 // how long renewals wait before another stream is opened for them

	// The fields below are guarded by keeper.mu.

	due   leaseHeap // by deadline: the most urgent goes first
	calls []*renewCall
	open  []*renewStream

	opening   bool
	first     int    // window of a new stream
	fullSince int64  // since when renewals find no room; 0: they do
	notBefore int64  // when a stream may be opened
	failures  int    // in a row, of streams that answered nothing
	stalls    int    // since the last answer
	avoid     string // endpoint of the stream that failed or stalled last
	stalledAt int64  // when a stream did
	lastErr   *Error // since the last answer
}

const (
	// streamIdle is for how long a stream that has nothing to do is kept.
	streamIdle = int64(5 * time.Second)
	// Opening streams backs off between these while it fails, with full jitter.
	renewBackoffFirst = int64(20 * time.Millisecond)
	renewBackoffCap   = int64(time.Second)
	// An answer that is longer in coming than this, or a sixth of the shortest
	// TTL, makes a stream stall. At least stallLeast, so that a busy machine is
	// not taken for one.
	stallMost  = int64(time.Second)
	stallLeast = int64(100 * time.Millisecond)
	// The most that renewals should wait behind others on a stream.
	queueMost  = int64(250 * time.Millisecond)
	queueLeast = int64(20 * time.Millisecond)
)

// idleLocked: nothing to do and nothing open.
func (p *pool) idleLocked() bool {
	return !p.waitingLocked() && len(p.open) == 0 && !p.opening
}

// waitingLocked: renewals wait for a stream.
func (p *pool) waitingLocked() bool { return !p.due.empty() || len(p.calls) > 0 }

// pushLocked puts a lease in line.
func (p *pool) pushLocked(l *Lease) { p.due.push(l, l.deadlineLocked()) }

// stepLocked does what is due in the pool and returns when it must look again.
func (p *pool) stepLocked(now int64, b *outgoing) (next int64) {
	next = noTime
	for !p.due.empty() && p.due.first().at <= now {
		l := p.due.first().lease
		p.k.endLocked(l, p.k.notRenewedLocked(l))
	}
	for _, s := range p.open {
		s.checkStallLocked(now)
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
			s.given = true
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

// growLocked opens a stream if one is wanted. It returns when one may be.
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
		return noTime // an answer or the end of a stream wakes the owner
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

// stallAfterLocked is for how long a stream may leave a renewal unanswered.
func (p *pool) stallAfterLocked() int64 {
	k := p.k
	d := stallMost
	if k.shortest > 0 {
		d = max(min(d, k.shortest/6), stallLeast)
	}
	return max(d, 4*k.latency)
}

// queueGoalLocked is how long renewals may wait behind others on a stream.
func (p *pool) queueGoalLocked() int64 {
	if p.k.shortest == 0 {
		return queueMost
	}
	return max(min(queueMost, p.k.shortest/20), queueLeast)
}

// failedLocked notes that a stream could not be opened, or ended before it had
// answered anything.
func (p *pool) failedLocked(e *Error) {
	most := renewBackoffCap
	if p.k.shortest > 0 {
		most = max(min(most, p.k.shortest/8), renewBackoffFirst)
	}
	span := min(renewBackoffFirst<<min(p.failures, 10), most)
	p.failures++
	p.notBefore = p.k.clock.now() + rand.Int64N(span) + 1
	p.lastErr = e
}

// answeredLocked notes that a stream has brought answers.
func (p *pool) answeredLocked(s *renewStream) {
	p.failures, p.stalls, p.lastErr = 0, 0, nil
	if p.avoid == s.conn.Endpoint {
		p.avoid = ""
	}
	if p.waitingLocked() && s.window-s.sent.len() >= (s.window+1)/2 {
		p.k.wakeByLocked(s.progress)
	}
}

// failCallsLocked ends the calls that wait for a stream.
func (p *pool) failCallsLocked(e *Error) {
	for _, c := range p.calls {
		c.failLocked(e)
	}
	p.calls = nil
}

// receive opens a stream, receives on it until it ends, and puts what is then
// unanswered in line again.
func (p *pool) receive() {
	k := p.k
	s, err := p.openStream()
	k.mu.Lock()
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
	k.mu.Unlock()
	if err != nil {
		return
	}
	if !closed {
		err = s.receiveAll()
	}
	s.stream.Close()
	k.mu.Lock()
	s.endedLocked(err)
	k.wakeByLocked(0)
	k.mu.Unlock()
}

// troubleLocked is the pool that says which member p avoids: itself, or the one
// that renews most leases and so finds out first, if a stream of that has stalled
// since.
func (p *pool) troubleLocked() *pool {
	if kept := &p.k.kept; kept.avoid != "" && kept.stalledAt > p.stalledAt {
		return kept
	}
	return p
}

// openLimit bounds the time to connect for a stream: another member may be
// quicker.
func (p *pool) openLimit() (avoid string, stuck bool, limit time.Duration) {
	k := p.k
	k.mu.Lock()
	defer k.mu.Unlock()
	limit = 3 * time.Second
	if k.shortest > 0 {
		limit = max(min(limit, time.Duration(k.shortest/4)), 250*time.Millisecond)
	}
	t := p.troubleLocked()
	return t.avoid, t.stalls > 0, limit
}

func (p *pool) openStream() (*renewStream, *Error) {
	k := p.k
	avoid, stuck, limit := p.openLimit()
	ctx, cancel := context.WithTimeout(k.ctx, limit)
	defer cancel()
	token, noToken := k.c.tokens.get(ctx, &rpcRenew)
	if noToken != nil {
		return nil, noToken
	}
	conn, err := k.pick(ctx, avoid, stuck)
	if err != nil {
		return nil, callError(&rpcRenew, "", err)
	}
	s := &renewStream{pool: p, conn: conn, token: token, desperate: conn.State() == transport.Suspect}
	s.stream, err = conn.Open(ctx, s.request())
	if err != nil {
		return nil, callError(&rpcRenew, conn.Endpoint, err)
	}
	k.mu.Lock()
	s.opened = k.clock.now()
	s.window, s.progress = p.first, s.opened
	s.quickest = [2]int64{int64(time.Hour), int64(time.Hour)}
	k.mu.Unlock()
	return s, nil
}
