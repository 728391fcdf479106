package etcd

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// call makes a unary call with the retries that r's class allows. The result
// belongs to the caller; msg is not used after it returns.
func (c *Client) call(ctx context.Context, r *rpc, msg []byte) ([]byte, *Error) {
	for attempts := 1; ; attempts++ {
		r.fate.attempt(attempts)
		reply, err := c.attempt(ctx, r, msg)
		if err == nil {
			return reply, nil
		}
		err.Attempts = attempts
		if attempts > c.retries || !c.mayRetry(r, err) {
			return nil, err
		}
		pause := jitter(c.retrySleep, c.retrySleep/5)
		c.observer.retry(r.op, attempts, pause, err)
		if end := c.pause(ctx, pause, err); end != nil {
			return nil, end
		}
	}
}

// mayRetry reports whether a request that ended with err may be sent again.
func (c *Client) mayRetry(r *rpc, err *Error) bool {
	if !err.transient || r.class == never {
		return false
	}
	if (r.member != nil || r.shared) && err.sentinel == ErrNotSupportedForLearner {
		return false // others may; this one will not, or not all of it at once
	}
	return r.class != write || err.Outcome != OutcomeUnknown || c.retryWrites == AtLeastOnce
}

// pause waits for d after err, before another try. It returns nil when that may
// be made, and else what err becomes because the context or the client ended.
func (c *Client) pause(ctx context.Context, d time.Duration, err *Error) *Error {
	t := time.NewTimer(d)
	defer t.Stop()
	end := *err
	end.transient, end.election = false, false
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		end.Code, end.cause = codeOfContext(ctx), errors.Join(ctx.Err(), err.cause)
		end.Message = ctx.Err().Error() + "; last error: " + err.text()
	case <-c.done:
		end.Code, end.cause, end.sentinel = CodeCanceled, nil, ErrClosed
		end.Message = "the client is closed; last error: " + err.text()
	}
	return &end
}

const (
	// electionPause is about how long an attempt waits before it asks again
	// while the members have no leader.
	electionPause = 37 * time.Millisecond
	// maxResends is how often at least one attempt may send a request again at
	// once that no member has seen. More members allow more.
	maxResends = 3
)

// attempt makes one attempt, bounded by Config.Timeout or the context's
// deadline. Inside it a request that another member may serve moves there at
// once, and an election is waited for.
func (c *Client) attempt(ctx context.Context, r *rpc, msg []byte) ([]byte, *Error) {
	if ctx.Err() != nil {
		return nil, &Error{Op: r.op, Code: codeOfContext(ctx), Outcome: NotSent, cause: ctx.Err()}
	}
	bound := c.bound(ctx, r)
	var election *Error // the last one
	for moves := 0; ; {
		reply, err := c.try(ctx, r, msg, bound)
		if err == nil {
			return reply, nil
		}
		switch {
		case moves < c.maxMoves(r, err):
			moves++
		case err.election:
			election = err
			if bound.left() < 2*electionPause {
				return nil, err
			}
			if end := c.pause(ctx, jitter(electionPause, electionPause/3), err); end != nil {
				return nil, end
			}
		default:
			return nil, err.whileWaitingFor(election)
		}
	}
}

// maxMoves is how often an attempt may send a request again at once, given that
// it has just ended with err.
func (c *Client) maxMoves(r *rpc, err *Error) int {
	members := c.set.Size()
	switch {
	case err.unseen():
		return max(members, maxResends)
	case err.sentinel == ErrTimeout, !err.elsewhere && (err.answered || err.sentinel != ErrUnavailable):
		return 0 // the attempt's time is over, or there is no better member
	case r.class == read && err.Endpoint != "":
		if r.member != nil {
			return 1
		}
		return members // a lost connection, once also when there is no other member
	case r.class != never && err.elsewhere && err.Outcome != OutcomeUnknown:
		return members
	}
	return 0
}

// unseen: a member was reached and has done nothing, because the request was not
// sent or was turned away for its token. It may be sent again at once.
func (e *Error) unseen() bool {
	return e.resend || e.Outcome == NotSent && e.Endpoint != "" && e.transient
}

// whileWaitingFor adds to an end of time that it was an election which took it.
func (e *Error) whileWaitingFor(election *Error) *Error {
	if election == nil {
		return e
	}
	text := e.text()
	switch {
	case e.sentinel == ErrTimeout:
		e.cause = election.sentinel
	case e.sentinel == nil && (errors.Is(e.cause, context.DeadlineExceeded) || errors.Is(e.cause, context.Canceled)):
		e.sentinel = election.sentinel
	default:
		return e
	}
	e.Message = text + "; last error: " + election.text()
	return e
}

// pick finds a connection, bringing one up within bound if it must.
func (c *Client) pick(ctx context.Context, r *rpc, bound bound) (balance.Picked, error) {
	if r.member == nil {
		if p, ok := c.scout.up(r); ok {
			return p, nil
		}
		if p, ok := c.set.Up(r.lane); ok {
			return p, nil
		}
	}
	if t := bound.timeout(); t > 0 {
		bounded, cancel := context.WithTimeoutCause(ctx, t, transport.ErrTimeout)
		defer cancel()
		p, err := c.choose(bounded, r)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil {
			err = timedOut(err)
		}
		return p, err
	}
	return c.choose(ctx, r)
}

func (c *Client) choose(ctx context.Context, r *rpc) (balance.Picked, error) {
	if r.member != nil {
		return c.set.PickNamed(ctx, r.lane, *r.member)
	}
	return c.set.Pick(ctx, r.lane)
}

// timedOut is err when it was Config.Timeout that ended the connecting, not the
// caller's context.
func timedOut(err error) error {
	out := &transport.Error{Code: transport.DeadlineExceeded, Outcome: transport.NotSent, Cause: transport.ErrTimeout}
	var te *transport.Error
	if errors.As(err, &te) {
		out.Message = te.Message
	}
	return out
}

// bound is the end of an attempt; the zero value is none.
type bound struct {
	end time.Time
}

// bound returns the bound of an attempt. A context's deadline replaces
// Config.Timeout, and the context enforces it.
func (c *Client) bound(ctx context.Context, r *rpc) bound {
	if c.timeout == 0 || r.unbounded {
		return bound{}
	}
	if _, ok := ctx.Deadline(); ok {
		return bound{}
	}
	return bound{time.Now().Add(c.timeout)}
}

// timeout is what is left as the transport wants it: 0 means no bound.
func (b bound) timeout() time.Duration {
	if b.end.IsZero() {
		return 0
	}
	return max(time.Until(b.end), 1)
}

// left is what is left, much if there is no bound.
func (b bound) left() time.Duration {
	if b.end.IsZero() {
		return time.Hour
	}
	return time.Until(b.end)
}

// jitter is d, up to spread longer or shorter.
func jitter(d, spread time.Duration) time.Duration {
	if spread <= 0 {
		return d
	}
	return d - spread + rand.N(2*spread+1)
}

// sleep waits for d; it reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
