package transport

import "time"

// Answers to a batch of renewals trickle in: the server handles them one by one and
// sends each as soon as it is ready. If the reader read each on arrival, every
// answer would wake the reader and its receiver, which costs far more than handling
// it. So while only patient streams wait (Request.Patient), the reader sleeps a
// little after the first answer and then reads everything that has arrived at once.
// A call or another stream wakes it.

// nap is how long the reader sleeps.
const nap = 50 * time.Millisecond

// napper is the reader's state for naps.
type napper struct {
	timer  *time.Timer
	rested bool // the reader is reading what a nap has gathered, and does not nap for it
}

// mayNapLocked reports whether the reader may nap after a read that brought data
// for patient streams only. If so, it announces the nap.
func (r *reader) mayNapLocked() bool {
	c, hasty := r.c, r.hasty
	r.hasty = false
	if r.in.full() {
		return false
	}
	c.napping = len(r.woken) > 0 && !hasty && c.hasty == 0 && len(c.streams) > 0 && c.err == nil && !r.naps.rested
	r.naps.rested = false
	if c.napping && c.hurry == nil {
		c.hurry = make(chan struct{}, 1)
	}
	return c.napping
}

// nap sleeps until the time is over or a call is in a hurry. It is called without a
// lock.
func (r *reader) nap() {
	n, c := &r.naps, r.c
	if n.timer == nil {
		n.timer = time.NewTimer(nap)
	} else {
		n.timer.Reset(nap)
	}
	select {
	case <-n.timer.C:
	case <-c.hurry:
		n.timer.Stop()
	case <-c.done:
		n.timer.Stop()
	}
	n.rested = true
	c.mu.Lock()
	c.napping = false
	c.mu.Unlock()
	select {
	case <-c.hurry:
	default:
	}
}

// enteredLocked counts a new stream and wakes the reader for it.
func (c *conn) enteredLocked(s *stream) {
	if s.wantsLate() {
		c.waiting++
		c.watchQuietLocked()
	}
	if s.req.Patient {
		return
	}
	c.hasty++
	if c.napping {
		c.napping = false
		c.hurry <- struct{}{} // has room: the reader empties it after each nap
	}
}

// leftLocked stops counting a stream.
func (c *conn) leftLocked(s *stream) {
	if s.wantsLate() {
		c.waiting--
	}
	if !s.req.Patient {
		c.hasty--
	}
}
