package coalesce

import (
	"context"
	"slices"
	"sync"

	"silly.store/etcd/internal/call"
)

// queue is where calls of one kind find others to share a request with. Its window
// limits the requests in flight, each of which is a batch or a single call that was
// sent at once; calls that arrive meanwhile wait. When a request is answered, the
// waiting calls become the next one. So a call never joins a batch that was already
// sent, and no call waits for others to arrive.
//
// The caller sends a single call itself. A goroutine sends each batch, continues
// with the next one, and ends when no call waits.
type queue struct {
	c  *Coalescer
	op *Operation

	mu sync.Mutex // guards the fields below
	// waiting is in the order of the calls. While it is not empty, a request is in
	// flight whose end checks it.
	waiting  []*Waiter
	inFlight int // requests in flight
	order    order
	window   window
	stalls   stalls
	limits   limits
	excluded excluded
	refused  refusals
	// refusedOld is refused for reads of given revisions, which a compaction makes fail: the
	// others go on sharing.
	refusedOld refusals
	closed     bool
	// trouble is the error of the last request; nil if it was answered.
	trouble *call.Error
}

func (q *queue) init(c *Coalescer, op *Operation) {
	q.c, q.op = c, op
	q.order.init(op)
	q.window.init()
	q.limits.init()
}

// call sends the call w, alone or together with others, and releases w.
func (q *queue) call(ctx context.Context, w *Waiter) (Answer, *call.Error) {
	switch q.enter(w) {
	case sendsNow:
		return q.sendCounted(ctx, w)
	case sendsUncounted:
		return q.sendUncounted(ctx, w)
	}
	if !w.wait(ctx) {
		if err := q.giveUp(ctx, w); err != nil {
			return Answer{}, err
		}
		<-w.done
	}
	if w.alone {
		return q.sendRefused(ctx, w)
	}
	answer, err := w.answer()
	q.c.release(w)
	return answer, err
}

// entry says how a call proceeds.
type entry uint8

const (
	waits          entry = iota // it waits for w.done
	sendsNow                    // it goes alone and counts in the window
	sendsUncounted              // it goes alone and does not count in the window
)

func (q *queue) enter(w *Waiter) entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.solo = q.soloLocked(w)
	switch {
	case q.keepsOrderLocked(w):
	case w.solo:
		q.order.begin(w.key)
		return sendsUncounted
	case len(q.waiting) == 0 && q.inFlight < q.allowedLocked():
		q.inFlight++
		w.era = q.stalls.era
		q.order.begin(w.key)
		return sendsNow
	}
	q.waiting = append(q.waiting, w)
	q.launchLocked()
	q.watchLocked()
	return waits
}

// soloLocked reports whether w must not share a request.
func (q *queue) soloLocked(w *Waiter) bool {
	return q.closed || q.refused.pausing() || q.limits.heavy() || q.limits.tooLarge(w.Message) || q.excluded.has(w.key) ||
		w.old && q.refusedOld.pausing()
}

// keepsOrderLocked reports whether w is a write that must not overtake others.
func (q *queue) keepsOrderLocked(w *Waiter) bool {
	return q.op.writes && !q.closed && (len(q.waiting) > 0 || q.order.busy(w.key))
}

// allowedLocked returns how many requests may be in flight.
func (q *queue) allowedLocked() int { return q.window.size + q.stalls.count }

// giveUp returns the error of a call whose context ended while the call was in the
// queue or in a batch. It returns nil if the call was just answered: w.done is
// about to be signalled. Otherwise w is not released, because its batch may still
// look at it.
func (q *queue) giveUp(ctx context.Context, w *Waiter) *call.Error {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := w.batch
	switch {
	case w.settled:
		return nil
	case b == nil:
		q.removeLocked(w)
		return call.ContextEnded(ctx, q.op.Single, "queued behind in-flight requests").After(q.trouble)
	}
	w.left = true
	if b.left++; b.left == len(b.waiters) {
		b.cancel()
	}
	return b.progress.GivenUp(ctx, q.op.Single)
}

func (q *queue) removeLocked(w *Waiter) {
	if i := slices.Index(q.waiting, w); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
}

// close fails the calls in the queue. Later calls bypass the queue and fail because
// the client has ended.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, w := range q.waiting {
		w.err, w.settled = call.Closed(q.op.Single.Op), true
		w.done <- struct{}{}
	}
	q.waiting = nil
	if q.stalls.stop() {
		q.c.routines.Done()
	}
}

// count returns how many calls wait.
func (q *queue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
