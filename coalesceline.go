package etcd

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// line is where calls of one kind find others to share a request with. As many
// requests are under way as its window allows, each a single call that went at
// once or a batch; calls that come meanwhile queue. When a request is answered
// what has queued goes as the next one, so a call never joins a batch that has
// been sent, and none waits for others to come.
//
// A single call is sent by its caller. Batches are sent by a goroutine for each
// that is under way, which goes on with the next one and ends when nobody queues.
type line struct {
	c  *Client
	op *operation

	mu sync.Mutex // guards the fields below
	// queue is in the order of the calls. It is not empty only while something is
	// under way whose end looks at it.
	queue   []*waiter
	flights int // requests under way
	window  window
	limits  limits
	apart   apart
	refused refusals
	// flying counts the writes of each key that are under way.
	flying map[uint64]int
	closed bool
	// trouble is how the last request ended; nil: with an answer.
	trouble *Error

	// While calls queue a timer looks whether any request has ended since it last
	// did. If none has, those under way are stalled, and no longer count: a member
	// that hangs must not hold up calls that go to another one.
	timer   *time.Timer
	ticking bool
	landed  bool // a request has ended since the last tick
	// stalled is how many of those under way are; they were sent before era, which
	// counts how often such were found.
	stalled, era int
}

// stallTick is how often a line with a queue looks for stalled requests.
const stallTick = 250 * time.Millisecond

func (l *line) init(c *Client, op *operation) {
	l.c, l.op = c, op
	l.window.init()
	l.limits.init()
	if op.writes {
		l.flying = make(map[uint64]int)
	}
}

// call makes the call w, alone or with others, and releases w.
func (l *line) call(ctx context.Context, w *waiter, resp sharedResponse) error {
	switch l.enter(w) {
	case goes:
		return l.goAlone(ctx, w, resp)
	case goesBeside:
		return l.goBeside(ctx, w, resp)
	}
	if !w.wait(ctx) {
		if err := l.giveUp(ctx, w); err != nil {
			return err
		}
		<-w.done
	}
	if w.alone {
		return l.goRefused(ctx, w, resp)
	}
	err := w.result(l.op, resp)
	l.c.coalescer.release(w)
	return err
}

// wait reports whether there is an answer; else ctx has ended, and giveUp finds
// whether there is one all the same.
func (w *waiter) wait(ctx context.Context) bool {
	if ctx.Done() == nil {
		<-w.done
		return true
	}
	select {
	case <-w.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// entry is how a call proceeds.
type entry uint8

const (
	queues     entry = iota // it waits for w.done
	goes                    // it goes alone, as one of the window
	goesBeside              // it goes alone, and the window doesn't count it
)

func (l *line) enter(w *waiter) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.solo = l.closed || l.refused.pausing() || l.limits.heavy() || l.limits.tooLarge(w.msg) || l.apart.has(w.key)
	switch {
	case l.op.writes && !l.closed && (len(l.queue) > 0 || l.flying[w.key] > 0):
	case w.solo:
		l.flyLocked(w)
		return goesBeside
	case len(l.queue) == 0 && l.flights < l.allowedLocked():
		l.flights++
		w.era = l.era
		l.flyLocked(w)
		return goes
	}
	l.queue = append(l.queue, w)
	l.launchLocked()
	l.tickLocked()
	return queues
}

// flyLocked and landLocked count a write of a key that is under way.
func (l *line) flyLocked(w *waiter) {
	if l.op.writes {
		l.flying[w.key]++
	}
}

func (l *line) landLocked(w *waiter) {
	if !l.op.writes {
		return
	}
	if l.flying[w.key]--; l.flying[w.key] <= 0 {
		delete(l.flying, w.key)
	}
}

func (l *line) allowedLocked() int { return l.window.size + l.stalled }

// goAlone makes a call that holds a place in the window.
func (l *line) goAlone(ctx context.Context, w *waiter, resp sharedResponse) error {
	began := time.Now()
	reply, err := l.c.call(ctx, l.op.single, w.msg)
	took := time.Since(began)

	l.mu.Lock()
	l.landLocked(w)
	if err == nil {
		l.window.note(took, l.flights == 1 && len(l.queue) == 0, len(l.queue) > 0)
		l.weighLocked(w.key, len(reply))
	}
	l.endedLocked(err)
	l.leaveLocked(w.era)
	l.launchLocked()
	l.mu.Unlock()
	return l.finish(w, reply, err, resp)
}

// endedLocked notes how a request has ended, for those that give up waiting.
func (l *line) endedLocked(err *Error) {
	if err == nil || !err.refusal() {
		l.trouble = err
	}
}

// goBeside makes a call that shares with nobody.
func (l *line) goBeside(ctx context.Context, w *waiter, resp sharedResponse) error {
	reply, err := l.c.call(ctx, l.op.single, w.msg)
	l.mu.Lock()
	l.landLocked(w)
	if err == nil {
		l.weighLocked(w.key, len(reply))
	}
	l.launchLocked()
	l.mu.Unlock()
	return l.finish(w, reply, err, resp)
}

// goRefused makes a call whose batch was refused. If it is to blame, its key
// stays out of batches for a while.
func (l *line) goRefused(ctx context.Context, w *waiter, resp sharedResponse) error {
	reply, err := l.c.call(ctx, l.op.single, w.msg)
	l.mu.Lock()
	if err != nil && err.refusal() {
		l.apart.add(w.key)
	}
	if w.batch != nil { // else it comes from the queue and was never counted
		l.landLocked(w)
		l.launchLocked()
	}
	l.mu.Unlock()
	return l.finish(w, reply, err, resp)
}

// finish is the end of a call that was made alone.
func (l *line) finish(w *waiter, reply []byte, err *Error, resp sharedResponse) error {
	l.c.coalescer.release(w)
	if err != nil {
		return err
	}
	if err := resp.decodeWire(reply); err != nil {
		return undecodable(l.op.single, err)
	}
	return nil
}

// giveUp is the end of a call whose context has ended while it was in the queue
// or in a batch. It is nil if the call has just been answered: w.done is about to
// say so. Else w is not released, for who has taken it may still look at it.
func (l *line) giveUp(ctx context.Context, w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := w.batch
	switch {
	case w.settled:
		return nil
	case b == nil:
		l.removeLocked(w)
		e := &Error{
			Op: l.op.single.op, Code: codeOfContext(ctx), Outcome: NotSent, write: l.op.writes, cause: ctx.Err(),
			Message: ctx.Err().Error() + "; it was waiting for requests that are under way",
		}
		return e.behind(l.trouble)
	}
	w.left = true
	if b.left++; b.left == len(b.waiters) {
		b.cancel()
	}
	return b.fate.givenUp(ctx, l.op)
}

func (l *line) removeLocked(w *waiter) {
	for i, other := range l.queue {
		if other == w {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return
		}
	}
}

// leaveLocked takes a request that has ended out of those under way. era is when
// it was sent.
func (l *line) leaveLocked(era int) {
	l.flights--
	l.landed = true
	if era < l.era && l.stalled > 0 {
		l.stalled--
	}
}

// launchLocked sends what has queued, as far as the window allows.
func (l *line) launchLocked() {
	for len(l.queue) > 0 && l.flights < l.allowedLocked() {
		b := l.takeLocked(nil)
		if b == nil {
			return
		}
		l.c.coalescer.routines.Add(1)
		go l.fly(b)
	}
}

// fly sends a batch, and then what has queued meanwhile.
func (l *line) fly(b *batch) {
	defer l.c.coalescer.routines.Done()
	var s sender
	for b != nil {
		began := time.Now()
		err := s.send(l.c, b)
		l.settle(b, time.Since(began), err)
		b.tell()
		runtime.Gosched() // who has its answer may ask again: one batch for all of them
		b = l.next(b)
	}
}

// settle says what has become of b's calls, and learns from it. Writes that are to
// be made alone stay under way until they are: others of their keys wait behind them.
func (l *line) settle(b *batch, took time.Duration, err *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.settle(err)
	l.endedLocked(err)
	for _, w := range b.waiters {
		if !w.alone || w.left {
			l.landLocked(w)
		}
	}
	l.noteLocked(b, took, err)
}

// next is the batch in the place of former, which has ended.
func (l *line) next(former *batch) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked(former.era)
	var next *batch
	if l.flights < l.allowedLocked() {
		next = l.takeLocked(former)
	}
	l.launchLocked()
	return next
}

