package transport

import (
	"runtime"
	"time"
)

const (
	// maxChunk is the approximate maximum size of one write.
	maxChunk = 128 << 10
	// maxRounds is how often a caller writes the data that others have queued
	// meanwhile. Then it hands the write side to the writer and waits for its own
	// answer.
	maxRounds = 2
)

// flush starts sending the queued data. It is called with mu held and returns with
// mu released. It never blocks: the caller that claims the write side writes in
// place what the socket takes at once, or starts the writer.
func (c *conn) flush() {
	if c.writing || c.err != nil || !c.hasOutputLocked() {
		c.mu.Unlock()
		return
	}
	c.writing = true
	if !c.mayWriteInPlaceLocked() {
		c.startWriter()
		return
	}
	if len(c.streams) > 1 && c.hasty > 0 {
		// Other callers use this connection too: let them run and queue their
		// requests, so that one write carries them all.
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
		n, err := c.writeNow(chunk)
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
	if c.rest == nil && !c.hasOutputLocked() {
		c.releaseLocked()
		c.mu.Unlock()
		return
	}
	c.startWriter()
}

// mayWriteInPlaceLocked reports whether the caller of flush may write. Over TLS that is little
// at a time: a call that is alone, or control frames.
func (c *conn) mayWriteInPlaceLocked() bool {
	switch first := c.opening.head; {
	case c.plain || c.kernel == nil:
		return c.plain
	case first == nil:
		return c.ready.head == nil
	default:
		return first.next == nil && len(c.streams) == 0
	}
}

// maxSealed is the size of the largest chunk that a caller writes over TLS.
const maxSealed = 4 << 10

// writeNow writes what the socket takes at once. Over TLS that is all or nothing: a record
// must be written to its end, which never waits for room if the socket has room for all.
func (c *conn) writeNow(chunk []byte) (int, error) {
	switch {
	case c.plain:
		return c.kernel.tryWrite(chunk)
	case len(chunk) > maxSealed || !c.kernel.drained():
		return 0, nil
	}
	_, err := c.nc.Write(chunk)
	return len(chunk), err // TLS does not report how much was sent
}

// startWriter hands the write side to the writer. Called with mu held, returns with it
// released.
func (c *conn) startWriter() {
	if c.err == nil { // afterwards nothing waits for it
		c.routines.Add(1)
		go c.writer()
	}
	c.mu.Unlock()
}

// writeAll is the writer: it holds the write side from its start until nothing is left to
// send, or the connection has failed.
func (c *conn) writeAll() {
	defer c.routines.Done()
	c.mu.Lock()
	chunk := c.rest
	c.rest = nil
	c.mu.Unlock()
	for {
		if len(chunk) > 0 {
			n, err := c.nc.Write(chunk)
			if err != nil {
				if c.socket != c.nc {
					n = len(chunk) // TLS does not report how much was sent
				}
				c.writeFailed(len(chunk)-n, err)
				return
			}
		}
		runtime.Gosched() // let other callers queue their requests for the same write
		c.mu.Lock()
		ok := c.assembleLocked()
		chunk = c.chunk
		c.mu.Unlock()
		if !ok {
			return
		}
	}
}

// writeFailed ends the connection after a failed write. The socket did not take the
// last unsent bytes of the chunk, so the requests in them were not sent.
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
	return c.opening.head != nil && !c.fullLocked() && !c.draining
}

// assembleLocked gathers the queued data into c.chunk. If there is none, or the
// connection has ended, it releases the write side and returns false.
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
		c.releaseLocked()
		return false
	}
	c.assembled += uint64(len(b))
	// From here on all of it may have been sent, even if the write fails.
	c.handed = c.assembled
	return true
}

// releaseLocked gives the write side back.
func (c *conn) releaseLocked() {
	c.writing = false
	c.chunk = shrink(c.chunk)
}

// shrink drops a chunk buffer that has grown for one large write.
func shrink(b []byte) []byte {
	if cap(b) > 2*maxChunk {
		return nil
	}
	return b
}

// openLocked assembles the HEADERS of s and as much of its data as the windows
// allow.
func (c *conn) openLocked(b []byte, s *stream) []byte {
	s.dequeue()
	s.id = c.nextID
	c.nextID += 2
	if c.nextID > maxStreamID {
		// Stream ids are used up and s is the last stream; those queued after it go
		// to another connection.
		for _, refused := range c.drainLocked(ErrDraining) {
			refused.signal()
		}
	}
	c.streams[s.id] = s
	c.openedTick = c.ticks
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
	for i := range s.req.Headers {
		b = s.req.Headers[i].append(b)
	}
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

// appendReadyLocked lets the streams in the ready queue send in turn, one frame
// each, until the chunk is full or the connection window is used up.
func (c *conn) appendReadyLocked(b []byte) []byte {
	for s := c.ready.head; s != nil && len(b) < maxChunk; s = c.ready.head {
		s.dequeue()
		before := len(b)
		b = c.appendDataLocked(b, s)
		if len(b) == before && s.queue != nil {
			break // s is queued again because the connection window is empty
		}
	}
	return b
}

// appendDataLocked appends one DATA frame of s, as large as the windows and the
// peer's frame size allow. If more can follow, it puts s in the ready queue; if
// only the window of s is in the way, WINDOW_UPDATE does so later.
func (c *conn) appendDataLocked(b []byte, s *stream) []byte {
	if !s.hasOutput() {
		return b
	}
	left := int64(s.unsent())
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
