package coalesce

import (
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/yield"
)

// launchLocked sends the queued calls, as far as the window allows.
func (q *queue) launchLocked() {
	for len(q.waiting) > 0 && q.inFlight < q.allowedLocked() {
		b := q.takeLocked(nil)
		if b == nil {
			return
		}
		q.c.routines.Add(1)
		go q.run(b)
	}
}

// run sends a batch, and then the calls that have queued meanwhile.
func (q *queue) run(b *batch) {
	defer q.c.routines.Done()
	var s sender
	turn := yield.New()
	for b != nil {
		began := time.Now()
		q.c.announce(b)
		err := s.send(q.c, b)
		for err.Withdrawn() && q.regroup(b) {
			err = s.send(q.c, b)
		}
		b.cancel()
		q.settle(b, time.Since(began), err)
		b.notify(turn)
		b = q.next(b)
	}
}

// regroup takes the writes of calls that have left out of a batch that was not sent. It
// returns false if none is left. The race that it prevents: a call leaves while the batch
// waits for a connection and reports that its write was not sent; then the batch gets its
// connection, and the write is applied.
func (q *queue) regroup(b *batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b.left == len(b.waiters) {
		return false
	}
	stay := b.waiters[:0]
	for _, w := range b.waiters {
		if w.left {
			q.order.end(w.key)
		} else {
			stay = append(stay, w)
		}
	}
	clear(b.waiters[len(stay):])
	b.refill(stay)
	b.progress.Regroup()
	return true
}

// settle sets the verdict of b's calls and learns from it. Writes that must be sent
// again alone still count as in flight, and later writes of their keys wait for
// them.
func (q *queue) settle(b *batch, took time.Duration, err *call.Error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.settle(err)
	q.endedLocked(err)
	for _, w := range b.waiters {
		if !w.alone || w.left {
			q.order.end(w.key)
		}
	}
	q.noteLocked(b, took, err)
}

// next returns the batch that takes the place of former, which has ended. It
// returns nil if there is none.
func (q *queue) next(former *batch) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaveLocked(former.era)
	var next *batch
	if q.inFlight < q.allowedLocked() {
		next = q.takeLocked(former)
	}
	q.launchLocked()
	return next
}

// takeLocked makes a batch of the queued calls and counts it as in flight. It
// returns nil if no call waits, or if each waits for another write of its key.
func (q *queue) takeLocked(former *batch) *batch {
	if len(q.waiting) == 0 {
		return nil
	}
	b := newBatch(q.op, q.limits.batch(), former)
	behind := q.fillLocked(b)
	q.ejectLocked(behind)
	if len(b.waiters) == 0 {
		return nil
	}
	q.inFlight++
	b.era = q.stalls.era
	b.begin()
	return b
}

// fillLocked moves calls from the queue into b until b is full. It passes over
// transactions that depend on one of b, and over writes whose keys have another write in
// flight. Afterwards the latter are the first calls of the queue, and behind is
// their number.
func (q *queue) fillLocked(b *batch) (behind int) {
	kept := q.waiting[:0]
	for i, w := range q.waiting {
		if q.order.busy(w.key) {
			kept = append(kept, w)
			behind++
			continue
		}
		if b.claims.clash(&w.touches) {
			kept = append(kept, w)
			continue
		}
		if !b.add(w) {
			kept = append(kept, q.waiting[i:]...)
			break
		}
		q.order.begin(w.key)
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
	return behind
}

// leaveLocked stops counting a request that has ended. era is the era in which it
// was sent.
func (q *queue) leaveLocked(era int) {
	q.inFlight--
	q.stalls.ended(era)
}

// endedLocked records how a request ended, for calls that give up in the queue.
func (q *queue) endedLocked(err *call.Error) {
	if err == nil || !err.RefusesShared() && !err.Withdrawn() {
		q.trouble = err
	}
}

// noteLocked adapts the queue to the result of a batch.
func (q *queue) noteLocked(b *batch, took time.Duration, err *call.Error) {
	switch {
	case err == nil:
		q.window.note(took, false, len(q.waiting) > 0)
		for _, p := range b.parts {
			q.weighLocked(b.waiters[p.first].key, len(p.answer))
		}
		q.refused.accepted(len(b.parts))
		if b.old {
			q.refusedOld.accepted(len(b.parts))
		}
	case len(b.parts) > 1 && b.old && lacksRevision(err):
		q.refusedOld.note(err)
	case len(b.parts) > 1 && err.RefusesShared():
		if !q.limits.refused(b, err) {
			q.refused.note(err)
		}
	}
}

// weighLocked records the size of the answer for a key.
func (q *queue) weighLocked(key uint64, size int) {
	if q.limits.weigh(size) {
		q.excluded.add(key)
	}
}
