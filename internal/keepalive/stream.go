package keepalive

import (
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// renewStream is a keep-alive stream with its renewals in flight.
type renewStream struct {
	*call.Stream
	pool *pool
	// openedSuspect: its connection was already suspect when the stream was opened,
	// because there was no better one. suspected: it has turned suspect since.
	openedSuspect bool
	suspected     *atomic.Bool

	// The fields below are guarded by Keeper.mu.

	sent      sentQueue // in the order of the answers
	window    int       // how many may be in flight
	quickest  [2]int64  // shortest time to an answer in this period and in the previous one
	period    int64     // when this period began
	progress  int64     // when it last answered or was given new work
	opened    int64
	answers   int
	stalled   bool // it is held up and takes no more renewals
	givenBack bool // the keeper closed it because it was of no use
}

// sentRenewal is a renewal in flight, of a lease or of a call.
type sentRenewal struct {
	lease *Entry
	call  *renewCall
	at    int64
}

func (r *sentRenewal) id() int64 {
	if r.call != nil {
		return r.call.id
	}
	return r.lease.ID
}

// sentQueue holds renewals in the order in which they were sent.
type sentQueue struct {
	items []sentRenewal
	head  int
}

func (q *sentQueue) len() int { return len(q.items) - q.head }

func (q *sentQueue) all() []sentRenewal { return q.items[q.head:] }

func (q *sentQueue) push(r sentRenewal) {
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

func (q *sentQueue) pop() sentRenewal {
	r := q.items[q.head]
	q.items[q.head] = sentRenewal{}
	q.head++
	return r
}

// usableLocked reports whether the stream may take renewals.
func (s *renewStream) usableLocked() bool {
	if t := s.pool.troubleLocked(); s.stalled || s.givenBack || s.Endpoint() == t.avoid && s.opened < t.stalledAt {
		return false // opened before the last stall, to the same member, so it is stuck too
	}
	state := s.Conn.State()
	return state == transport.Ready || state == transport.Suspect && s.openedSuspect
}

// fillLocked puts waiting renewals on the stream while it has room. A busy stream
// gets none until half of its window is free, so that renewals go in batches.
func (s *renewStream) fillLocked(now int64, b *outgoing) {
	p, k := s.pool, s.pool.k
	room := s.window - s.sent.len()
	if room <= 0 || s.sent.len() > 0 && room < s.window/2 || !s.usableLocked() {
		return
	}
	if s.sent.len() == 0 {
		s.progress = now
	}
	b.begin(s)
	for ; room > 0 && p.waitingLocked(); room-- {
		if len(p.calls) > 0 {
			c := p.calls[0]
			p.calls[0] = nil
			p.calls = p.calls[1:]
			if c.finished || c.abandoned {
				continue
			}
			c.sent = now
			s.sent.push(sentRenewal{call: c, at: now})
			b.add(c.id)
			continue
		}
		l := p.due.first().lease
		l.leaveHeap()
		l.lastSend = now
		l.next = k.nextLocked(l.ttl, now)
		k.timers.push(l, l.wakeLocked())
		s.sent.push(sentRenewal{lease: l, at: now})
		b.add(l.ID)
	}
}

// checkStallLocked detects a stream that is held up because it has answered nothing
// for a while. Most likely the server waits for the deletion of an expired lease
// before it answers; or the stream is slow and got too many renewals. Those in flight
// are also sent elsewhere, the first to quarantine if it is to blame. The stream stays
// open: its answers still count when they arrive.
func (s *renewStream) checkStallLocked(now int64) {
	p := s.pool
	if s.stalled || s.sent.len() == 0 {
		return
	}
	limit := p.stallAfterLocked()
	switch {
	case now-s.progress >= p.patienceLocked(limit), s.desertedLocked():
		s.stalled = true
		p.stalls++
		p.avoid, p.stalledAt = s.Endpoint(), now
		s.resendLocked(1)
	case now-s.queuedSinceLocked() >= limit:
		s.stalled = true
		s.window = max(s.window/8, min(4, p.window))
		s.resendLocked(0)
	}
}

// desertedLocked reports whether the stream's connection has turned suspect, or was
// suspect before and has been replaced by another one.
func (s *renewStream) desertedLocked() bool {
	state, turned := s.Conn.State(), s.suspected.Load()
	return state == transport.Suspect && (!s.openedSuspect || turned) || state == transport.Draining && (s.openedSuspect || turned)
}

// queuedSinceLocked returns since when the first renewal in flight waits behind
// others, as far as the keeper knows.
func (s *renewStream) queuedSinceLocked() int64 { return s.sent.all()[0].at + s.wayLocked() }

// wayLocked returns how long an answer takes that waits behind no other: the time
// of the fastest recent one.
func (s *renewStream) wayLocked() int64 { return min(s.quickest[0], s.quickest[1]) }

// resendLocked queues the renewals in flight again for another stream; the first
// blamed of them go to quarantine.
func (s *renewStream) resendLocked(blamed int) {
	k := s.pool.k
	for i, r := range s.sent.all() {
		if r.call != nil {
			if !r.call.finished && !r.call.abandoned {
				s.pool.calls = append(s.pool.calls, r.call)
			}
			continue
		}
		l := r.lease
		if l.hasEnded() || l.holds == 0 || l.lastSend != r.at || l.heap != &k.timers {
			continue // ended, released, sent again since, or already queued
		}
		if i < blamed {
			l.quarantined = true
		}
		l.leaveHeap()
		k.poolLocked(l).pushLocked(l)
	}
}

// suspectLook is how often a stream with renewals on a suspect connection looks for
// another connection.
const suspectLook = int64(250 * time.Millisecond)

// lookAgainLocked returns when to check the stream again, or false if it should be
// given back.
func (s *renewStream) lookAgainLocked(now int64) (at int64, keep bool) {
	switch {
	case s.sent.len() == 0 && !s.usableLocked():
		return 0, false
	case s.sent.len() == 0:
		at = s.progress + streamIdle
		return at, at > now
	case s.stalled:
		at = s.progress + s.uselessAfterLocked()
		return at, at > now
	}
	limit := s.pool.stallAfterLocked()
	at = min(s.progress+s.pool.patienceLocked(limit), s.queuedSinceLocked()+limit)
	if s.openedSuspect {
		at = min(at, now+suspectLook)
	}
	return at, true
}

// uselessAfterLocked returns the age at which answers can no longer be of any use.
func (s *renewStream) uselessAfterLocked() int64 {
	longest := 4 * stallMost
	for _, r := range s.sent.all() {
		if r.lease != nil && !r.lease.hasEnded() {
			longest = max(longest, r.lease.ttl)
		}
	}
	return min(longest, 64*stallMost)
}

// receiveAll reads answers until the stream ends.
func (s *renewStream) receiveAll() *call.Error {
	k := s.pool.k
	var replies [][]byte
	var answers []Answer
	for {
		var err error
		clear(replies)
		replies, err = s.RecvAll(k.ctx, replies[:0])
		if err != nil {
			return s.Fail(k.ctx, err)
		}
		var bad *call.Error
		answers, bad = s.decode(replies, answers[:0])
		if !s.answered(answers) {
			return s.Broken("the server answered a renewal that the client did not request")
		}
		if bad != nil {
			return bad
		}
	}
}

// decode decodes replies up to the first malformed one.
func (s *renewStream) decode(replies [][]byte, answers []Answer) ([]Answer, *call.Error) {
	for _, reply := range replies {
		var resp Answer
		if err := resp.Decode(reply); err != nil {
			return answers, &call.Error{
				Op: rpc.Renew.Op, Endpoint: s.Endpoint(), Code: transport.Internal,
				Message: "cannot decode the answer: " + err.Error(), Cause: err, Transient: true,
			}
		}
		answers = append(answers, resp)
	}
	return answers, nil
}

// answered handles answers that arrived together. It returns false if one of them
// matches no renewal.
func (s *renewStream) answered(answers []Answer) bool {
	k := s.pool.k
	k.lock()
	defer k.unlock()
	now := k.clock.now()
	for i := range answers {
		if !s.answeredLocked(&answers[i], now) {
			return false
		}
	}
	s.pool.answeredLocked(s)
	return true
}

// answeredLocked handles an answer, which belongs to the first renewal in flight.
func (s *renewStream) answeredLocked(resp *Answer, now int64) bool {
	k := s.pool.k
	if s.sent.len() == 0 || s.sent.all()[0].id() != resp.ID {
		return false
	}
	r := s.sent.pop()
	s.progress = now
	s.answers++
	if !s.stalled {
		s.adaptLocked(now, now-r.at)
	}
	if s.sent.len() == 0 {
		s.stalled = false
	}
	l := r.lease
	if r.call != nil {
		r.call.succeedLocked(s.Endpoint(), r.at, resp)
		l = k.entries[resp.ID]
	}
	if l != nil {
		k.renewedLocked(l, s.Endpoint(), r.at, resp)
	}
	return true
}

// adaptLocked adapts the window to an answer that took the given time. Any time
// beyond that of the fastest answer was spent waiting behind others.
func (s *renewStream) adaptLocked(now, took int64) {
	p, k := s.pool, s.pool.k
	if now-s.period > min(max(k.shortest/2, int64(time.Second)), int64(10*time.Second)) {
		s.quickest[0], s.quickest[1], s.period = took, s.quickest[0], now
	}
	s.quickest[0] = min(s.quickest[0], took)
	switch waited, goal := took-s.wayLocked(), p.queueGoalLocked(); {
	case waited > goal:
		s.window = max(s.window-s.window/16-1, min(4, p.window))
	case waited < goal/2:
		s.window = min(s.window+1, p.window)
	}
	if p.first < p.window {
		p.first = min(p.first+1, 32, p.window)
	}
	k.latency += (s.wayLocked() - k.latency) / 8
}

// endedLocked removes a stream that has ended from its pool.
func (s *renewStream) endedLocked(err *call.Error) {
	p, k := s.pool, s.pool.k
	for i := range p.open {
		if p.open[i] == s {
			p.open = append(p.open[:i], p.open[i+1:]...)
			break
		}
	}
	if k.closed || s.givenBack && s.sent.len() == 0 {
		s.failCallsLocked(call.Closed(rpc.Renew.Op))
		return
	}
	if s.givenBack {
		err = s.Broken("the server did not answer")
	}
	if s.sent.len() == 0 || !err.BlamesLease() {
		p.avoid = s.Endpoint()
		if s.answers == 0 || err.Answered {
			p.failedLocked(err)
		} else {
			p.troubledLocked(err)
		}
		if err.Final() {
			s.failCallsLocked(err)
		}
		s.resendLocked(0)
		return
	}
	// The server ended the stream because of the first renewal in flight.
	p.first = max(p.first/2, 1)
	r := s.sent.pop()
	if r.call != nil {
		r.call.failLocked(err)
	} else {
		k.blameLocked(r.lease, p, err)
	}
	s.resendLocked(0)
}

// failCallsLocked ends the calls whose renewals are in flight. Leases go on trying until
// their deadlines.
func (s *renewStream) failCallsLocked(err *call.Error) {
	for _, r := range s.sent.all() {
		if r.call != nil {
			r.call.failLocked(err)
		}
	}
}

// blamePause is the first pause between two tries for a lease in quarantine.
const blamePause = 100 * time.Millisecond

// blameLocked puts a lease in quarantine or extends its stay there.
func (k *Keeper) blameLocked(l *Entry, p *pool, err *call.Error) {
	if l.hasEnded() || l.holds == 0 {
		return
	}
	l.lastErr = err
	if p != &k.quarantine {
		l.quarantined = true
		l.leaveHeap()
		k.quarantine.pushLocked(l)
		return
	}
	// Twice as long each time, but shorter as the lease nears its end.
	now := k.clock.now()
	b := backoff.Backoff{First: blamePause, Cap: time.Duration(max((l.deadlineLocked()-now)/2, l.ttl/16))}
	pause := b.Span(int(l.failures))
	l.failures++
	l.leaveHeap()
	l.next = now + int64(backoff.Jitter(pause, pause/5))
	k.timers.push(l, l.wakeLocked())
}
