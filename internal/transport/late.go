package transport

import (
	"context"
	"time"
)

// Pending is a Call whose answer is late and still due; Call returns it as its
// error when the request has NotifyLate. The caller must go on with Wait or end it
// with Cancel, and keep the request's message until then. One goroutine may use it
// at a time.
type Pending interface {
	error // but no failure
	// Early reports whether only LateAfter has passed so far, or the connection was quiet.
	Early() bool
	// Wait waits on. It returns the Pending itself, and the call goes on, when other,
	// which may be nil, was first, and once more when a call that was Early has become
	// late.
	Wait(ctx context.Context, other <-chan struct{}) ([]byte, error)
	// Cancel ends the call.
	Cancel()
}

// lateCall is a Pending of a conn.
type lateCall struct {
	s       *stream
	expired <-chan time.Time // nil: the call has no bound
	early   bool
}

func (p *lateCall) Error() string { return "the answer is late" }

func (p *lateCall) Early() bool { return p.early }

func (p *lateCall) Wait(ctx context.Context, other <-chan struct{}) ([]byte, error) {
	s, c := p.s, p.s.conn
	for {
		if reply, err, done := p.result(); done {
			return reply, err
		}
		if p.early && s.late.Load() {
			p.early = false
			return nil, p
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

func (p *lateCall) Cancel() {
	_, _ = p.s.conn.giveUp(p.s, func(o Outcome) *Error { return &Error{Code: Canceled, Outcome: o, Cause: ErrClosed} })
}

// result is the answer if it has come. The stream does not go back to the pool:
// the reader may still be about to signal it.
func (p *lateCall) result() (reply []byte, err error, done bool) {
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

// pending is what a Call becomes that the watchdog has called late or early, or whose
// LateAfter has passed. Its answer may have come just then.
func (c *conn) pending(s *stream, expired <-chan time.Time) ([]byte, error) {
	p := &lateCall{s: s, expired: expired, early: !s.late.Load()}
	if reply, err, done := p.result(); done {
		return reply, err
	}
	return nil, p
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
		case s.wantsLate() && !s.late.Load() && (suspect || c.ticks-s.ticksBefore >= lateTicks):
			s.late.Store(true)
			late = append(late, s)
		case suspect && s.req.OnSuspect != nil:
			calls = append(calls, s.req.OnSuspect)
		}
	}
	c.eachLocked(check)
	return late, calls
}

// eachLocked calls f for each stream, open or still in line.
func (c *conn) eachLocked(f func(*stream)) {
	for _, s := range c.streams {
		f(s)
	}
	for s := c.opening.head; s != nil; s = s.next {
		f(s)
	}
}
