package transport

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

const (
	// maxEagerAlloc is the most memory that we allocate on the strength of a
	// message's length prefix alone. Beyond it the buffer grows with the data that
	// arrives, by growthFactor at a time.
	maxEagerAlloc = 64 << 20
	growthFactor  = 4
)

// dataLocked splits the payload of a DATA frame into gRPC messages.
func (r *reader) dataLocked(h frameHeader, payload []byte) error {
	c := r.c
	if err := c.creditConnLocked(h.length); err != nil {
		return err
	}
	c.traffic = true
	data, err := unpad(h, payload)
	if err != nil {
		return err
	}
	s, err := r.streamLocked(h)
	if err != nil || s == nil {
		return err
	}
	s.recvWindow -= int64(h.length)
	if s.recvWindow < 0 {
		r.rejectLocked(s, &Error{Code: Internal, Message: "server overran the stream's window"})
		return nil
	}
	if !s.gotHeader {
		r.rejectLocked(s, &Error{Code: Internal, Message: "server sent data before headers"})
		return nil
	}
	bad := r.messagesLocked(s, data)
	if c.streams[h.streamID] != s {
		return nil // ended while the lock was released, and perhaps used again
	}
	if bad != nil {
		r.rejectLocked(s, bad)
		return nil
	}
	if h.flags&flagEndStream != 0 {
		missing := responseHeader{grpcStatus: -1}
		r.serverDoneLocked(s, missing.status())
		return nil
	}
	c.creditStreamLocked(s)
	return nil
}

// messagesLocked adds data to the message that s is receiving and delivers complete
// ones. It may release the lock, so the caller must check that s is still open.
func (r *reader) messagesLocked(s *stream, data []byte) *Error {
	for len(data) > 0 {
		if s.inNeed < 0 {
			n := copy(s.inPrefix[s.inPrefixLen:], data)
			s.inPrefixLen += n
			data = data[n:]
			if s.inPrefixLen < messagePrefixLen {
				return nil
			}
			if err, open := r.beginMessageLocked(s); err != nil || !open {
				if err != nil && s.req.MaxMessage > 0 {
					err.Head = append([]byte{}, data...)
				}
				return err
			}
			continue
		}
		n := min(s.inNeed-len(s.in), len(data))
		if len(s.in)+n > cap(s.in) && !r.growLocked(s) {
			return nil
		}
		s.in = append(s.in, data[:n]...)
		data = data[n:]
		if len(s.in) == s.inNeed {
			r.deliverLocked(s)
		}
	}
	return nil
}

// beginMessageLocked reads a complete prefix and makes room for the message.
// open is false when s has ended meanwhile.
func (r *reader) beginMessageLocked(s *stream) (err *Error, open bool) {
	if s.unary && s.reply != nil {
		return &Error{Code: Internal, Message: "server sent two messages where one was due"}, true
	}
	if s.inPrefix[0] != 0 {
		return &Error{Code: Internal, Message: "server sent a compressed message, which was not asked for"}, true
	}
	n := binary.BigEndian.Uint32(s.inPrefix[1:])
	limit := r.c.opts.MaxMessage
	if s.req.MaxMessage > 0 {
		limit = min(limit, s.req.MaxMessage)
	}
	if uint64(n) > uint64(limit) {
		return &Error{
			Code:    ResourceExhausted,
			Message: fmt.Sprintf("response of %d bytes is larger than the limit of %d", n, limit),
			Cause:   ErrTooLarge,
		}, true
	}
	s.inNeed = int(n)
	if n == 0 {
		s.in = []byte{}
		r.deliverLocked(s)
		return nil, true
	}
	return nil, r.growLocked(s)
}

// growLocked makes room for more of the message that s is receiving. It returns
// false if s has ended meanwhile: then s may already belong to another call and
// must not be touched.
func (r *reader) growLocked(s *stream) bool {
	if s.req.Patient && s.inNeed <= smallMessage && len(s.in) == 0 {
		s.in = r.shareRoom(s.inNeed)
		return true
	}
	if room := s.req.Buffer.take(s.inNeed); room != nil {
		s.in = append(room, s.in...)
		return true
	}
	id := s.id
	room := r.makeRoomLocked(min(s.inNeed, max(growthFactor*len(s.in), maxEagerAlloc)))
	if r.c.streams[id] != s {
		return false
	}
	s.in = append(room, s.in...)
	return true
}

// largeMessage is the size from which allocating a buffer becomes noticeable.
const largeMessage = 64 << 10

// makeRoomLocked allocates a message's buffer. It releases the lock while it
// allocates a large one.
func (r *reader) makeRoomLocked(n int) []byte {
	if n < largeMessage {
		return make([]byte, 0, n)
	}
	r.in.bulk = true
	r.c.mu.Unlock()
	defer r.c.mu.Lock()
	return uncleared(n)
}

// smallMessage is the size up to which messages of patient streams, which their
// receivers do not keep, share allocations of sharedRoom bytes.
const (
	smallMessage = 128
	sharedRoom   = 4 << 10
)

// shareRoom returns an empty slice with room for n bytes, at most smallMessage.
func (r *reader) shareRoom(n int) []byte {
	if len(r.shared) < n {
		r.shared = make([]byte, sharedRoom)
	}
	room := r.shared[:0:n]
	r.shared = r.shared[n:]
	return room
}

// uncleared returns an empty slice with room for n bytes that, unlike make's, are
// not zeroed. For a range of 30 MB zeroing is a tenth of the client's work. A
// strings.Builder allocates this way. No byte is read before it was appended.
func uncleared(n int) []byte {
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0) // an empty string's data pointer is undefined
	return unsafe.Slice(unsafe.StringData(b.String()), n)[:0]
}

// deliverLocked hands a complete message over.
func (r *reader) deliverLocked(s *stream) {
	msg := s.in
	s.in, s.inNeed, s.inPrefixLen = nil, -1, 0
	if s.unary {
		s.reply = msg
		return
	}
	s.inbox = append(s.inbox, msg)
	s.unread += messagePrefixLen + len(msg)
	r.wakeLocked(s)
}

// incomplete returns the error of a stream that ends here with status OK although
// it is incomplete, or nil if it is complete.
func (s *stream) incomplete() *Error {
	switch {
	case s.inPrefixLen > 0:
		return &Error{Code: Internal, Message: "response ended inside a message"}
	case s.unary && s.reply == nil:
		return &Error{Code: Internal, Message: "status OK without a message"}
	}
	return nil
}
