package keepalive

import (
	"context"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// renewCall is a KeepAliveOnce or an Adopt that waits for its renewal. All fields
// but done are guarded by Keeper.mu until done is closed.
type renewCall struct {
	method *rpc.Method
	id     int64
	done   chan struct{} // closed when the call is finished

	sent      int64 // when it was last sent; 0: not yet
	finished  bool
	abandoned bool // its caller no longer waits
	err       *call.Error
	resp      Answer
	endpoint  string
}

func (c *renewCall) finishLocked() {
	c.finished = true
	close(c.done)
}

func (c *renewCall) succeedLocked(endpoint string, sent int64, resp *Answer) {
	if c.finished {
		return // it was sent twice, and the other one was faster
	}
	c.endpoint, c.sent, c.resp = endpoint, sent, *resp
	c.finishLocked()
}

// failLocked ends the call with the error of the stream that it was on or waited
// for.
func (c *renewCall) failLocked(err *call.Error) {
	if c.finished {
		return
	}
	e := *err
	e.Op = c.method.Op
	if c.sent != 0 && e.Outcome == call.OutcomeNotSent {
		e.Outcome = call.OutcomeUnknown
	}
	c.err = &e
	c.finishLocked()
}

// renewOnce makes one attempt at a renewal. It handles streams that end meanwhile
// itself. It fails if no stream can be opened, if the server refuses, or if its
// time is up.
func (k *Keeper) renewOnce(ctx context.Context, m *rpc.Method, id int64) (*renewCall, *call.Error) {
	if ctx.Err() != nil {
		return nil, call.ContextEnded(ctx, m, "")
	}
	c := &renewCall{method: m, id: id, done: make(chan struct{})}
	k.lock()
	if k.closed {
		k.unlock()
		return nil, call.Closed(m.Op)
	}
	k.once.calls = append(k.once.calls, c)
	k.wakeByLocked(0)
	k.unlock()

	var expired <-chan time.Time
	if t := k.engine.Bound(ctx).Timeout(); t > 0 {
		timer := time.NewTimer(t)
		defer timer.Stop()
		expired = timer.C
	}
	elections := time.NewTicker(call.ElectionPause)
	defer elections.Stop()
	for limited := (call.ElectionWait{}); ; {
		select {
		case <-c.done:
			return c, c.err
		case <-ctx.Done():
			return k.abandon(c, call.Abandoned(ctx, m, ""))
		case <-expired:
			return k.abandon(c, &call.Error{Op: m.Op, Write: true, Code: transport.DeadlineExceeded, Sentinel: call.ErrTimeout, Cause: transport.ErrTimeout, Transient: true})
		case <-elections.C: // streams end for lack of a leader, and c waits for the next
			if trouble := k.onceTrouble(); limited.Over(ctx, trouble) {
				refused := *trouble
				refused.Op = m.Op
				return k.abandon(c, &refused)
			}
		}
	}
}

// onceTrouble returns why the last stream for single renewals has ended; nil if one has
// answered since.
func (k *Keeper) onceTrouble() *call.Error {
	k.lock()
	defer k.unlock()
	return k.once.lastErr
}

// abandon gives up a call unless it has finished meanwhile.
func (k *Keeper) abandon(c *renewCall, err *call.Error) (*renewCall, *call.Error) {
	k.lock()
	defer k.unlock()
	if c.finished {
		return c, c.err
	}
	c.abandoned = true
	if c.sent == 0 {
		err.Outcome = call.OutcomeNotSent
	}
	if last := k.once.lastErr; last != nil {
		err.Endpoint = last.Endpoint
		err = err.After(last)
	}
	return c, err
}

// Renew renews a lease over the keeper's streams, as a call of m with the usual
// retries. It also returns when the successful renewal was sent.
func (k *Keeper) Renew(ctx context.Context, m *rpc.Method, id int64) (a Answer, sent int64, err *call.Error) {
	var c *renewCall
	_, err = k.engine.Retry(ctx, call.Request{Method: m}, func() (err *call.Error) {
		c, err = k.renewOnce(ctx, m, id)
		if err != nil && err.EndsForElection(ctx) {
			err.Transient = false
		}
		return err
	})
	if err != nil {
		return Answer{}, 0, err
	}
	if c.resp.TTL <= 0 {
		return Answer{}, 0, NotFound(m, c.endpoint)
	}
	return c.resp, c.sent, nil
}

// NotFound is the error of a request for a lease that the server does not know.
func NotFound(m *rpc.Method, endpoint string) *call.Error {
	return &call.Error{
		Op: m.Op, Endpoint: endpoint, Write: m.Writes(), Code: transport.NotFound,
		Outcome: call.OutcomeRejected, Attempts: 1, Sentinel: call.ErrLeaseNotFound,
	}
}
