package transport

import "time"

// Answers to a batch of renewals trickle in: the server handles them one by one
// and sends each as soon as it has it. Read as they come they cost a wake-up of
// the reader each, and one of who receives them, which is far more than their
// handling. So while nobody waits but streams that have time (Request.Patient),
// the reader sleeps a little after the first, and reads what has come meanwhile
// at once. A call or another stream wakes it.

// nap is how long the reader sleeps.
const nap = 50 * time.Millisecond

// napper is the reader's side of it.
type napper struct {
	timer  *time.Timer
	rested bool // what a nap has gathered is being read, and is not slept for
}

// mayNapLocked reports whether the reader may sleep behind a read that has brought
// something for patient streams only, and if so announces it.
func (r *reader) mayNapLocked() bool {
	c, hasty := r.c, r.hasty
	r.hasty = false
	if r.in.full() {
		return false
	}
	c.napping = len(r.woken) > 0 && !hasty && c.hasty == 0 && len(c.streams) > 0 && c.err == nil && !r.naps.rested
	r.naps.rested = false
	return c.napping
}

// nap sleeps until the time is over or somebody is in a hurry. It is called
// without a lock.
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
	if s.req.Patient {
		return
	}
	c.hasty++
	if c.napping {
		c.napping = false
		c.hurry <- struct{}{} // has room: the reader empties it behind each nap
	}
}

// leftLocked uncounts it.
func (c *conn) leftLocked(s *stream) {
	if !s.req.Patient {
		c.hasty--
	}
}
