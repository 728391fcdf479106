package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

const (
	// firstBufferSize is the most that one read of the socket returns at first: it is all
	// that a connection with small answers needs, and much of what an idle one costs.
	firstBufferSize = 512
	// nextBufferSize, and then readBufferSize, replaces it permanently once a read has
	// filled it. The latter holds at least one frame of the maximum size.
	nextBufferSize = 2 << 10
	readBufferSize = 32 << 10
	// bulkBufferSize replaces it permanently once a large message has arrived:
	// fewer reads, each of more bytes.
	bulkBufferSize = 256 << 10
)

// frameReader splits the data from a socket into frames.
type frameReader struct {
	nc   io.Reader
	buf  []byte
	r, w int // unread bytes are buf[r:w]
	bulk bool
}

func newFrameReader(nc io.Reader) *frameReader {
	return &frameReader{nc: nc, buf: make([]byte, firstBufferSize)}
}

// fill reads once and appends to the unread data.
func (f *frameReader) fill() error {
	f.makeRoom()
	for range maxEmptyReads {
		n, err := f.nc.Read(f.buf[f.w:])
		f.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// fillNow is fill without waiting; socket is that of nc. It returns false if nothing has
// arrived.
func (f *frameReader) fillNow(socket *nonblockConn) (bool, error) {
	f.makeRoom()
	socket.impatient = true
	n, err := f.nc.Read(f.buf[f.w:])
	socket.impatient = false
	f.w += n
	if n > 0 || errors.Is(err, errDry) {
		err = nil // with bytes, another error comes again
	}
	return n > 0, err
}

// makeRoom makes room in buf for a read.
func (f *frameReader) makeRoom() {
	switch {
	case f.bulk && len(f.buf) < bulkBufferSize:
		f.moveTo(make([]byte, bulkBufferSize))
	case f.full() && len(f.buf) < nextBufferSize:
		f.moveTo(make([]byte, nextBufferSize))
	case f.full() && len(f.buf) < readBufferSize:
		f.moveTo(make([]byte, readBufferSize))
	case f.r == f.w || len(f.buf)-f.w < frameHeaderLen+defaultMaxFrameSize:
		f.moveTo(f.buf)
	}
}

// maxEmptyReads is how many consecutive reads may return neither bytes nor an
// error, as io.Reader allows.
const maxEmptyReads = 100

// moveTo moves the unread bytes to the beginning of buf, which may be f.buf.
func (f *frameReader) moveTo(buf []byte) {
	f.w = copy(buf, f.buf[f.r:f.w])
	f.buf, f.r = buf, 0
}

// full reports whether the last fill filled the buffer, so that there may be more
// to read.
func (f *frameReader) full() bool { return f.w == len(f.buf) }

// next returns the next complete frame. ok is false if it needs another fill. The
// payload is valid until the next fill.
func (f *frameReader) next() (h frameHeader, payload []byte, ok bool, err error) {
	have := f.buf[f.r:f.w]
	if len(have) < frameHeaderLen {
		return h, nil, false, nil
	}
	h = parseFrameHeader(have)
	if h.length > defaultMaxFrameSize {
		return h, nil, false, protocolError(codeFrameSizeError, "frame of %d bytes, the limit is %d", h.length, defaultMaxFrameSize)
	}
	end := frameHeaderLen + h.length
	if len(have) < end {
		return h, nil, false, nil
	}
	f.r += end
	return h, have[frameHeaderLen:end], true, nil
}

// reader is the state of the read side, which the reader goroutine has, or a caller that has
// borrowed it (lend.go). Its methods ending in Locked run with conn.mu held.
type reader struct {
	c   *conn
	in  *frameReader
	dec *headerDecoder

	// A header block that CONTINUATION frames continue; blockStream is 0 if there
	// is none.
	block         []byte
	blockStream   uint32
	blockEnd      bool // its HEADERS had END_STREAM
	continuations int

	woken []*stream // signalled once mu is released
	hasty bool      // at least one of them is not Patient
	naps  napper

	next   step // of the reader goroutine; set while it has the read side
	lone   int  // calls in a row that were alone, see lend.go
	enough int  // so many make the reader lend

	shared []byte // the rest of an allocation for small messages
}

func newReader(c *conn, in *frameReader) *reader {
	return &reader{c: c, in: in, dec: newHeaderDecoder(), enough: leastLone}
}

// run is the reader goroutine. It closes greeted after the first round.
func (r *reader) run(greeted chan<- struct{}) {
	for r.round() {
		if greeted != nil {
			close(greeted)
			greeted = nil
		}
		switch r.next {
		case readNext:
		case napNext:
			r.nap()
		case lendNext:
			if !r.lend() {
				return
			}
		}
		if err := r.in.fill(); err != nil {
			r.c.readFailed(err)
			return
		}
	}
}

// step is what the reader goroutine does after a round.
type step uint8

const (
	readNext step = iota
	napNext       // and then read
	lendNext      // the read side, and then read
)

// nextLocked chooses the step after a round.
func (r *reader) nextLocked() step {
	switch {
	case r.mayNapLocked():
		return napNext
	case r.mayLendLocked():
		return lendNext
	}
	return readNext
}

// round handles what a read has brought. It takes the lock once for all frames, and returns
// false when the connection is over.
func (r *reader) round() (goOn bool) {
	c := r.c
	c.mu.Lock()
	c.heardLocked()
	err := r.framesLocked()
	over := c.err != nil
	if !over && c.draining && c.idleLocked() && err == nil {
		err = ErrDraining
	}
	output := c.hasOutputLocked()
	if c.lending.side == readSideHeld {
		r.next = r.nextLocked()
	}
	c.mu.Unlock()
	r.signal()
	if err != nil && !over {
		c.readFailed(err)
	}
	if err != nil || over {
		return false
	}
	if output {
		c.mu.Lock()
		c.flush()
	}
	return true
}

func (r *reader) signal() {
	for i, s := range r.woken {
		s.signal()
		r.woken[i] = nil
	}
	r.woken = r.woken[:0]
}

// readFailed ends the connection after err, and sends GOAWAY if the peer is to
// blame. After our own Close it changes nothing: Close set its reason before it
// closed the socket.
func (c *conn) readFailed(err error) {
	var violation *connError
	switch {
	case errors.As(err, &violation):
		c.mu.Lock()
		c.control = appendGoAway(c.control, 0, violation.code)
		c.flush()
		c.fail(&Error{Code: Internal, Cause: violation})
	case errors.Is(err, io.EOF), errors.Is(err, ErrDraining):
		c.fail(c.endReason(&Error{Code: Unavailable, Message: "server closed the connection", Cause: err}))
	default:
		c.fail(c.endReason(&Error{Code: Unavailable, Message: "read", Cause: err}))
	}
}

// endReason returns the error of the server's GOAWAY if there was one, and
// otherwise err: the way in which a socket ends after a GOAWAY means nothing.
func (c *conn) endReason(err *Error) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goAway != nil {
		return c.goAway
	}
	return err
}

// framesLocked handles every complete frame in the buffer.
func (r *reader) framesLocked() error {
	for r.c.err == nil {
		h, payload, ok, err := r.in.next()
		if err != nil || !ok {
			return err
		}
		if err := r.frameLocked(h, payload); err != nil {
			return err
		}
		if len(r.c.control) > maxControl {
			return protocolError(codeEnhanceYourCalm, "server asks for answers and does not read them")
		}
	}
	return nil
}

func (r *reader) frameLocked(h frameHeader, payload []byte) error {
	if r.blockStream != 0 && (h.kind != frameContinuation || h.streamID != r.blockStream) {
		return protocolError(codeProtocolError, "frame type %d inside a header block", h.kind)
	}
	switch h.kind {
	case frameData:
		return r.dataLocked(h, payload)
	case frameHeaders:
		return r.headersLocked(h, payload)
	case frameContinuation:
		return r.continuationLocked(h, payload)
	case frameRSTStream:
		return r.rstStreamLocked(h, payload)
	case frameWindowUpdate:
		return r.windowUpdateLocked(h, payload)
	case frameSettings:
		return r.settingsLocked(h, payload)
	case framePing:
		return r.pingLocked(h, payload)
	case frameGoAway:
		return r.goAwayLocked(h, payload)
	case framePushPromise:
		return protocolError(codeProtocolError, "PUSH_PROMISE though push is off")
	}
	return nil // PRIORITY and unknown frames
}

// streamLocked finds the stream of a frame. It returns nil if we have ended that
// stream. A stream that we never opened is a violation.
func (r *reader) streamLocked(h frameHeader) (*stream, error) {
	if s := r.c.streams[h.streamID]; s != nil {
		return s, nil
	}
	if h.streamID == 0 || h.streamID%2 == 0 || h.streamID >= r.c.nextID {
		return nil, protocolError(codeProtocolError, "frame type %d on stream %d, which was never opened", h.kind, h.streamID)
	}
	return nil, nil
}

// finishLocked ends s with the server's status or violation.
func (r *reader) finishLocked(s *stream, err *Error) {
	r.c.endLocked(s, err)
	r.wakeLocked(s)
}

// rejectLocked ends s because of invalid data from the server, and resets it.
func (r *reader) rejectLocked(s *stream, err *Error) {
	r.c.abandonLocked(s, err)
	r.wakeLocked(s)
}

// wakeLocked queues s to be signalled.
func (r *reader) wakeLocked(s *stream) {
	if n := len(r.woken); n > 0 && r.woken[n-1] == s {
		return
	}
	r.woken = append(r.woken, s)
	r.hasty = r.hasty || !s.req.Patient
}

func (r *reader) headersLocked(h frameHeader, payload []byte) error {
	payload, err := unpad(h, payload)
	if err != nil {
		return err
	}
	if h.flags&flagPriority != 0 {
		if len(payload) < 5 {
			return protocolError(codeFrameSizeError, "HEADERS too short for its priority")
		}
		payload = payload[5:]
	}
	r.c.traffic, r.c.answered = true, true
	if h.flags&flagEndHeaders != 0 {
		return r.blockLocked(h.streamID, payload, h.flags&flagEndStream != 0)
	}
	r.block = append(r.block[:0], payload...)
	r.blockStream, r.blockEnd, r.continuations = h.streamID, h.flags&flagEndStream != 0, 0
	if h.streamID == 0 {
		return protocolError(codeProtocolError, "HEADERS on stream 0")
	}
	return nil
}

func (r *reader) continuationLocked(h frameHeader, payload []byte) error {
	if r.blockStream == 0 {
		return protocolError(codeProtocolError, "CONTINUATION without HEADERS")
	}
	r.continuations++
	if len(r.block)+len(payload) > maxHeaderBlock || r.continuations > maxContinuations {
		return protocolError(codeEnhanceYourCalm, "header block of more than %d bytes or %d frames", maxHeaderBlock, maxContinuations)
	}
	r.block = append(r.block, payload...)
	if h.flags&flagEndHeaders == 0 {
		return nil
	}
	id := r.blockStream
	r.blockStream = 0
	return r.blockLocked(id, r.block, r.blockEnd)
}

// blockLocked handles a complete header block: a response's headers, its
// trailers, or both in one (trailers-only).
func (r *reader) blockLocked(id uint32, block []byte, end bool) error {
	header, err := r.dec.decode(block)
	if err != nil {
		return err
	}
	s, err := r.streamLocked(frameHeader{kind: frameHeaders, streamID: id})
	if err != nil || s == nil {
		return err
	}
	switch {
	case end:
		r.trailersLocked(s, &header)
	case s.gotHeader:
		r.rejectLocked(s, &Error{Code: Internal, Message: "server sent headers twice"})
	case header.httpStatus >= 100 && header.httpStatus < 200:
	default:
		s.gotHeader = true
		if bad := header.notGRPC(); bad != nil {
			r.rejectLocked(s, bad)
		} else {
			r.c.served++
		}
	}
	return nil
}

// trailersLocked ends s with the status that the trailers carry.
func (r *reader) trailersLocked(s *stream, header *responseHeader) {
	var err *Error
	switch {
	case s.gotHeader:
	case header.grpcStatus < 0:
		err = header.notGRPC()
	default:
		r.c.served++
	}
	if err == nil {
		err = header.status()
	}
	if err == nil {
		err = s.incomplete()
	}
	r.serverDoneLocked(s, err)
}

// serverDoneLocked ends s because the server ended it. If our side was still open,
// RST_STREAM informs the server that nothing more will come.
func (r *reader) serverDoneLocked(s *stream, err *Error) {
	if !s.endSent {
		r.rejectLocked(s, err)
		return
	}
	r.finishLocked(s, err)
}

// refuted returns err. If the server claims in it that it has not processed s, but
// has begun to answer s, refuted drops that claim.
func (s *stream) refuted(err *Error) *Error {
	if s.gotHeader {
		err.Outcome = MaybeSent
	}
	return err
}

func (r *reader) rstStreamLocked(h frameHeader, payload []byte) error {
	if len(payload) != 4 {
		return protocolError(codeFrameSizeError, "RST_STREAM of %d bytes", len(payload))
	}
	s, err := r.streamLocked(h)
	if err != nil || s == nil {
		return err
	}
	reason := errorOfReset(errCode(binary.BigEndian.Uint32(payload)))
	if reason.Code == Canceled && s.atDeadline() {
		reason.Code = DeadlineExceeded
	}
	r.finishLocked(s, s.refuted(reason))
	return nil
}

// deadlineSlack is how long before the deadline a server may cancel a call because
// of it.
const deadlineSlack = 20 * time.Millisecond

// atDeadline reports whether the server may have ended the call because of its
// deadline, which the server knows. grpc-go does so with RST_STREAM(CANCEL).
func (s *stream) atDeadline() bool {
	return !s.deadline.IsZero() && time.Until(s.deadline) < deadlineSlack
}

func (r *reader) windowUpdateLocked(h frameHeader, payload []byte) error {
	if len(payload) != 4 {
		return protocolError(codeFrameSizeError, "WINDOW_UPDATE of %d bytes", len(payload))
	}
	increment := int64(binary.BigEndian.Uint32(payload) & maxWindow)
	if h.streamID == 0 {
		if increment == 0 || r.c.sendWindow+increment > maxWindow {
			return protocolError(codeFlowControlError, "WINDOW_UPDATE by %d over %d", increment, r.c.sendWindow)
		}
		r.c.sendWindow += increment
		return nil
	}
	s, err := r.streamLocked(h)
	if err != nil || s == nil {
		return err
	}
	if increment == 0 || s.sendWindow+increment > maxWindow {
		r.rejectLocked(s, &Error{Code: Internal, Message: "server sent an invalid WINDOW_UPDATE"})
		return nil
	}
	s.sendWindow += increment
	r.c.queueOutputLocked(s)
	return nil
}

func (r *reader) settingsLocked(h frameHeader, payload []byte) error {
	c := r.c
	if h.streamID != 0 {
		return protocolError(codeProtocolError, "SETTINGS on stream %d", h.streamID)
	}
	if h.flags&flagAck != 0 {
		if len(payload) != 0 {
			return protocolError(codeFrameSizeError, "SETTINGS acknowledgement with %d bytes", len(payload))
		}
		c.asking = false
		return nil
	}
	before := c.peer.initialWindow
	if err := c.peer.apply(payload); err != nil {
		return err
	}
	c.headers.setTableSize(c.peer.headerTableLeast) // HPACK: a table that shrank, even briefly, has lost entries
	c.headers.setTableSize(c.peer.headerTableSize)
	if delta := c.peer.initialWindow - before; delta != 0 {
		for _, s := range c.streams {
			s.sendWindow += delta
			if s.sendWindow > maxWindow {
				return protocolError(codeFlowControlError, "INITIAL_WINDOW_SIZE overflows stream %d", s.id)
			}
			if s.sendWindow > 0 {
				c.queueOutputLocked(s)
			}
		}
	}
	c.control = appendFrameHeader(c.control, 0, frameSettings, flagAck, 0)
	return nil
}

func (r *reader) pingLocked(h frameHeader, payload []byte) error {
	if len(payload) != 8 || h.streamID != 0 {
		return protocolError(codeFrameSizeError, "PING of %d bytes on stream %d", len(payload), h.streamID)
	}
	if h.flags&flagAck != 0 {
		r.c.asking = false
		return nil
	}
	r.c.acknowledgeLocked([8]byte(payload))
	return nil
}

// goAwayLocked stops new streams. Those above the last id were not processed
// and never will be.
func (r *reader) goAwayLocked(h frameHeader, payload []byte) error {
	if len(payload) < 8 || h.streamID != 0 {
		return protocolError(codeFrameSizeError, "GOAWAY of %d bytes on stream %d", len(payload), h.streamID)
	}
	last := binary.BigEndian.Uint32(payload) & maxStreamID
	code := errCode(binary.BigEndian.Uint32(payload[4:]))
	cause := ErrDraining
	if code == codeEnhanceYourCalm && string(payload[8:]) == "too_many_pings" {
		cause = ErrTooManyPings
	}
	r.woken = append(r.woken, r.c.drainLocked(cause)...)
	r.c.acknowledgeWaitingLocked()
	for id, s := range r.c.streams {
		if id > last {
			r.finishLocked(s, s.refuted(&Error{Code: Unavailable, Outcome: NotSent, Cause: cause}))
		}
	}
	r.c.promised = int(min(last, r.c.nextID-1)+1) / 2
	if code != codeNoError {
		r.c.goAway = &Error{Code: Unavailable, Message: "server ended the connection with " + code.String(), Cause: cause}
	}
	return nil
}
