package etcd

import (
	"context"
	"time"
)

// renewCall is a KeepAliveOnce or an Adopt that waits for its renewal. All fields
// but done are guarded by keeper.mu until done is closed.
type renewCall struct {
	op   string
	id   LeaseID
	done chan struct{} // closed when it is finished

	sent      int64 // when it was last sent; 0: not yet
	finished  bool
	abandoned bool // nobody waits for it
	err       *Error
	resp      leaseKeepAliveResponse
	endpoint  string
}

func (c *renewCall) finishLocked() {
	c.finished = true
	close(c.done)
}

func (c *renewCall) succeedLocked(endpoint string, sent int64, resp *leaseKeepAliveResponse) {
	if c.finished {
		return // it was sent twice, and the other was quicker
	}
	c.endpoint, c.sent, c.resp = endpoint, sent, *resp
	c.finishLocked()
}

// failLocked ends the call with what has befallen the stream it was on, or for
// which it has waited.
func (c *renewCall) failLocked(err *Error) {
	if c.finished {
		return
	}
	e := *err
	e.Op = c.op
	if c.sent != 0 && e.Outcome == NotSent {
		e.Outcome = OutcomeUnknown
	}
	c.err = &e
	c.finishLocked()
}

// renewOnce makes one attempt at a renewal. Streams that end under it are its own
// affair; it fails when none can be had, when the server refuses, or when its
// time is up.
func (k *keeper) renewOnce(ctx context.Context, r *rpc, id LeaseID) (*renewCall, *Error) {
	if ctx.Err() != nil {
		return nil, &Error{Op: r.op, Code: codeOfContext(ctx), Outcome: NotSent, cause: ctx.Err()}
	}
	c := &renewCall{op: r.op, id: id, done: make(chan struct{})}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil, clientClosed(r.op)
	}
	k.once.calls = append(k.once.calls, c)
	k.wakeByLocked(0)
	k.mu.Unlock()

	var expired <-chan time.Time
	if t := k.c.bound(ctx, r).timeout(); t > 0 {
		timer := time.NewTimer(t)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-c.done:
		return c, c.err
	case <-ctx.Done():
		return k.abandon(c, &Error{Op: r.op, write: true, Code: codeOfContext(ctx), cause: ctx.Err()})
	case <-expired:
		return k.abandon(c, &Error{Op: r.op, write: true, Code: CodeDeadlineExceeded, sentinel: ErrTimeout, transient: true})
	}
}

// abandon gives a call up unless it has been finished meanwhile.
func (k *keeper) abandon(c *renewCall, err *Error) (*renewCall, *Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.finished {
		return c, c.err
	}
	c.abandoned = true
	if c.sent == 0 {
		err.Outcome = NotSent
	}
	if last := k.once.lastErr; last != nil {
		err.Endpoint = last.Endpoint
		err.Message = err.text() + "; last error: " + last.text()
	}
	return c, err
}
