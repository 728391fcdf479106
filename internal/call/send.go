package call

import (
	"context"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// sending is a request in flight to one member.
type sending struct {
	e           *Engine
	r           Request
	bound       Bound
	token       *token
	conn        balance.Picked
	wait        answerWait
	mark        historyMark
	observation Observation
}

// try sends a request once, to one member. Only if that is late may another member
// get it too.
func (e *Engine) try(ctx context.Context, r Request, b Bound) ([]byte, *Error) {
	token, noToken := e.tokens.get(ctx, r.Method, b)
	if noToken != nil {
		return nil, noToken
	}
	conn, err := e.pick(ctx, &r, b)
	if err != nil {
		failed := unpicked(ctx, r.Method, err)
		r.Progress.failed(failed)
		return nil, failed
	}
	s := sending{e: e, r: r, bound: b, token: token, conn: conn, wait: e.answerWait(ctx, r.Method)}
	if s.wait.due == 0 {
		return s.send(ctx, false)
	}
	began := time.Now()
	reply, failed := s.send(ctx, false)
	e.learn(s.wait, time.Since(began), failed)
	return reply, failed
}

func (s sending) send(ctx context.Context, hedge bool) ([]byte, *Error) {
	e, method := s.e, s.r.Method
	if !s.r.Progress.send(s.conn.Endpoint) {
		return nil, withdrawn(method, s.conn.Endpoint)
	}
	s.observation = e.observer.AttemptBegins(ctx, Attempt{
		Op: method.Op, Endpoint: s.conn.Endpoint, Hedge: hedge, Calls: s.r.Progress.calls(),
		Path: method.Path, Contexts: s.r.Progress.contexts(),
	})
	s.mark = e.history.mark()
	req := s.r.transport(s.token)
	req.Headers = s.observation.Headers
	req.Timeout = shorter(s.bound.Timeout(), s.wait.due)
	req.NotifyLate = !s.r.pinned() && !method.Unbounded
	req.LateAfter = e.hedges.after(&s.r)
	reply, err := s.conn.Call(ctx, req)
	if err == nil {
		if !method.Local {
			e.Set.Served(s.conn)
		}
		e.hedges.earn(&s.r)
		return s.answered(reply)
	}
	if p, ok := err.(transport.Pending); ok {
		return s.late(ctx, p)
	}
	return nil, s.failed(ctx, err)
}

// ended returns the result of a call that was late.
func (s sending) ended(ctx context.Context, reply []byte, err error) ([]byte, *Error) {
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return s.answered(reply)
}

func (s sending) answered(reply []byte) ([]byte, *Error) {
	failed := s.e.answered(s.r.Method, s.conn, s.mark, reply)
	s.e.observer.AttemptEnds(s.observation, failed)
	if failed != nil {
		return nil, failed
	}
	return reply, nil
}

// failure is the Error of a request, sent with token over conn, that ended with err. A
// token that is to blame is dropped, so that the next request gets another one.
func (e *Engine) failure(ctx context.Context, m *rpc.Method, conn balance.Picked, token *token, err error) *Error {
	failed := FromTransport(m, conn.Endpoint, err).atDeadline(ctx).explained(ctx)
	failed.resend = e.tokens.dropRejected(token, failed)
	return failed
}

// settle decides whether waiting, or another member, helps a request of m that conn's
// member has failed.
func (e *Engine) settle(failed *Error, m *rpc.Method, conn balance.Picked) {
	if failed.learnerRefuses() {
		failed.Transient = e.Set.LearnerRefuses(conn, !m.Local)
	}
	failed.elsewhere = failed.movable() && e.Set.Elsewhere(conn, m.Lane)
}

// failed converts err to an Error and sets the member aside if it is to blame.
func (s sending) failed(ctx context.Context, err error) *Error {
	e := s.e
	failed := e.failure(ctx, s.r.Method, s.conn, s.token, err)
	if !s.r.pinned() {
		if failed.speaksAgainstMember() {
			e.Set.SetAside(s.conn)
		}
		if failed.unserved() {
			e.Set.Doubt(s.conn)
		}
		e.settle(failed, s.r.Method, s.conn)
	}
	s.r.Progress.failed(failed)
	e.observer.AttemptEnds(s.observation, failed)
	return failed
}