func (l *line) noteLocked(b *batch, took time.Duration, err *Error) {
	switch {
	case err == nil:
		l.window.note(took, false, len(l.queue) > 0)
		for _, p := range b.parts {
			l.weighLocked(b.waiters[p.first].key, len(p.answer))
		}
		l.refused.accepted(len(b.parts))
	case len(b.parts) > 1 && err.refusal():
		if !l.limits.refused(b, err) {
			l.refused.note(err)
		}
	}
}

// weighLocked notes how large the answer for a key was.
func (l *line) weighLocked(key uint64, size int) {
	if l.limits.weigh(size) {
		l.apart.add(key)
	}
}

// hotQueue is how many writes may wait for others of their keys. When there are
// more they are sent alone, at once: in order they would take too long.
const hotQueue = 16

// takeLocked makes a batch of what has queued, as large as the limits allow. It
// is counted as under way. nil: there is none, or it must wait.
func (l *line) takeLocked(former *batch) *batch {
	if len(l.queue) == 0 {
		return nil
	}
	b := newBatch(l.op, l.limits.batch(), former)
	kept, behind := l.queue[:0], 0
	for i, w := range l.queue {
		if l.op.writes && l.flying[w.key] > 0 {
			kept = append(kept, w)
			behind++
			continue
		}
		if !b.add(w) {
			kept = append(kept, l.queue[i:]...)
			break
		}
		l.flyLocked(w)
	}
	if behind > hotQueue {
		for _, w := range kept[:behind] {
			w.alone, w.settled = true, true
			w.done <- struct{}{}
		}
		kept = append(kept[:0], kept[behind:]...)
	}
	clear(l.queue[len(kept):])
	l.queue = kept
	if len(b.waiters) == 0 {
		return nil
	}
	l.flights++
	b.era = l.era
	b.begin()
	return b
}

// tickLocked starts the timer that looks for stalled requests.
func (l *line) tickLocked() {
	if l.ticking {
		return
	}
	l.ticking, l.landed = true, true
	l.c.coalescer.routines.Add(1)
	if l.timer == nil {
		l.timer = time.AfterFunc(stallTick, l.tick)
	} else {
		l.timer.Reset(stallTick)
	}
}

func (l *line) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) == 0 && l.flights == 0 {
		l.ticking = false
		l.c.coalescer.routines.Done()
		return
	}
	if len(l.queue) > 0 && !l.landed {
		l.stalled = l.flights
		l.era++
		l.launchLocked()
	}
	l.landed = false
	l.timer.Reset(stallTick)
}

// close fails the calls in the queue. Later ones are made as if there were no line,
// and fail for the client's own end.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, w := range l.queue {
		w.err, w.settled = clientClosed(l.op.single.op), true
		w.done <- struct{}{}
	}
	l.queue = nil
	if l.ticking && l.timer.Stop() {
		l.ticking = false
		l.c.coalescer.routines.Done()
	}
}

// count is how many calls wait.
func (l *line) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}
