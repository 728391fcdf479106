package transport

import "time"

// A peer that has died without a word is found by data, not by TCP, which takes
// minutes. The watchdog counts ticks of a second in which streams were open and
// not a byte came:
//
//	1 tick   a PING is sent, if the last one is long enough ago
//	2 ticks  the PING is not answered either: suspect
//	10 ticks dead: the connection is closed
//
// Ticks, not a clock: while this process is stopped or starved no ticks pass,
// and after it the reader drains the socket before the next one, so a pause on
// our side never looks like death on the other.
//
// A call that has given up before it heard anything leaves a doubt, which keeps
// the ticks going until a PING has been answered: of calls with short deadlines,
// one now and then, none would see the second tick, and the connection would
// stay for as long as TCP takes to give up.
const (
	tick         = time.Second
	suspectTicks = 2
	deadTicks    = 10
	// answerTicks is how long a PING must have been under way, so that a peer of
	// whom nothing was asked, because of the spacing, is not taken for dead.
	answerTicks = 3
)

// watchLocked starts the ticks when a stream is opened.
func (c *conn) watchLocked() {
	if c.ticking {
		return
	}
	c.ticking = true
	c.heard = true // the tick under way is not a whole one
	c.watch.Reset(tick)
}

// heardLocked notes that bytes have arrived.
func (c *conn) heardLocked() {
	c.heard, c.doubt = true, false
	c.reads++
	if c.suspect {
		c.suspect = false
		c.setStateLocked()
	}
}

func (c *conn) watchdog() {
	defer c.watch.Stop()
	for {
		select {
		case <-c.watch.C:
		case <-c.done:
			return
		}
		if err := c.onTick(); err != nil {
			c.fail(&Error{Code: Unavailable, Cause: err})
			return
		}
	}
}

// onTick returns why the connection is to end, if it is.
func (c *conn) onTick() error {
	c.mu.Lock()
	idle := len(c.streams) == 0 && c.opening.head == nil && !c.doubt
	if idle && (c.draining || !c.pingWaiting) {
		draining := c.draining
		c.ticking = false
		c.mu.Unlock()
		if draining {
			return ErrDraining // its last stream ended on our side
		}
		return nil
	}
	if c.heard {
		c.heard = false
		c.silentTicks = 0
	} else {
		c.silentTicks++
	}
	if c.pingWaiting {
		c.pingTicks++
	}
	if c.silentTicks >= deadTicks && c.pingWaiting && c.pingTicks >= answerTicks {
		c.mu.Unlock()
		return ErrSilent
	}
	if c.silentTicks >= suspectTicks && c.pingWaiting && !c.suspect {
		c.suspect = true
		c.setStateLocked()
	}
	if c.silentTicks > 0 && !idle && c.mayPingLocked() {
		c.control = appendPing(c.control, false, [8]byte{})
		c.pingSent, c.pingWaiting, c.pingTicks, c.traffic = time.Now(), true, 0, false
	}
	c.watch.Reset(tick)
	c.flush()
	return nil
}

// mayPingLocked: etcd closes a connection on the third PING that comes within
// five seconds of the one before without HEADERS or DATA from it in between.
func (c *conn) mayPingLocked() bool {
	return !c.pingWaiting && (c.traffic || time.Since(c.pingSent) >= c.opts.PingSpacing)
}
