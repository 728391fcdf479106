package coalesce

import (
	"context"
	"time"

	"silly.store/etcd/internal/call"
)

// sendCounted sends a call that occupies a place in the window.
func (q *queue) sendCounted(ctx context.Context, w *Waiter) (Answer, *call.Error) {
	began := time.Now()
	reply, err := q.send(ctx, w)
	took := time.Since(began)

	q.mu.Lock()
	q.order.end(w.key)
	if err == nil {
		q.window.note(took, q.inFlight == 1 && len(q.waiting) == 0, len(q.waiting) > 0)
		q.weighLocked(w.key, len(reply))
	}
	q.endedLocked(err)
	q.leaveLocked(w.era)
	q.launchLocked()
	q.mu.Unlock()
	return q.finish(w, reply, err)
}

// sendUncounted sends a call that never shares a request and that the window does
// not count.
func (q *queue) sendUncounted(ctx context.Context, w *Waiter) (Answer, *call.Error) {
	reply, err := q.send(ctx, w)
	q.mu.Lock()
	q.order.end(w.key)
	if err == nil {
		q.weighLocked(w.key, len(reply))
	}
	q.launchLocked()
	q.mu.Unlock()
	return q.finish(w, reply, err)
}

// sendRefused sends, alone, a call whose batch was refused or that was ejected from
// the queue. If the server refuses its operation too, its key stays out of batches
// for a while.
func (q *queue) sendRefused(ctx context.Context, w *Waiter) (Answer, *call.Error) {
	reply, err := q.send(ctx, w)
	q.mu.Lock()
	if err != nil && err.RefusesShared() && !(w.old && lacksRevision(err)) {
		q.excluded.add(w.key)
	}
	if w.batch != nil { // otherwise it was ejected, and order never counted it
		q.order.end(w.key)
		q.launchLocked()
	}
	q.mu.Unlock()
	return q.finish(w, reply, err)
}

func (q *queue) send(ctx context.Context, w *Waiter) ([]byte, *call.Error) {
	return q.c.config.Send(ctx, call.Request{Method: q.op.Single, Message: w.Message})
}

// finish returns the result of a call that was sent alone.
func (q *queue) finish(w *Waiter, reply []byte, err *call.Error) (Answer, *call.Error) {
	q.c.release(w)
	return Answer{Reply: reply}, err
}
