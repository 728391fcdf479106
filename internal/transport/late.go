package transport

import (
	"context"
	"time"
)

// Pending is a Call whose answer is late and still due; Call returns it as its
// error when the request has NotifyLate. The caller must go on with [Pending.Wait]
// or end it with [Pending.Cancel], and keep the request's message until then.
// One goroutine may use it at a time.
type Pending struct {
	s       *stream
	expired <-chan time.Time // nil: the call has no bound of its own
}

// Error makes a Pending fit where an error goes; it is no failure.
func (p *Pending) Error() string { return "the answer is late" }

// Wait waits on. It returns p itself when other, which may be nil, was first; the
// call goes on then.
func (p *Pending) Wait(ctx context.Context, other <-chan struct{}) ([]byte, error) {
	s, c := p.s, p.s.conn
	for {
		if reply, err, done := p.result(); done {
			return reply, err
		}
		select {
		case <-s.notify:
		case <-other:
			return nil, p
		case <-ctx.Done():
			return c.giveUp(s, func(o Outcome) *Error { return contextError(ctx, o) })
		case <-p.expired:
			return c.giveUp(s, timedOut)
		}
	}
}

// Cancel ends the call.
func (p *Pending) Cancel() {
	_, _ = p.s.conn.giveUp(p.s, func(o Outcome) *Error { return &Error{Code: Canceled, Outcome: o, Cause: ErrClosed} })
}

// result is the answer if it has come. The stream does not go back to the pool:
// the reader may still be about to signal it.
func (p *Pending) result() (reply []byte, err error, done bool) {
	c := p.s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !p.s.done {
		return nil, nil, false
	}
	if p.s.err != nil {
		return nil, p.s.err, true
	}
	return p.s.reply, nil, true
}

// pending is what a Call becomes that the watchdog has called late. Its answer
// may have come just then.
func (c *conn) pending(s *stream, expired <-chan time.Time) ([]byte, error) {
	p := &Pending{s, expired}
	if reply, err, done := p.result(); done {
		return reply, err
	}
	return nil, p
}

// lateByTimer is the same for a Call whose LateAfter has passed. From here on
// the timer stands for what is left of its Timeout.
func (c *conn) lateByTimer(s *stream, req *Request) ([]byte, error) {
	var expired <-chan time.Time
	if req.Timeout > 0 {
		expired = s.startTimer(req.Timeout - req.LateAfter)
	}
	return c.pending(s, expired)
}

// lateTicks is how many ticks a call may see before its answer is late; the first
// is not a whole one.
const lateTicks = 7

// lateLocked marks the calls that are late, all that wait if the connection has
// just turned suspect, and returns them to be signalled. It also returns what
// the streams want to be called then.
func (c *conn) lateLocked(suspect bool) (late []*stream, calls []func()) {
	check := func(s *stream) {
		switch {
		case s.req.NotifyLate && s.unary && !s.late.Load() && (suspect || c.ticks-s.ticksBefore >= lateTicks):
			s.late.Store(true)
			late = append(late, s)
		case suspect && s.req.OnSuspect != nil:
			calls = append(calls, s.req.OnSuspect)
		}
	}
	for _, s := range c.streams {
		check(s)
	}
	for s := c.opening.head; s != nil; s = s.next {
		check(s)
	}
	return late, calls
}
