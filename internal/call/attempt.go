package call

import (
	"context"
	"fmt"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/transport"
)

// ElectionPause is about how long an attempt waits between requests while the
// members have no leader.
const ElectionPause = 37 * time.Millisecond

// Once makes one attempt at a unary call, bounded by Config.Timeout or the
// context's deadline. Within the attempt a request that another member may serve
// moves there at once, and the attempt waits out an election.
func (e *Engine) Once(ctx context.Context, r Request) (reply []byte, err *Error) {
	b := e.bound(ctx, &r)
	err = e.Attempt(ctx, r, b, func() (err *Error) {
		reply, err = e.try(ctx, r, b)
		return err
	})
	return reply, err
}

// Attempt is Once for a request that try sends.
func (e *Engine) Attempt(ctx context.Context, r Request, b Bound, try func() *Error) *Error {
	if ctx.Err() != nil {
		return ContextEnded(ctx, r.Method, "")
	}
	var last *Error // of the previous try
	var elections ElectionWait
	for moves := 0; ; {
		err := try().After(last)
		switch {
		case err == nil:
			return nil
		case moves < err.mayMove(&r, e.Set.Size()):
			moves++
		case err.awaitsElection():
			if b.left() < 2*ElectionPause || elections.Over(ctx, err) {
				return err
			}
			if end := e.pause(ctx, backoff.Jitter(ElectionPause, ElectionPause/3), err); end != nil {
				return end
			}
		default:
			return err
		}
		last = err
	}
}

// Bound is the time by which an attempt must end; the zero value sets no limit.
type Bound struct {
	end time.Time
}

// Bound returns the bound of an attempt to connect for a stream.
func (e *Engine) Bound(ctx context.Context) Bound {
	if e.config.Timeout == 0 {
		return Bound{}
	}
	if _, ok := ctx.Deadline(); ok {
		return Bound{} // the context enforces it
	}
	return Bound{time.Now().Add(e.config.Timeout)}
}

// bound returns the bound of an attempt at a call. A context's deadline replaces
// Config.Timeout.
func (e *Engine) bound(ctx context.Context, r *Request) Bound {
	if r.Method.Unbounded {
		return Bound{}
	}
	return e.Bound(ctx)
}

// Timeout returns the remaining time in the transport's form: 0 means no bound.
func (b Bound) Timeout() time.Duration {
	if b.end.IsZero() {
		return 0
	}
	return max(time.Until(b.end), 1)
}

// left returns the remaining time, or a very long one if there is no bound.
func (b Bound) left() time.Duration {
	if b.end.IsZero() {
		return time.Hour
	}
	return time.Until(b.end)
}

// expiry is signalled when b ends; stop releases its timer.
func (b Bound) expiry() (over <-chan time.Time, stop func()) {
	if b.end.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(b.end))
	return t.C, func() { t.Stop() }
}

// Sleep waits for d. It returns false if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Signal sends on a channel of capacity 1 that may be nil. It never blocks.
func Signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// transport returns the fields that all transport requests made for r have in
// common.
func (r *Request) transport(token *token) transport.Request {
	return transport.Request{
		Path: r.Method.Path, Message: r.Message, Tail: r.Tail, Buffer: r.Buffer, Token: token.value(), RequireLeader: !r.Method.Local,
	}
}

// BoundAll is for calls that are not made of attempts: if ctx has no deadline, it
// gets the time that all attempts of a call may take together. The context's cause says so.
func (e *Engine) BoundAll(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || e.config.Timeout == 0 {
		return ctx, func() {}
	}
	limit := e.config.Timeout * time.Duration(e.config.Retries+1)
	cause := fmt.Errorf("%s (Config.Timeout is %v, and %d attempts take %v)", textTimeout, e.config.Timeout, e.config.Retries+1, limit)
	return context.WithTimeoutCause(ctx, limit, cause)
}
