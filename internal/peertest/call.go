package peertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"silly.store/etcd/internal/transport"
)

// LateAfter is how long a call with NotifyLate waits until it is late, unless it
// asks for a shorter time.
const LateAfter = 1600 * time.Millisecond

// call is a waiting call. It is a transport.Pending once it is late.
type call struct {
	conn   *Conn
	cancel context.CancelFunc // of the handler's context
	answer chan result        // capacity 1
	turned chan struct{}      // capacity 1: the connection became suspect
	quiet  chan struct{}      // capacity 1: it became quiet

	// Used by the caller's goroutine only.
	expired <-chan time.Time // nil: only the context bounds the call
	late    <-chan time.Time // nil: it is already late, or never becomes late
	suspect <-chan struct{}  // turned, or nil for the same reasons
	hushed  <-chan struct{}  // quiet, or nil for the same reasons
	early   bool             // only the request's LateAfter has passed, or late waits for it, or the connection was quiet
	rest    time.Duration    // from then until it is late like any other; 0: late waits for that
}

type result struct {
	body []byte
	err  error
}

// handlerContext is the part of the caller's context that a member knows: the
// deadline.
type handlerContext struct {
	context.Context
	deadline time.Time
}

func (c handlerContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Call makes the member's handler answer req.
func (c *Conn) Call(ctx context.Context, req transport.Request) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx, transport.NotSent)
	}
	req.Message, req.Tail = slices.Concat(req.Message, req.Tail), nil
	p := &call{conn: c, answer: make(chan result, 1), turned: make(chan struct{}, 1), quiet: make(chan struct{}, 1)}
	if err := p.begin(ctx, req); err != nil {
		return nil, err
	}
	if req.Timeout > 0 {
		p.expired = time.After(req.Timeout)
	}
	if req.NotifyLate {
		wait := LateAfter
		if p.early = req.LateAfter > 0 && req.LateAfter < wait; p.early {
			wait, p.rest = req.LateAfter, wait-req.LateAfter
		}
		p.late, p.suspect, p.hushed = time.After(wait), p.turned, p.quiet
	}
	return p.Wait(ctx, nil)
}

// begin starts the handler.
func (p *call) begin(ctx context.Context, req transport.Request) error {
	c := p.conn
	handle := c.Member.handler(req.Path)
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	deadline, _ := ctx.Deadline()

	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refusalLocked(); err != nil {
		cancel()
		return err
	}
	c.Member.got(req)
	c.calls[p] = struct{}{}
	c.routines.Go(func() {
		body, err := handle(handlerContext{own, deadline}, req)
		p.answered(own, body, err)
	})
	return nil
}

// answered passes the handler's result to the caller, if the caller still waits.
func (p *call) answered(own context.Context, body []byte, err error) {
	if own.Err() != nil {
		return
	}
	if reason := loss(err); reason != nil {
		p.conn.End(reason)
		return
	}
	var e *transport.Error
	if err == nil || errors.As(err, &e) && e.Outcome == transport.Answered {
		p.conn.hasAnswered()
	}
	p.answer <- result{body, err}
}

func (p *call) Error() string { return "the answer is late" }

// Early reports whether only the request's LateAfter has passed, or the connection was quiet.
func (p *call) Early() bool { return p.early }

// Wait waits for the answer. The error is p itself if the call becomes late or other
// comes first.
func (p *call) Wait(ctx context.Context, other <-chan struct{}) ([]byte, error) {
	select {
	case r := <-p.answer:
		p.over(false)
		return r.body, r.err
	case <-other:
		return nil, p
	case <-p.late:
		if p.rest > 0 {
			p.late, p.rest = time.After(p.rest), 0
			return nil, p
		}
		return nil, p.isLate()
	case <-p.hushed:
		p.early, p.hushed = true, nil
		return nil, p
	case <-p.suspect:
		return nil, p.isLate()
	case <-p.conn.done:
		return p.giveUp(withOutcome(p.conn.err, transport.MaybeSent), false)
	case <-ctx.Done():
		return p.giveUp(contextError(ctx, transport.MaybeSent), true)
	case <-p.expired:
		return p.giveUp(&transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}, true)
	}
}

func (p *call) isLate() *call {
	p.late, p.suspect, p.hushed, p.early = nil, nil, nil, false
	return p
}

// Cancel ends the call.
func (p *call) Cancel() { p.over(true) }

// giveUp ends the call before its answer. An answer that has arrived meanwhile
// counts.
func (p *call) giveUp(err *transport.Error, cancelled bool) ([]byte, error) {
	select {
	case r := <-p.answer:
		p.over(false)
		return r.body, r.err
	default:
	}
	p.over(cancelled)
	return nil, err
}

func (p *call) over(cancelled bool) {
	p.cancel()
	c := p.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, p)
	c.Member.count(func(n *Counts) {
		n.Waiting--
		if cancelled {
			n.Cancelled++
		}
	})
	c.endIfDrainedLocked()
}
