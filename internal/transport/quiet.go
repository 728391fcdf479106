package transport

import "time"

// A member that is stopped says nothing at all. The watchdog takes six ticks, a second
// and a half, to call its connection suspect, since much follows from that: streams
// leave and connections are dialed. For a read another member is cheaper. So while calls
// wait, the watchdog also takes short ticks, and a connection that has brought no byte in
// a few of them is quiet: calls that begin go elsewhere while another connection is
// not quiet, and those that wait are called late and Early. The next byte ends that.
//
// How many ticks that takes adapts. A member that is slow and alive ends the quiet with an
// answer: then the next silence must last twice as long, until there has been no such
// answer for a while.
//
// Ticks are counted and not time, for the watchdog's reason: while this process is stopped
// none pass, and afterwards the reader drains the socket before the second.
const (
	shortTick = 40 * time.Millisecond
	// quietTicks is how many short ticks without a byte, at the least, make a connection
	// quiet. The one in which the call was made does not count.
	quietTicks = 3
	// maxSlowness is how often that may double: beyond 48 ticks the connection is suspect.
	maxSlowness = 4
	// forgetTicks is how many short ticks with bytes, and without a slow answer, halve it.
	forgetTicks = 50
)

// quietWatch counts short ticks. Its fields are guarded by conn.mu.
type quietWatch struct {
	ticking  bool
	heard    bool // bytes arrived since the last short tick
	silent   int  // short ticks without a byte
	slowness int  // how often slow answers have doubled the limit
	calm     int  // short ticks with bytes since slowness has changed
}

// limit is how many short ticks of silence make the connection quiet.
func (q *quietWatch) limit() int {
	return quietTicks << q.slowness
}

// count counts a short tick.
func (q *quietWatch) count() {
	if !q.heard {
		q.silent++
		return
	}
	switch q.calm++; {
	case q.silent >= q.limit():
		q.slowness, q.calm = min(q.slowness+1, maxSlowness), 0
	case q.calm >= forgetTicks:
		q.slowness, q.calm = max(q.slowness-1, 0), 0
	}
	q.heard, q.silent = false, 0
}

// Quiet reports whether calls wait and no byte has arrived for a short while.
func (c *conn) Quiet() bool { return c.quiet.Load() }

// watchQuietLocked starts the short ticks when a call begins that wants to know.
func (c *conn) watchQuietLocked() {
	q := &c.quietWatch
	if q.ticking {
		return
	}
	q.ticking = true
	q.heard, q.silent = true, 0 // the current tick is not a full one
	c.short.Set(shortTick)
}

// onShortTick makes the connection quiet when that is due, and the calls that wait Early.
func (c *conn) onShortTick() {
	c.mu.Lock()
	q := &c.quietWatch
	if c.waiting == 0 || c.err != nil {
		q.ticking = false
		c.mu.Unlock()
		return
	}
	q.count()
	if q.silent >= q.limit() {
		c.quiet.Store(true)
	}
	var early []*stream
	if c.quiet.Load() {
		early = c.earlyLocked()
	}
	c.short.Set(shortTick)
	c.mu.Unlock()
	for _, s := range early {
		s.signal()
	}
}

// earlyLocked marks the calls that are to learn that the connection is quiet, each once,
// and returns them to be signalled.
func (c *conn) earlyLocked() (early []*stream) {
	c.eachLocked(func(s *stream) {
		if s.wantsLate() && !s.early.Load() && !s.late.Load() {
			s.early.Store(true)
			early = append(early, s)
		}
	})
	return early
}
