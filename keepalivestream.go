package etcd

import (
	"context"
	"io"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// renewStream is a keep-alive stream with the renewals that are under way on it.
type renewStream struct {
	pool   *pool
	conn   balance.Picked
	stream transport.Stream
	token  *token // what it was opened with
	// desperate: its connection was suspect when it was opened, because there was
	// no better one.
	desperate bool

	// The fields below are guarded by keeper.mu.

	sent     renewals // in the order in which they will be answered
	window   int      // how many may be under way
	quickest [2]int64 // time that an answer took, in this period and the one before
	period   int64    // when this one began
	progress int64    // when it last answered, or was given something to do
	opened   int64
	answers  int
	stalled  bool // it is held up: nothing more is put on it
	given    bool // back: we have closed it
}

// renewal is a request under way: of a lease or a call.
type renewal struct {
	lease *Lease
	call  *renewCall
	at    int64
}

func (r *renewal) id() LeaseID {
	if r.call != nil {
		return r.call.id
	}
	return r.lease.ID
}

// renewals is a queue.
type renewals struct {
	items []renewal
	head  int
}

func (q *renewals) len() int { return len(q.items) - q.head }

func (q *renewals) all() []renewal { return q.items[q.head:] }

func (q *renewals) push(r renewal) {
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

func (q *renewals) pop() renewal {
	r := q.items[q.head]
	q.items[q.head] = renewal{}
	q.head++
	return r
}

// While a member is stuck, a stream goes to another one if such a one comes up
// within so many tries. Each pause is twice as long as the one before: a tenth of a
// second in all.
const (
	pickTries = 8
	pickPause = time.Millisecond
)

// pick chooses the connection for a stream, if possible to another member than
// avoid. If that is stuck, others are waited for a while: its own connection is up,
// and would be taken before theirs are. A follower forwards every renewal to the
// leader, so that one comes first if it is preferred and known.
func (k *keeper) pick(ctx context.Context, avoid string, stuck bool) (balance.Picked, error) {
	for pause, tries := pickPause, 1; ; pause, tries = 2*pause, tries+1 {
		p, ok := k.c.scout.up(&rpcRenew)
		if !ok || p.Endpoint == avoid {
			p, ok = k.c.set.Up(rpcRenew.lane)
		}
		if ok && p.Endpoint == avoid {
			if other, better := k.c.set.Other(p, rpcRenew.lane); better {
				p = other
			}
		}
		if !ok {
			var err error
			if p, err = k.c.set.Pick(ctx, rpcRenew.lane); err != nil {
				return p, err
			}
		}
		if p.Endpoint != avoid && p.State() == transport.Ready || !stuck || tries == pickTries {
			return p, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return p, nil
		}
	}
}

func (s *renewStream) request() transport.Request {
	// Somebody waits for a KeepAliveOnce, and nobody for the others.
	return transport.Request{Path: rpcRenew.path, Token: s.token.value(), RequireLeader: true, Patient: s.pool != &s.pool.k.once}
}

// usableLocked: renewals may be put on it.
func (s *renewStream) usableLocked() bool {
	if t := s.pool.troubleLocked(); s.stalled || s.given || s.conn.Endpoint == t.avoid && s.opened < t.stalledAt {
		return false // the member of the last one, with what was open then, is stuck too
	}
	state := s.conn.State()
	return state == transport.Ready || state == transport.Suspect && s.desperate
}

// fillLocked puts waiting renewals on the stream as far as it has room. A little
// room is left for later, so that renewals go in batches.
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
			s.sent.push(renewal{call: c, at: now})
			b.add(c.id)
			continue
		}
		l := p.due.first().lease
		l.leaveHeap()
		l.lastSend = now
		l.next = k.nextLocked(l.ttl, now)
		k.timers.push(l, l.wakeLocked())
		s.sent.push(renewal{lease: l, at: now})
		b.add(l.ID)
	}
}

// checkStallLocked finds a stream that is held up: it has answered nothing for a
// while, most likely because of an expired lease, for whose deletion the server
// waits before it answers; or it is slow and too much was put on it. What is under
// way goes elsewhere too, the first alone if it is to blame. The stream stays: its
// answers are good when they come.
func (s *renewStream) checkStallLocked(now int64) {
	p := s.pool
	if s.stalled || s.sent.len() == 0 {
		return
	}
	limit := p.stallAfterLocked()
	switch {
	case now-s.progress >= limit<<min(p.stalls, 3), !s.desperate && s.conn.State() == transport.Suspect:
		s.stalled = true
		p.stalls++
		p.avoid, p.stalledAt = s.conn.Endpoint, now
		s.resendLocked(1)
	case now-s.queuedSinceLocked() >= limit:
		s.stalled = true
		s.window = max(s.window/8, min(4, p.window))
		s.resendLocked(0)
	}
}

// queuedSinceLocked is since when the first of those under way waits behind
// others, as far as can be told.
func (s *renewStream) queuedSinceLocked() int64 { return s.sent.all()[0].at + s.wayLocked() }

// wayLocked is how long an answer takes that waits behind no other: what the
// quickest has taken lately.
func (s *renewStream) wayLocked() int64 { return min(s.quickest[0], s.quickest[1]) }

// resendLocked puts what is under way in line again, for another stream; the
// first blamed of them go to quarantine.
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
		if l.ended.Load() != nil || l.keepers == 0 || l.lastSend != r.at || l.heap != &k.timers {
			continue // over, not to be renewed, sent again since, or in line already
		}
		if i < blamed {
			l.alone = true
		}
		l.leaveHeap()
		l.poolLocked().pushLocked(l)
	}
}

