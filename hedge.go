package etcd

import (
	"context"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// hedges says when a read is sent to a second member while the first is silent.
//
// A call that has waited for about one and a half seconds, or whose connection has
// turned suspect, is late: its member is set aside, and a read is hedged if
// another member is fit, or as soon as one is. While all are slow all are set
// aside, and nothing is hedged: a slow cluster gets no second load.
//
// Config.HedgeReads hedges earlier, and then a budget bounds it: each read that
// is answered in time earns a tenth of a hedge.
type hedges struct {
	early  time.Duration // Config.HedgeReads; 0: only late reads
	never  bool
	budget atomic.Int64 // in tenths of a hedge
}

const (
	hedgeCost = 10
	maxBudget = 100 * hedgeCost
)

func (h *hedges) init(early time.Duration) {
	h.never = early < 0
	h.early = max(early, 0)
	h.budget.Store(maxBudget)
}

// after is the time after which a call of r may be hedged early; 0: it may not.
func (h *hedges) after(r *rpc) time.Duration {
	if h.early == 0 || r.class != read || r.member != nil {
		return 0
	}
	return h.early
}

// earn and spend keep the budget.
func (h *hedges) earn(r *rpc) {
	if h.after(r) > 0 && h.budget.Load() < maxBudget {
		h.budget.Add(1)
	}
}

func (h *hedges) spend() bool {
	if h.budget.Add(-hedgeCost) >= 0 {
		return true
	}
	h.budget.Add(hedgeCost)
	return false
}

// late goes on with a call whose answer is late.
func (s sending) late(ctx context.Context, p transport.Pending) ([]byte, *Error) {
	h := &s.c.hedges
	if !p.Early() {
		s.c.set.SetAside(s.conn)
	}
	if s.r.class == read && !h.never {
		if s.c.set.Elsewhere(s.conn, s.r.lane) && (!p.Early() || h.spend()) {
			if reply, err, over := s.hedge(ctx, p); over {
				return reply, err
			}
		}
		if !p.Early() {
			return s.awaitOther(ctx, p)
		}
	}
	reply, err := p.Wait(ctx, nil)
	return s.ended(ctx, reply, err)
}

// hedgeAgain is how often a late read that no other member can serve looks for one.
const hedgeAgain = 500 * time.Millisecond

// awaitOther waits on for a late read until another member is fit: all may have been
// set aside at once, in an election, and be back when this one is not.
func (s sending) awaitOther(ctx context.Context, p transport.Pending) ([]byte, *Error) {
	for ctx.Err() == nil {
		s.c.set.Up(s.r.lane) // members that are aside get their probes
		again, stop := context.WithTimeout(ctx, hedgeAgain)
		reply, err := p.Wait(ctx, again.Done())
		stop()
		if err != error(p) {
			return s.ended(ctx, reply, err)
		}
		if s.c.set.Elsewhere(s.conn, s.r.lane) {
			if reply, err, over := s.hedge(ctx, p); over {
				return reply, err
			}
		}
	}
	reply, err := p.Wait(ctx, nil)
	return s.ended(ctx, reply, err)
}

// hedge sends a read to another member too. The first answer counts, and the
// other call is cancelled. It is not over when the other member was of no use, as
// when it was set aside as well just then: the first call still waits.
func (s sending) hedge(ctx context.Context, first transport.Pending) (_ []byte, _ *Error, over bool) {
	second, cancel := s.sendElsewhere(ctx)
	defer cancel()
	reply, err := first.Wait(ctx, second.done)
	if err == error(first) {
		if !second.decided() {
			return nil, nil, false
		}
		first.Cancel()
		s.c.set.Lost(s.conn)
		s.c.observer.attemptEnded(s.watch, s.overtaken())
		return second.reply, second.err, true
	}
	if err != nil && ctx.Err() == nil {
		<-second.done // the first connection was lost; the second may do
		if second.err == nil {
			s.failed(ctx, err)
			return second.reply, nil, true
		}
	}
	reply, e := s.ended(ctx, reply, err)
	return reply, e, true
}

// overtaken is what becomes of the call that the other one has beaten.
func (s sending) overtaken() *Error {
	return &Error{Op: s.r.op, Endpoint: s.conn.Endpoint, Code: CodeCanceled, Message: "another member answered first"}
}

// hedged is the second call of a read. Its fields are set when done is closed.
type hedged struct {
	done  chan struct{}
	reply []byte
	err   *Error
}

// decided: its answer counts, also when that is an error which the first member
// would give as well.
func (h *hedged) decided() bool {
	return h.err == nil || h.err.answered && !h.err.transient && !h.err.resend
}

// sendElsewhere sends the read to another member, in a goroutine that cancel ends
// and waits for.
func (s sending) sendElsewhere(ctx context.Context) (_ *hedged, cancel func()) {
	ctx, stop := context.WithCancel(ctx)
	h := &hedged{done: make(chan struct{})}
	go func() {
		defer close(h.done)
		other := s
		if other.conn, h.err = s.other(ctx); h.err == nil {
			h.reply, h.err = other.send(ctx, true)
		}
	}()
	return h, func() { stop(); <-h.done }
}

// other is another member that is fit, brought up if need be.
func (s sending) other(ctx context.Context) (balance.Picked, *Error) {
	if conn, ok := s.c.set.Other(s.conn, s.r.lane); ok {
		return conn, nil
	}
	conn, err := s.c.pick(ctx, s.r, s.bound)
	if err != nil {
		return conn, callError(s.r, "", err)
	}
	if conn.Same(s.conn) || conn.Aside() {
		return conn, &Error{Op: s.r.op, Outcome: NotSent, Message: "no other member is better", transient: true}
	}
	return conn, nil
}
