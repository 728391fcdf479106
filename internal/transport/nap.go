package transport

import "time"

// Answers to a batch of renewals trickle in: the server handles them one by one
// and sends each as soon as it has it. Read as they come they cost a wake-up of
// the reader each, and one of who receives them, which is far more than their
// handling. So while nobody waits but streams that have time (Request.Patient),
// the reader sleeps a little between two reads. A call or another stream wakes it.

// nap is how long the reader sleeps.
const nap = 10 * time.Millisecond

// napper is the reader's side of it.
type napper struct {
	timer *time.Timer
	last  time.Time // when it last had something for a stream
}

// afterRead sleeps if that is worth it: something was read for a stream, soon
// after the time before. It may be called without a lock only.
func (n *napper) afterRead(c *conn) {
	c.mu.Lock()
	if c.hasty > 0 || len(c.streams) == 0 || c.err != nil {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	soon := now.Sub(n.last) < 2*nap
	n.last = now
	c.napping = soon
	c.mu.Unlock()
	if !soon {
		return
	}
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
