package transport

import "time"

// A peer that has died without a word is found by data, not by TCP, which takes
// minutes. The watchdog counts ticks of a quarter of a second in which streams
// were open and not a byte came:
//
//	3 ticks  a PING is sent, if the last one is long enough ago
//	6 ticks  the PING is not answered either: suspect
//	40 ticks dead: the connection is closed
//
// Ticks, not a clock: while this process is stopped or starved no ticks pass,
// and after it the reader drains the socket before the next one, so a pause on
// our side never looks like death on the other.
//
// A call that has given up before it heard anything leaves a doubt, which keeps
// the ticks going until a PING has been answered: of calls with short deadlines,
// one now and then, none would see the third tick, and the connection would
// stay for as long as TCP takes to give up.
//
// The watchdog also tells calls that their answer is late, see late.go: a member
// may answer PINGs and nothing else.
const (
	tick         = 250 * time.Millisecond
	pingTicks    = 3
	suspectTicks = 6
	deadTicks    = 40
	// answerTicks is how long a PING must have been under way, so that a peer of
	// whom nothing was asked, because of the spacing, is not taken for dead.
	answerTicks = 12
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
	c.countLocked()
	if c.silentTicks >= deadTicks && c.pingWaiting && c.pingWaits >= answerTicks {
		c.mu.Unlock()
		return ErrSilent
	}
	// On a connection that was quiet before, the silence alone says nothing.
	becomes := c.silentTicks >= suspectTicks && c.pingWaiting && c.pingWaits >= suspectTicks-pingTicks && !c.suspect
	if becomes {
		c.suspect = true
		c.setStateLocked()
	}
	late, calls := c.lateLocked(becomes)
	if c.silentTicks >= pingTicks && !idle && c.mayPingLocked() {
		c.control = appendPing(c.control, false, [8]byte{})
		c.pingSent, c.pingWaiting, c.pingWaits, c.traffic = time.Now(), true, 0, false
	}
	c.watch.Reset(tick)
	c.flush()
	for _, s := range late {
		s.signal()
	}
	for _, call := range calls {
		call()
	}
	return nil
}

// countLocked counts a tick.
func (c *conn) countLocked() {
	c.ticks++
	if c.heard {
		c.heard = false
		c.silentTicks = 0
	} else {
		c.silentTicks++
	}
	if c.pingWaiting {
		c.pingWaits++
	}
}

// mayPingLocked: etcd closes a connection on the third PING that comes within
// five seconds of the one before without HEADERS or DATA from it in between.
func (c *conn) mayPingLocked() bool {
	return !c.pingWaiting && (c.traffic || time.Since(c.pingSent) >= c.opts.PingSpacing)
}
