package transport

import "time"

// The watchdog detects a silently dead peer, for which TCP alone takes minutes. It
// counts ticks of a quarter of a second in which streams were open and no byte
// arrived:
//
//	3 ticks  the peer is asked for a sign of life
//	6 ticks  it does not give one: suspect
//	40 ticks dead: the connection is closed
//
// It is asked with a PING, if the last one is long enough ago, and otherwise with an empty
// SETTINGS frame, which it has to acknowledge: servers count PINGs on a quiet connection
// and close it, and a watch may be quiet for hours. A peer that has complained of PINGs
// gets neither more often than the spacing allows.
//
// It uses ticks, not a clock: while this process is stopped or starved no ticks
// pass, and afterwards the reader drains the socket before the next tick. So a
// pause on our side never looks like the peer's death.
//
// A call that gives up before any byte arrives sets doubt, which keeps the ticks
// running until the peer has answered. Otherwise occasional calls with short deadlines
// would never reach the third tick, and a dead connection would stay until TCP
// gives up.
//
// The watchdog also makes calls late, see late.go: a member may answer PINGs and
// nothing else. And it takes short ticks while calls wait, see quiet.go.
const (
	tick         = 250 * time.Millisecond
	askTicks     = 3
	suspectTicks = 6
	deadTicks    = 40
	// answerTicks is how long the peer must have been asked in vain. The spacing may
	// delay that, and a peer that was not asked must not count as dead.
	answerTicks = 12
)

// watchLocked starts the ticks when a stream is opened.
func (c *conn) watchLocked() {
	if c.ticking {
		return
	}
	c.ticking = true
	c.heard = true // the current tick is not a full one
	c.watch.Set(tick)
}

// heardLocked records that bytes have arrived.
func (c *conn) heardLocked() {
	c.heard, c.doubt = true, false
	c.reads++
	c.quietWatch.heard = true
	if c.quiet.Load() {
		c.quiet.Store(false)
	}
	if c.suspect {
		c.suspect = false
		c.setStateLocked()
	}
}

// onTick is the tick, in its own goroutine.
func (c *conn) onTick() {
	if err := c.watchTick(); err != nil {
		c.fail(&Error{Code: Unavailable, Cause: err})
	}
}

// watchTick returns the reason if the connection must end.
func (c *conn) watchTick() error {
	c.mu.Lock()
	if c.State() == Closed {
		c.mu.Unlock()
		return nil
	}
	idle := len(c.streams) == 0 && c.opening.head == nil && !c.doubt
	if idle && (c.draining || !c.asking) {
		draining := c.draining
		c.ticking = false
		c.mu.Unlock()
		if draining {
			return ErrDraining // we ended its last stream
		}
		return nil
	}
	c.countLocked()
	if c.silentTicks >= deadTicks && c.asking && c.askedTicks >= answerTicks {
		c.mu.Unlock()
		return ErrSilent
	}
	// On a connection that was idle before, the silence alone means nothing.
	becomes := c.silentTicks >= suspectTicks && c.asking && c.askedTicks >= suspectTicks-askTicks && !c.suspect
	if becomes {
		c.suspect = true
		c.setStateLocked()
	}
	late, calls := c.lateLocked(becomes)
	if c.onFull != nil && c.stuckLocked() {
		calls = append(calls, func() { c.onFull(c) })
	}
	if c.silentTicks >= askTicks && !idle && !c.asking {
		c.askLocked()
	}
	c.watch.Set(tick)
	c.flush()
	for _, s := range late {
		s.signal()
	}
	for _, call := range calls {
		call()
	}
	return nil
}

// askLocked asks the peer for a sign of life.
func (c *conn) askLocked() {
	switch {
	case c.traffic || time.Since(c.pingSent) >= c.opts.PingSpacing:
		// etcd closes a connection on the third PING that arrives within five seconds
		// of the previous one without HEADERS or DATA from etcd in between.
		c.control = appendPing(c.control, false, [8]byte{})
		c.pingSent, c.traffic = time.Now(), false
	case c.spared:
		return
	default:
		c.control = appendFrameHeader(c.control, 0, frameSettings, 0, 0)
	}
	c.asking, c.askedTicks = true, 0
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
	if c.asking {
		c.askedTicks++
	}
}
