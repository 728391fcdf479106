package call

import (
	"context"
	"errors"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// pick finds a connection for r. If necessary it connects, within b.
func (e *Engine) pick(ctx context.Context, r *Request, b Bound) (balance.Picked, error) {
	if !r.pinned() {
		if p, ok := e.leader.up(r.Method); ok {
			return p, nil
		}
		if p, ok := e.Set.Up(r.Method.Lane); ok {
			return p, nil
		}
	}
	return b.within(ctx, func(ctx context.Context) (balance.Picked, error) { return e.choose(ctx, r) })
}

// within calls choose, which connects if necessary, and has it end within b.
func (b Bound) within(ctx context.Context, choose func(context.Context) (balance.Picked, error)) (balance.Picked, error) {
	t := b.Timeout()
	if t == 0 {
		return choose(ctx)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, t, transport.ErrTimeout)
	defer cancel()
	p, err := choose(bounded)
	if err != nil && context.Cause(bounded) == transport.ErrTimeout { //nolint:errorlint // the bound ended it, not ctx
		err = timedOut(err)
	}
	return p, err
}

// unpicked is the error of a request of m for which pick failed with err.
func unpicked(ctx context.Context, m *rpc.Method, err error) *Error {
	failed := FromTransport(m, "", err).explained(ctx)
	var end *balance.InterruptedError
	if errors.As(err, &end) && end.Last != nil {
		return failed.After(FromTransport(m, "", end.Last))
	}
	return failed
}

func (e *Engine) choose(ctx context.Context, r *Request) (balance.Picked, error) {
	if r.pinned() {
		return e.Set.PickNamed(ctx, r.Method.Lane, *r.Member)
	}
	return e.Set.Pick(ctx, r.Method.Lane)
}

// timedOut is err for the case that Config.Timeout, not the caller's context, ended
// the attempt to connect.
func timedOut(err error) error {
	out := &transport.Error{Code: transport.DeadlineExceeded, Outcome: transport.NotSent, Cause: transport.ErrTimeout}
	var te *transport.Error
	if errors.As(err, &te) {
		out.Message = te.Message
	}
	var end *balance.InterruptedError
	if errors.As(err, &end) {
		out.Cause = &balance.InterruptedError{Ended: transport.ErrTimeout, Last: end.Last}
	}
	return out
}

// A stream that avoids a member goes to another one if one comes up within this
// many tries. The pauses between them are a tenth of a second in total.
const avoidTries = 8

var avoidPauses = backoff.Backoff{First: time.Millisecond, Cap: 64 * time.Millisecond}

// pickOther is pick for a stream that should go to a member other than avoid, if
// there is one. The connection to avoid may be up before those to the others, and
// would then be picked; with insist pickOther waits a while for the others.
func (e *Engine) pickOther(ctx context.Context, r *Request, b Bound, avoid string, insist bool) (balance.Picked, error) {
	for tries := 1; ; tries++ {
		p, err := e.pick(ctx, r, b)
		if err != nil {
			return p, err
		}
		if p.Endpoint == avoid {
			if other, ok := e.Set.Other(p, r.Method.Lane); ok {
				p = other
			}
		}
		good := p.Endpoint != avoid && p.State() == transport.Ready
		if good || !insist || tries == avoidTries || !Sleep(ctx, avoidPauses.Span(tries-1)) {
			return p, nil
		}
	}
}
