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
const (
	tick         = time.Second
	suspectTicks = 2
	deadTicks    = 10
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

func (c *conn) watchdog() {
	defer c.watch.Stop()
	for {
		select {
		case <-c.watch.C:
		case <-c.done:
			return
		}
		if !c.onTick() {
			c.fail(&Error{Code: Unavailable, Cause: ErrSilent})
			return
		}
	}
}

// onTick reports false when the peer is dead.
func (c *conn) onTick() bool {
	c.mu.Lock()
	if len(c.streams) == 0 && c.opening.head == nil {
		c.ticking = false
		c.mu.Unlock()
		return true
	}
	if c.heard {
		c.heard = false
		c.silentTicks = 0
	} else {
		c.silentTicks++
	}
	if c.silentTicks >= deadTicks {
		c.mu.Unlock()
		return false
	}
	c.suspect = c.silentTicks >= suspectTicks && c.pingWaiting
	if c.silentTicks > 0 && c.mayPingLocked() {
		c.control = appendPing(c.control, false, [8]byte{})
		c.pingSent, c.pingWaiting, c.traffic = time.Now(), true, false
	}
	c.watch.Reset(tick)
	c.flush()
	return true
}

// mayPingLocked: etcd closes a connection on the third PING that comes within
// five seconds of the one before without HEADERS or DATA from it in between.
func (c *conn) mayPingLocked() bool {
	return !c.pingWaiting && (c.traffic || time.Since(c.pingSent) >= c.opts.PingSpacing)
}
