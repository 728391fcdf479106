package etcd

import (
	"context"
	"errors"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// sending is a request on its way to one member.
type sending struct {
	c     *Client
	r     *rpc
	msg   []byte
	bound bound
	token *token
	conn  balance.Picked
	sent  sent
	watch attemptWatch
}

// try sends msg once: to one member, and to others beside it only when that is
// late.
func (c *Client) try(ctx context.Context, r *rpc, msg []byte, bound bound) ([]byte, *Error) {
	token, noToken := c.tokens.get(ctx, r)
	if noToken != nil {
		return nil, noToken
	}
	conn, err := c.pick(ctx, r, bound)
	if err != nil {
		e := callError(r, "", err)
		r.fate.failed(e)
		return nil, e
	}
	s := sending{c: c, r: r, msg: msg, bound: bound, token: token, conn: conn}
	return s.send(ctx, false)
}

func (s sending) send(ctx context.Context, hedge bool) ([]byte, *Error) {
	c, r := s.c, s.r
	s.watch = c.observer.attempt(ctx, r, s.conn.Endpoint, hedge)
	r.fate.sent(s.conn.Endpoint)
	s.sent = c.cluster.now()
	reply, err := s.conn.Call(ctx, transport.Request{
		Path: r.path, Message: s.msg, Token: s.token.value(), RequireLeader: !r.local, Timeout: s.bound.timeout(),
		NotifyLate: r.member == nil && !r.unbounded, LateAfter: c.hedges.after(r),
	})
	if err == nil {
		if !r.local {
			c.set.Served(s.conn)
		}
		c.hedges.earn(r)
		return s.answered(reply)
	}
	if p, ok := err.(transport.Pending); ok {
		return s.late(ctx, p)
	}
	return nil, s.failed(ctx, err)
}

// ended is the result of a call that was late.
func (s sending) ended(ctx context.Context, reply []byte, err error) ([]byte, *Error) {
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return s.answered(reply)
}

func (s sending) answered(reply []byte) ([]byte, *Error) {
	e := s.c.answered(s.r, s.conn, s.sent, reply)
	s.c.observer.attemptEnded(s.watch, e)
	if e != nil {
		return nil, e
	}
	return reply, nil
}

// failed makes err ours, and sets the member aside if it is to blame.
func (s sending) failed(ctx context.Context, err error) *Error {
	c := s.c
	e := callError(s.r, s.conn.Endpoint, err).atDeadline(ctx)
	e.resend = c.tokens.rejected(s.token, e)
	if s.r.member == nil {
		if e.speaksAgainstMember() {
			c.set.SetAside(s.conn)
		}
		e.elsewhere = e.movable() && c.set.Elsewhere(s.conn, s.r.lane)
	}
	s.r.fate.failed(e)
	c.observer.attemptEnded(s.watch, e)
	return e
}

// speaksAgainstMember: other members may serve when this one does not.
func (e *Error) speaksAgainstMember() bool {
	switch e.sentinel {
	case ErrNoLeader, ErrNotSupportedForLearner, ErrTooManyRequests, ErrServerStopped, ErrServerTimeout, ErrTimeout, ErrCorrupt, ErrBadEndpoint:
		return true
	}
	return !e.answered && errors.Is(e.cause, context.DeadlineExceeded)
}

// movable: another member may do better with the same request, now.
func (e *Error) movable() bool {
	return e.transient || e.sentinel == ErrBadEndpoint && e.Outcome == NotSent
}

// probe asks a member whether it serves reads, which it does only with a leader.
// An answer is enough, even one that it will not tell us.
func (c *Client) probe(ctx context.Context, conn transport.Conn) error {
	_, err := conn.Call(ctx, transport.Request{Path: rpcReady.path, Message: probeMessage, RequireLeader: true})
	if err == nil {
		return nil
	}
	if e := callError(&rpcReady, "", err); !e.answered || e.transient {
		return e
	}
	return nil
}

// probeMessage counts what lies under one key, which costs a member nothing.
var probeMessage = (&rangeRequest{Key: "\x00", CountOnly: true}).appendWire(nil)
