package transport

import (
	"errors"
	"os"
	"time"
)

// A call that is alone on its connection costs mostly wake-ups: the answer wakes the reader,
// and the reader wakes the caller. So when calls have come one by one, the reader lends the
// read side to the callers: each reads its own answer, and the runtime
// wakes nothing else. The reader gets the read side back when a stream begins that does not
// read, when a tick has passed without a call, and when a call has waited for a whole tick,
// because a caller that reads sees neither the end of its context nor its time limits.
//
// The states of the read side, which conn.mu guards. Its holder owns conn.reader, too.
//
//	held     -> free      the reader lends it (lend)
//	free     -> borrowed  a call or stream begins (borrowLocked)
//	borrowed -> free      the call's answer has come, and nothing else waits (giveBackLocked)
//	borrowed -> held      something waits that does not read, or the reader wants it back
//	                      (giveBackLocked)
//	free     -> held      no call has come for a tick (lookAfter)
//
// While it is free nobody reads. Whatever borrows it first handles what has arrived
// meanwhile, so that no request is sent on a connection that the server has ended.
type readSide uint8

const (
	readSideHeld     readSide = iota // by the reader
	readSideFree                     // lent, and no caller uses it
	readSideBorrowed                 // by a caller
)

const (
	// lendTick is how often the reader looks after what it has lent. A call that is
	// cancelled returns up to two ticks later.
	lendTick = 2 * time.Millisecond
	// leastLone is how many calls in a row must have been alone before the reader lends;
	// while lending does not pay, that grows up to mostLone.
	leastLone = 8
	mostLone  = 4096
	// pays is how many calls must borrow the read side for the lending to be worth it.
	pays = 16
	// shortLimit is the time limit below which a call does not read, so that it is not late.
	shortLimit = 50 * time.Millisecond
)

// lending is the state of the read side, guarded by conn.mu.
type lending struct {
	side     readSide
	tick     time.Duration // lendTick, but for tests
	wanted   bool          // the reader wants it back
	calls    int           // that have borrowed it since the last tick
	total    int           // since it was lent
	returned chan struct{} // capacity 1: it is held again; nil until it was lent
}

// mayLendLocked reports whether the reader should lend the read side after a round.
func (r *reader) mayLendLocked() bool {
	c := r.c
	switch {
	case c.kernel == nil || c.err != nil || c.draining || len(r.woken) == 0:
		return false
	case !c.idleLocked():
		r.lone = 0
		return false
	}
	r.lone++
	return r.lone >= r.enough
}

// idleLocked: there is no stream.
func (c *conn) idleLocked() bool { return len(c.streams) == 0 && c.opening.head == nil }

// lend leaves the read side to callers for as long as they use it. It returns false when
// the connection is over; then a caller may still have the read side.
func (r *reader) lend() (held bool) {
	c := r.c
	c.mu.Lock()
	if !c.idleLocked() { // a call has begun since the round, and waits for the reader
		c.mu.Unlock()
		return true
	}
	l := &c.lending
	l.side, l.wanted, l.calls, l.total = readSideFree, false, 0, 0
	if l.returned == nil {
		l.returned = make(chan struct{}, 1)
	}
	returned, ticker := l.returned, time.NewTicker(l.tick)
	c.mu.Unlock()
	defer ticker.Stop()
	for {
		select {
		case <-returned:
			r.heldAgain()
			return true
		case <-c.done:
			return false
		case <-ticker.C:
		}
		if c.lookAfter() {
			r.heldAgain()
			return true
		}
	}
}

// lookAfter is a tick of lend. It reports whether the reader has the read side again.
func (c *conn) lookAfter() (held bool) {
	c.mu.Lock()
	l := &c.lending
	calls := l.calls
	l.calls = 0
	switch {
	case calls > 0 || l.side == readSideHeld: // if held, returned says so
		c.mu.Unlock()
		return false
	case l.side == readSideFree:
		l.side = readSideHeld
		c.mu.Unlock()
		return true
	}
	l.wanted = true
	c.mu.Unlock()
	_ = c.socket.SetReadDeadline(time.Unix(1, 0)) // the caller's read ends
	return false
}

// heldAgain is what the reader does when it has the read side again.
func (r *reader) heldAgain() {
	c := r.c
	c.mu.Lock()
	wanted, total := c.lending.wanted, c.lending.total
	c.mu.Unlock()
	if wanted {
		_ = c.socket.SetReadDeadline(time.Time{})
	}
	r.lone = 0
	if total < pays {
		r.enough = min(4*r.enough, mostLone)
	} else {
		r.enough = leastLone
	}
}

// borrowLocked takes the read side if it is free. It releases mu to handle what has arrived
// meanwhile.
func (c *conn) borrowLocked() (borrowed bool) {
	l := &c.lending
	if l.side != readSideFree || c.err != nil {
		return false
	}
	l.side = readSideBorrowed
	l.calls++
	l.total++
	c.mu.Unlock()
	c.catchUp()
	c.mu.Lock()
	return true
}

// hurried: one of its time limits is so short that it must not read.
func (s *stream) hurried() bool {
	short := func(limit time.Duration) bool { return limit > 0 && limit < shortLimit }
	return short(s.req.Timeout) || short(s.req.LateAfter) ||
		!s.deadline.IsZero() && time.Until(s.deadline) < shortLimit
}

// catchUp handles what arrived while the read side was free.
func (c *conn) catchUp() {
	for {
		arrived, err := c.reader.in.fillNow(c.kernel)
		switch {
		case c.recalling(err):
			return // readFor or beginLocked's caller gives it back
		case err != nil:
			c.readFailed(err)
			return
		case !arrived:
			return
		}
		if !c.reader.round() {
			return
		}
	}
}

// readFor reads until s has ended or the reader wants the read side back, and gives it back.
func (c *conn) readFor(s *stream) {
	for {
		c.mu.Lock()
		if s.done || c.err != nil {
			c.giveBackLocked()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		switch err := c.reader.in.fill(); {
		case c.recalling(err):
			c.mu.Lock()
			c.giveBackLocked()
			c.mu.Unlock()
			return
		case err != nil:
			c.readFailed(err)
			return
		}
		if !c.reader.round() {
			return
		}
	}
}

// recalling reports whether a read has failed with err because the reader wants the read side
// back.
func (c *conn) recalling(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lending.wanted
}

// giveBackLocked gives the read side back, to the reader if it wants it or a stream waits.
func (c *conn) giveBackLocked() {
	l := &c.lending
	if !l.wanted && c.idleLocked() {
		l.side = readSideFree
		return
	}
	l.side = readSideHeld
	l.returned <- struct{}{} // has room: it is empty while the read side is lent
}
