package transport

import (
	"runtime"
	"time"
)

const (
	// maxChunk is about the most that one write carries.
	maxChunk = 128 << 10
	// maxRounds is how often a caller writes what others have queued meanwhile
	// before it hands the write side to the writer and waits for its own answer.
	maxRounds = 2
)

// flush gets what is queued on its way. It is called with mu held and returns
// with it released. It never blocks: whoever claims the write side writes in
// place what the socket takes at once, or wakes the writer.
func (c *conn) flush() {
	if c.writing || c.err != nil || !c.hasOutputLocked() {
		c.mu.Unlock()
		return
	}
	c.writing = true
	if c.inPlace == nil {
		c.mu.Unlock()
		c.wake <- struct{}{} // has room: only who claims the write side sends here
		return
	}
	if len(c.streams) > 1 && c.hasty > 0 {
		// Others are at work on this connection: let those that can run queue
		// their requests too, so that one write carries them all.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.writeInPlace()
}

// writeInPlace writes as the holder of the write side. Called with mu held,
// returns with it released.
func (c *conn) writeInPlace() {
	for range maxRounds {
		if !c.assembleLocked() {
			c.mu.Unlock()
			return
		}
		chunk := c.chunk
		c.mu.Unlock()
		n, err := c.inPlace.write(chunk)
		if err != nil {
			c.writeFailed(len(chunk)-n, err)
			return
		}
		c.mu.Lock()
		if n < len(chunk) {
			c.rest = chunk[n:]
			break
		}
	}
	c.mu.Unlock()
	c.wake <- struct{}{}
}

// write is the writer: it holds the write side from each wake until nothing is
// left to send.
func (c *conn) write() {
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		if !c.writeAll() {
			return
		}
	}
}

// writeAll writes until nothing is left. It reports false when the connection
// has failed.
func (c *conn) writeAll() bool {
	c.mu.Lock()
	chunk := c.rest
	c.rest = nil
	c.mu.Unlock()
	for {
		if len(chunk) > 0 {
			n, err := c.nc.Write(chunk)
			if err != nil {
				if c.socket != c.nc {
					n = len(chunk) // TLS does not tell what left
				}
				c.writeFailed(len(chunk)-n, err)
				return false
			}
		}
		runtime.Gosched() // let callers that can run queue theirs for the same write
		c.mu.Lock()
		ok := c.assembleLocked()
		chunk = c.chunk
		c.mu.Unlock()
		if !ok {
			return true
		}
	}
}

// writeFailed ends the connection after a failed write, of whose chunk the last
// unsent bytes were not taken: the requests in those were not sent.
func (c *conn) writeFailed(unsent int, err error) {
	c.mu.Lock()
	c.handed = c.assembled - uint64(unsent)
	c.mu.Unlock()
	c.fail(c.endReason(&Error{Code: Unavailable, Message: "write", Cause: err}))
}

func (c *conn) hasOutputLocked() bool {
	return len(c.control) > 0 || c.ready.head != nil || c.mayOpenLocked()
}

func (c *conn) mayOpenLocked() bool {
	return c.opening.head != nil && uint64(len(c.streams)) < uint64(c.peer.maxStreams) && !c.draining
}

// assembleLocked gathers what waits into c.chunk. When there is nothing, or the
// connection is over, it gives the write side up and reports false.
func (c *conn) assembleLocked() bool {
	if c.err != nil {
		c.writing = false
		return false
	}
	b := append(c.chunk[:0], c.control...)
	c.control = c.control[:0]
	for len(b) < maxChunk && c.mayOpenLocked() {
		b = c.openLocked(b, c.opening.head)
	}
	b = c.appendReadyLocked(b)
	c.chunk = b
	if len(b) == 0 {
		c.writing = false
		c.chunk = shrink(c.chunk)
		return false
	}
	c.assembled += uint64(len(b))
	// From here on the socket may have it all, whatever becomes of the write.
	c.handed = c.assembled
	return true
}