// lookAgainLocked is when the stream has to be looked at again; false when it is
// to be given back.
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
	return min(s.progress+limit<<min(s.pool.stalls, 3), s.queuedSinceLocked()+limit), true
}

// uselessAfterLocked is how old answers may become before none can be of use.
func (s *renewStream) uselessAfterLocked() int64 {
	longest := 4 * stallMost
	for _, r := range s.sent.all() {
		if r.lease != nil && r.lease.ended.Load() == nil {
			longest = max(longest, r.lease.ttl)
		}
	}
	return min(longest, 64*stallMost)
}

// receiveAll reads answers until the stream ends.
func (s *renewStream) receiveAll() *Error {
	k := s.pool.k
	var replies [][]byte
	var answers []leaseKeepAliveResponse
	for {
		var err error
		clear(replies)
		replies, err = s.stream.RecvAll(k.ctx, replies[:0])
		if err == io.EOF {
			return s.broken("the server ended the keep-alive stream")
		}
		if err != nil {
			e := callError(&rpcRenew, s.conn.Endpoint, err)
			e.resend = k.c.tokens.rejected(s.token, e)
			return e
		}
		var bad *Error
		answers, bad = s.decode(replies, answers[:0])
		if !s.answered(answers) {
			return s.broken("the server answered a renewal that it was not asked for")
		}
		if bad != nil {
			return bad
		}
	}
}

// broken is the error of a stream that the server has not kept to.
func (s *renewStream) broken(message string) *Error {
	return &Error{Op: rpcRenew.op, Endpoint: s.conn.Endpoint, Code: CodeUnavailable, Message: message, sentinel: ErrUnavailable, transient: true}
}

// decode decodes replies, up to the first that cannot be.
func (s *renewStream) decode(replies [][]byte, answers []leaseKeepAliveResponse) ([]leaseKeepAliveResponse, *Error) {
	for _, reply := range replies {
		var resp leaseKeepAliveResponse
		if err := resp.decodeWire(reply); err != nil {
			return answers, &Error{
				Op: rpcRenew.op, Endpoint: s.conn.Endpoint, Code: CodeInternal,
				Message: "the answer cannot be decoded: " + err.Error(), cause: err, transient: true,
			}
		}
		answers = append(answers, resp)
	}
	return answers, nil
}

// answered takes answers that have come together. It reports false when one
// answers nothing.
func (s *renewStream) answered(answers []leaseKeepAliveResponse) bool {
	k := s.pool.k
	k.mu.Lock()
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

// answeredLocked takes an answer: it is for the first of those under way.
func (s *renewStream) answeredLocked(resp *leaseKeepAliveResponse, now int64) bool {
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
		r.call.succeedLocked(s.conn.Endpoint, r.at, resp)
		l = k.leases[resp.ID]
	}
	if l != nil {
		k.renewedLocked(l, s.conn.Endpoint, resp)
		k.answeredLocked(l, r.at, seconds(resp.TTL))
	}
	return true
}

// adaptLocked learns from an answer that took the given time. What it took more
// than the quickest was spent waiting behind others.
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

// endedLocked takes a stream that has ended off its pool.
func (s *renewStream) endedLocked(err *Error) {
	p, k := s.pool, s.pool.k
	for i := range p.open {
		if p.open[i] == s {
			p.open = append(p.open[:i], p.open[i+1:]...)
			break
		}
	}
	if k.closed || s.given && s.sent.len() == 0 {
		for _, r := range s.sent.all() {
			if r.call != nil {
				r.call.failLocked(clientClosed(r.call.op))
			}
		}
		return
	}
	if s.given {
		err = &Error{Op: rpcRenew.op, Endpoint: s.conn.Endpoint, Code: CodeUnavailable, Message: "the server did not answer", sentinel: ErrUnavailable, transient: true}
	}
	if s.sent.len() == 0 || !err.blamesOne() {
		p.avoid = s.conn.Endpoint
		if s.answers == 0 || err.answered {
			p.failedLocked(err)
		} else {
			p.lastErr = err
		}
		s.resendLocked(0)
		return
	}
	// The server has ended the stream for the first of those under way.
	p.first = max(p.first/2, 1)
	r := s.sent.pop()
	if r.call != nil {
		r.call.failLocked(err)
	} else {
		k.blameLocked(r.lease, p, err)
	}
	s.resendLocked(0)
}

// blamesOne: the server's error is about the lease that it was renewing, and not
// about the stream or the member.
func (e *Error) blamesOne() bool {
	if !e.answered || e.resend {
		return false
	}
	switch e.sentinel {
	case ErrNoLeader, ErrLeaderChanged, ErrServerStopped, ErrUnavailable, ErrUnauthenticated,
		ErrInvalidAuthToken, ErrNotSupportedForLearner, ErrTooManyRequests:
		return false
	}
	return e.Code != CodeCanceled && e.Code != CodeUnimplemented
}

// blamePause is the first pause between two tries of a lease in quarantine.
const blamePause = int64(100 * time.Millisecond)

// blameLocked puts a lease in quarantine, or keeps it there a while longer.
func (k *keeper) blameLocked(l *Lease, p *pool, err *Error) {
	if l.ended.Load() != nil || l.keepers == 0 {
		return
	}
	l.lastErr = err
	if p != &k.alone {
		l.alone = true
		l.leaveHeap()
		k.alone.pushLocked(l)
		return
	}
	// Twice as long each time, but the nearer the end the sooner.
	now := k.clock.now()
	pause := min(blamePause<<min(l.failures, 20), max((l.deadlineLocked()-now)/2, l.ttl/16))
	l.failures++
	l.leaveHeap()
	l.next = now + int64(jitter(time.Duration(pause), time.Duration(pause/5)))
	k.timers.push(l, l.wakeLocked())
}
