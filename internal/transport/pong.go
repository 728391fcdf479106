package transport

import (
	"time"

	"silly.store/etcd/internal/alarm"
)

// A gRPC server estimates the bandwidth: with the first bytes of a request it sends a PING,
// and with the first bytes after the acknowledgement the next one. Acknowledged at once,
// that is a PING and an acknowledgement per call where calls follow each other, each with a
// write on one side and a read on the other: as much as the call itself. So the
// acknowledgement waits a little, and there are at most a hundred PINGs per second. An
// estimate for small requests is of no use, the windows are far larger than those. It does
// not wait where somebody else does:
//
//   - pongBytes have been sent since the previous acknowledgement: the server measures an
//     upload, and grants it window by the result;
//   - the connection drains: the server ends it after its PING;
//   - an acknowledgement waits already: the PING is for something else.
//
// RFC 9113, section 6.7, has acknowledgements go before other frames, so that the sender can
// measure time; ten milliseconds are little for a keep-alive, whose senders wait seconds.
const (
	pongDelay = 10 * time.Millisecond
	pongBytes = defaultMaxFrameSize
)

// pong is the acknowledgement of a PING. Its fields are guarded by conn.mu.
type pong struct {
	waits     bool
	alarm     alarm.Alarm // it has waited
	data      [8]byte
	assembled uint64 // conn.assembled at the previous acknowledgement
}

// acknowledgeLocked queues the acknowledgement of a PING with data, or has it wait.
func (c *conn) acknowledgeLocked(data [8]byte) {
	p := &c.pong
	if p.waits || c.draining || c.assembled-p.assembled > pongBytes {
		c.acknowledgeWaitingLocked()
		c.appendPongLocked(data)
		return
	}
	p.waits, p.data = true, data
	p.alarm.Set(pongDelay)
}

// acknowledgeWaitingLocked queues the acknowledgement that waits, if one does.
func (c *conn) acknowledgeWaitingLocked() {
	if c.pong.waits {
		c.pong.waits = false
		c.appendPongLocked(c.pong.data)
	}
}

func (c *conn) appendPongLocked(data [8]byte) {
	c.control = appendPing(c.control, true, data)
	c.pong.assembled = c.assembled
}

// onPong sends the acknowledgement that has waited.
func (c *conn) onPong() {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.acknowledgeWaitingLocked()
	c.flush()
}
