package transport

import (
	"fmt"
	"math"
)

// A server says how many streams may be open on a connection at a time
// (SETTINGS_MAX_CONCURRENT_STREAMS). Requests beyond that wait for their turn, which
// never comes where long-lived streams, such as watches and lease renewals, have taken
// all: the watchdog finds that, and the owner of the connection may make another.

// fullTicks is how many ticks must have passed without a stream being opened.
const fullTicks = 2

// full: no stream can be opened now.
func (c *conn) fullLocked() bool { return uint64(len(c.streams)) >= uint64(c.peer.maxStreams) }

// stuckLocked: requests wait for a stream, and none becomes free.
func (c *conn) stuckLocked() bool {
	first := c.opening.head
	return first != nil && !c.draining && c.fullLocked() &&
		c.ticks-first.ticksBefore >= fullTicks && c.ticks-c.openedTick >= fullTicks
}

func (c *conn) Streams() (now, allowed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, allowed = len(c.streams), math.MaxInt32
	for s := c.opening.head; s != nil; s = s.next {
		now++
	}
	if most := uint64(c.peer.maxStreams); most < math.MaxInt32 {
		allowed = int(most)
	}
	return now, allowed
}

func (c *conn) Shed() {
	c.mu.Lock()
	var shed []*stream
	if c.fullLocked() { // else they are about to be opened
		shed = c.refuseLocked(func() *Error {
			return &Error{Code: Unavailable, Outcome: NotSent, Message: c.limitLocked(), Cause: ErrStreamsTaken}
		})
	}
	c.mu.Unlock()
	for _, s := range shed {
		s.signal()
	}
}

func (c *conn) limitLocked() string {
	streams := "streams"
	if c.peer.maxStreams == 1 {
		streams = "stream"
	}
	return fmt.Sprintf("the server allows %d %s on a connection (etcd's --max-concurrent-streams)", c.peer.maxStreams, streams)
}

// waitedLocked adds to an end of time that the request was waiting for a stream.
func (c *conn) waitedLocked(s *stream, err *Error) *Error {
	if s.queue == &c.opening && c.fullLocked() && err.Message == "" {
		err.Message = "waiting for a stream, since " + c.limitLocked() + " and all are taken"
	}
	return err
}
