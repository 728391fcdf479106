package call

import (
	"context"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// hedges decides when a read also goes to a second member while the first is
// silent.
//
// A call that has waited for about one and a half seconds, or whose connection has
// turned suspect, is late: its member is set aside, and a read is hedged as soon as
// another member is fit. While all members are slow, all are set aside and nothing
// is hedged: a slow cluster gets no extra load.
//
// A read whose connection is quiet (see transport) is early, and hedged within a budget
// if another connection is not: each read that is answered in time earns a fiftieth of a
// hedge. Config.HedgeAfter hedges after a fixed time as well, for a tenth. A hedge waits for
// the second member to be connected. A read without budget or without a second member keeps
// waiting and becomes late like any other.
type hedges struct {
	early  time.Duration // 0: only quiet and late reads
	never  bool
	cost   int64        // of a hedge; a read that is answered in time earns 1
	budget atomic.Int64 // maxHedges at most
}

const (
	quietCost = 50
	earlyCost = 10
	maxHedges = 100
	// firstHedges is the budget of a client that has read nothing yet.
	firstHedges = 20
	// hedgeAgain is how often a late read looks again for another member. An
	// election may set all members aside at once, and the others may be back before
	// this one.
	hedgeAgain = 500 * time.Millisecond
)

func (h *hedges) init(early time.Duration) {
	h.never = early < 0
	h.early = max(early, 0)
	first := int64(firstHedges)
	h.cost = quietCost
	if h.early > 0 {
		h.cost, first = earlyCost, maxHedges
	}
	h.budget.Store(first * h.cost)
}

// applies reports whether r may be sent to a second member.
func (h *hedges) applies(r *Request) bool { return r.Method.Class == rpc.Read && !h.never }

// after returns how long r must wait before an early hedge; 0 means never.
func (h *hedges) after(r *Request) time.Duration {
	if h.early == 0 || !h.applies(r) || r.pinned() {
		return 0
	}
	return h.early
}

// earn and spend keep the budget.
func (h *hedges) earn(r *Request) {
	if h.applies(r) && !r.pinned() && h.budget.Load() < maxHedges*h.cost {
		h.budget.Add(1)
	}
}

func (h *hedges) spend() bool {
	if h.budget.Add(-h.cost) >= 0 {
		return true
	}
	h.budget.Add(h.cost)
	return false
}

// late continues a call whose answer is late. Each round of its loop looks for
// another member and then waits: the early round until the answer is late, later
// rounds for hedgeAgain.
func (s sending) late(ctx context.Context, p transport.Pending) ([]byte, *Error) {
	h := &s.e.hedges
	var said *Error // another member's useless answer
	for {
		early := p.Early()
		if !early {
			s.e.Set.SetAside(s.conn)
			s.e.Set.Doubt(s.conn)
		}
		if h.applies(&s.r) && s.e.Set.ElsewhereSoon(s.conn, s.r.Method.Lane) && (!early || h.spend()) {
			reply, err, over := s.hedge(ctx, p)
			if over {
				return reply, err.After(said)
			}
			if err.Sentinel != nil {
				said = err
			}
		}
		reply, err := s.waitRound(ctx, p, early)
		if err != error(p) { //nolint:errorlint // the Pending itself means that the call still waits
			reply, failed := s.ended(ctx, reply, err)
			return reply, failed.After(said)
		}
	}
}

// waitRound waits for the answer until the next round is due; the error is p then.
func (s sending) waitRound(ctx context.Context, p transport.Pending, early bool) ([]byte, error) {
	if early || !s.e.hedges.applies(&s.r) {
		return p.Wait(ctx, nil)
	}
	s.e.Set.Up(s.r.Method.Lane) // members that are set aside get their probes
	again, stop := context.WithTimeout(ctx, hedgeAgain)
	defer stop()
	return p.Wait(ctx, again.Done())
}

// hedge also sends a read to another member. The first answer counts, and the other
// call is cancelled. over is false if the other member could not help, for example
// because it was just set aside too: the first call still waits, and the error is
// the second one's.
func (s sending) hedge(ctx context.Context, first transport.Pending) (_ []byte, _ *Error, over bool) {
	second, cancel := s.sendElsewhere(ctx)
	defer cancel()
	reply, err := s.waitBoth(ctx, first, second)
	if err == error(first) { //nolint:errorlint // the Pending itself means that the call still waits
		if !second.decided() {
			return nil, second.err, false
		}
		first.Cancel()
		s.e.Set.Lost(s.conn)
		s.e.observer.AttemptEnds(s.observation, s.overtaken())
		return second.reply, second.err, true
	}
	if err != nil && ctx.Err() == nil {
		<-second.done // the first connection was lost; the second may do
		if second.err == nil {
			s.failed(ctx, err)
			return second.reply, nil, true
		}
	}
	reply, failed := s.ended(ctx, reply, err)
	return reply, failed, true
}

// waitBoth waits for the first call or the end of the second one; in the latter
// case the error is first. If an early first call becomes late meanwhile, that
// counts against its member.
func (s sending) waitBoth(ctx context.Context, first transport.Pending, second *hedged) ([]byte, error) {
	for {
		early := first.Early()
		reply, err := first.Wait(ctx, second.done)
		if err == error(first) && early && !first.Early() { //nolint:errorlint // see hedge
			s.e.Set.SetAside(s.conn)
			continue
		}
		return reply, err
	}
}

// overtaken is the result of the call that lost the race.
func (s sending) overtaken() *Error {
	return &Error{Op: s.r.Method.Op, Endpoint: s.conn.Endpoint, Code: transport.Canceled, Message: "another member answered first"}
}

// hedged is the second call of a read. Its fields are set when done is closed.
type hedged struct {
	done  chan struct{}
	reply []byte
	err   *Error
}

// decided reports whether its answer counts.
func (h *hedged) decided() bool { return h.err == nil || h.err.Final() }

// sendElsewhere sends the read to another member in a goroutine. cancel ends the
// goroutine and waits for it.
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

// other returns a connection to another fit member. If necessary it connects, within the
// bound: the first connection of a client may be to the member that is silent, and those to
// the others come up only now.
func (s sending) other(ctx context.Context) (balance.Picked, *Error) {
	conn, err := s.bound.within(ctx, func(ctx context.Context) (balance.Picked, error) {
		return s.e.Set.PickOther(ctx, s.r.Method.Lane, s.conn)
	})
	if err != nil {
		return conn, unpicked(ctx, s.r.Method, err)
	}
	if conn.Aside() {
		return conn, &Error{Op: s.r.Method.Op, Outcome: OutcomeNotSent, Message: "no better member is available", Transient: true}
	}
	return conn, nil
}