// shrink drops a chunk buffer that one large write has blown up.
func shrink(b []byte) []byte {
	if cap(b) > 2*maxChunk {
		return nil
	}
	return b
}

// openLocked assembles the HEADERS of s and as much of its data as may go.
func (c *conn) openLocked(b []byte, s *stream) []byte {
	s.dequeue()
	s.id = c.nextID
	c.nextID += 2
	if c.nextID > maxStreamID {
		// Stream ids are used up and s is the last one; those behind it in line
		// go to another connection.
		for _, refused := range c.drainLocked(ErrDraining) {
			refused.signal()
		}
	}
	c.streams[s.id] = s
	s.start = c.assembled + uint64(len(b))
	s.sendWindow = c.peer.initialWindow
	s.recvWindow = int64(c.opts.StreamWindow)
	b = c.appendHeadersLocked(b, s)
	return c.appendDataLocked(b, s)
}

// appendHeadersLocked appends the HEADERS frame, and CONTINUATIONs when the
// block does not fit in one frame.
func (c *conn) appendHeadersLocked(b []byte, s *stream) []byte {
	var timeout time.Duration
	if !s.deadline.IsZero() {
		timeout = max(time.Until(s.deadline), time.Microsecond)
	}
	at := len(b)
	b = appendFrameHeader(b, 0, frameHeaders, flagEndHeaders, s.id)
	b = c.headers.append(b, blockKey{s.req.Path, s.req.Token, s.req.RequireLeader}, timeout)
	length := len(b) - at - frameHeaderLen
	if length <= c.peer.maxFrameSize {
		b[at], b[at+1], b[at+2] = byte(length>>16), byte(length>>8), byte(length)
		return b
	}
	block := append([]byte(nil), b[at+frameHeaderLen:]...)
	return appendSplitHeaders(b[:at], block, s.id, c.peer.maxFrameSize)
}

func appendSplitHeaders(b, block []byte, id uint32, maxFrame int) []byte {
	kind := frameHeaders
	for {
		n := min(len(block), maxFrame)
		var flags uint8
		if n == len(block) {
			flags = flagEndHeaders
		}
		b = appendFrameHeader(b, n, kind, flags, id)
		b = append(b, block[:n]...)
		block = block[n:]
		kind = frameContinuation
		if len(block) == 0 {
			return b
		}
	}
}

// appendReadyLocked lets the streams in the ready queue send in turn, a frame
// each, until the chunk is full or the connection window is used up.
func (c *conn) appendReadyLocked(b []byte) []byte {
	for s := c.ready.head; s != nil && len(b) < maxChunk; s = c.ready.head {
		s.dequeue()
		before := len(b)
		b = c.appendDataLocked(b, s)
		if len(b) == before && s.queue != nil {
			break // s is back in line because the connection window is empty
		}
	}
	return b
}

// appendDataLocked appends one DATA frame of s, as large as the windows and the
// peer's frame size allow. If more could follow, s goes in line; if only its
// own window is in the way, WINDOW_UPDATE puts it there later.
func (c *conn) appendDataLocked(b []byte, s *stream) []byte {
	if !s.hasOutput() {
		return b
	}
	left := int64(len(s.head) + len(s.body))
	n := min(left, s.sendWindow, c.sendWindow, int64(c.peer.maxFrameSize))
	if n > 0 || left == 0 {
		n = max(n, 0)
		var flags uint8
		if s.closeSend && n == left {
			flags = flagEndStream
			s.endSent = true
		}
		b = appendFrameHeader(b, int(n), frameData, flags, s.id)
		b = s.take(b, int(n))
		s.sendWindow -= n
		c.sendWindow -= n
		s.signalRoom()
	}
	if s.hasOutput() && s.sendWindow > 0 {
		c.ready.push(s)
	}
	return b
}
