package transport

import (
	"context"
	"time"
)

// Call sends req and waits for its answer, the context or req.Timeout,
// whichever is first.
func (c *conn) Call(ctx context.Context, req Request) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx, NotSent)
	}
	s := c.pool.Get().(*stream)
	s.init(c, req)
	s.unary, s.closeSend = true, true
	s.setPrefix(len(req.Message) + len(req.Tail))
	s.body, s.tail = req.Message, req.Tail
	s.deadline = Deadline(ctx)

	c.mu.Lock()
	borrowed, err := c.beginLocked(s)
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	reads := borrowed && !s.hurried()
	if borrowed && !reads {
		c.giveBackLocked()
	}
	c.flush()
	if reads {
		c.readFor(s)
	}
	return c.wait(ctx, s, &req)
}

// beginLocked queues s if the connection takes it. borrowed: the read side was free, and the
// caller has it. It may release mu for a moment.
func (c *conn) beginLocked(s *stream) (borrowed bool, err error) {
	borrowed = c.borrowLocked()
	if err := c.refusalLocked(&s.req); err != nil {
		if borrowed {
			c.giveBackLocked()
		}
		return false, err
	}
	c.enqueueLocked(s)
	return borrowed, nil
}

// init readies a new or pooled stream for req.
func (s *stream) init(c *conn, req Request) {
	s.conn = c
	s.req = req
	s.inNeed = -1
}

// wait waits for a unary call that has been queued.
func (c *conn) wait(ctx context.Context, s *stream, req *Request) ([]byte, error) {
	limit, toBeLate := req.Timeout, false
	if req.LateAfter > 0 && (limit <= 0 || req.LateAfter < limit) {
		limit, toBeLate = req.LateAfter, true
	}
	var expired <-chan time.Time
	var began time.Time // only where the timer is not the Timeout's
	if limit > 0 {
		expired = s.startTimer(limit)
	}
	if toBeLate {
		began = time.Now()
	}
	select {
	case <-s.notify:
		if s.late.Load() || s.early.Load() {
			if toBeLate {
				expired = s.restOf(req.Timeout, began)
			}
			return c.pending(s, expired)
		}
		reply, err := s.reply, s.err
		if limit > 0 {
			s.timer.Stop()
		}
		s.release()
		if err != nil {
			return nil, err
		}
		return reply, nil
	case <-ctx.Done():
		return c.giveUp(s, func(o Outcome) *Error { return contextError(ctx, o) })
	case <-expired:
		if toBeLate {
			return c.pending(s, s.restOf(req.Timeout, began))
		}
		return c.giveUp(s, timedOut)
	}
}

func timedOut(o Outcome) *Error {
	return &Error{Code: DeadlineExceeded, Outcome: o, Cause: ErrTimeout}
}

// restOf has the stream's timer stand for what is left of a Call's timeout, if it has one.
func (s *stream) restOf(timeout time.Duration, began time.Time) (expired <-chan time.Time) {
	if timeout <= 0 {
		s.timer.Stop()
		return nil
	}
	return s.startTimer(timeout - time.Since(began))
}

func (s *stream) startTimer(d time.Duration) <-chan time.Time {
	if s.timer == nil {
		s.timer = time.NewTimer(d)
	} else {
		s.timer.Reset(d)
	}
	return s.timer.C
}

// giveUp ends a unary call before its answer. The answer may have come
// meanwhile; then it counts. Either way s does not go back to the pool: the
// reader may be about to signal it.
func (c *conn) giveUp(s *stream, reason func(Outcome) *Error) ([]byte, error) {
	c.mu.Lock()
	if s.done {
		reply, err := s.reply, s.err
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return reply, nil
	}
	err := c.waitedLocked(s, reason(s.outcome()))
	c.doubt = c.doubt || c.reads == s.readsBefore
	c.abandonLocked(s, err)
	c.flush()
	return nil, err
}

// Open starts a stream.
func (c *conn) Open(ctx context.Context, req Request) (Stream, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx, NotSent)
	}
	s := newStream()
	s.init(c, req)
	if req.Message != nil {
		s.queueMessage(req.Message)
	}
	s.req.Message = nil
	s.closeSend = req.CloseSend

	c.mu.Lock()
	borrowed, err := c.beginLocked(s)
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if borrowed {
		c.giveBackLocked()
	}
	c.flush()
	return s, nil
}

// Deadline is ctx's deadline; the zero time if it has none. A context without one
// may return any time, and client/v3's do.
func Deadline(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Time{}
}
