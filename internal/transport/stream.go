package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

const messagePrefixLen = 5

// stream is one gRPC call, unary or streaming.
//
// All fields are guarded by conn.mu, except that a unary call's reply and err
// are read without it by the caller that has received from notify: the reader
// sets them before it sends there, and touches the stream no more.
type stream struct {
	conn *conn
	req  Request
	// unary: one message comes back, and is waited for in Call.
	unary    bool
	deadline time.Time // the context's, for grpc-timeout; zero: none

	readsBefore int // conn.reads when it was queued
	ticksBefore int // conn.ticks then
	// late: the watchdog has signalled that the answer is late. It is set with
	// conn.mu held before that signal, and read without it after any.
	late atomic.Bool
	// early: it has signalled that the connection is quiet. Set and read likewise.
	early atomic.Bool

	id    uint32       // 0 until the HEADERS frame is assembled
	start uint64       // where its HEADERS begin in all that conn has assembled
	queue *streamQueue // the queue that holds it
	next  *stream
	prev  *stream

	// What is still to be sent: head (a message's prefix), then body, then tail.
	prefix           [messagePrefixLen]byte
	head, body, tail []byte
	closeSend        bool // END_STREAM follows them
	endSent          bool
	gotHeader        bool
	done             bool
	sendWindow       int64

	recvWindow int64 // what the server may still send
	unread     int   // bytes of complete messages not yet received by Recv, prefixes included

	// The message being received: its prefix, then its bytes.
	inPrefix    [messagePrefixLen]byte
	inPrefixLen int
	inNeed      int    // -1: the prefix is not complete
	in          []byte // what has arrived of it

	reply []byte   // unary: the message
	inbox [][]byte // streaming: complete messages
	err   *Error   // why it ended, if it is done; nil when the status was OK

	notify chan struct{} // capacity 1: something changed
	room   chan struct{} // capacity 1: a Send waits for the queue to drain; nil until one has
	timer  *time.Timer   // of a unary call with a Timeout or LateAfter
}

// wantsLate: it is a Call that becomes a Pending when its answer is late.
func (s *stream) wantsLate() bool { return s.unary && s.req.NotifyLate }

func newStream() *stream { return &stream{notify: make(chan struct{}, 1)} }

// release puts s back; the caller must have received from s.notify with s done.
func (s *stream) release() {
	c := s.conn
	*s = stream{notify: s.notify, timer: s.timer}
	c.pool.Put(s)
}

func (s *stream) setPrefix(n int) {
	s.prefix[0] = 0
	binary.BigEndian.PutUint32(s.prefix[1:], uint32(n))
	s.head = s.prefix[:]
}

// hasOutput: there are bytes or an END_STREAM to send.
func (s *stream) hasOutput() bool {
	return s.unsent() > 0 || s.closeSend && !s.endSent
}

// unsent is how many bytes are still to be sent.
func (s *stream) unsent() int { return len(s.head) + len(s.body) + len(s.tail) }

// take appends the next n bytes to be sent to b.
func (s *stream) take(b []byte, n int) []byte {
	for _, part := range [...]*[]byte{&s.head, &s.body, &s.tail} {
		k := min(n, len(*part))
		b = append(b, (*part)[:k]...)
		*part = (*part)[k:]
		n -= k
	}
	return b
}

// signal wakes the goroutine that waits for s. It never blocks.
func (s *stream) signal() {
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

// errStreamEnded is the error of Send on a stream that has ended well.
var errStreamEnded = errors.New("stream has ended")

// maxQueuedSend is how many unsent bytes make Send wait.
const maxQueuedSend = 256 << 10

func (s *stream) Send(ctx context.Context, msgs ...[]byte) error {
	if ctx.Err() != nil {
		return contextError(ctx, NotSent)
	}
	c := s.conn
	for {
		c.mu.Lock()
		if s.done || s.closeSend {
			err := s.err
			c.mu.Unlock()
			if err == nil {
				err = &Error{Code: Canceled, Outcome: NotSent, Cause: errStreamEnded}
			}
			return err
		}
		if len(s.body) < maxQueuedSend {
			for _, msg := range msgs {
				s.queueMessage(msg)
			}
			c.queueOutputLocked(s)
			c.flush()
			return nil
		}
		room := s.room
		if room == nil {
			room = make(chan struct{}, 1)
			s.room = room
		}
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return contextError(ctx, NotSent)
		}
	}
}

// signalRoom wakes a Send that waits, when it need not wait any longer. It
// never blocks.
func (s *stream) signalRoom() {
	if s.room == nil || !s.done && len(s.body) >= maxQueuedSend {
		return
	}
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// queueMessage appends msg with its prefix to what is to be sent.
func (s *stream) queueMessage(msg []byte) {
	s.body = append(s.body, 0)
	s.body = binary.BigEndian.AppendUint32(s.body, uint32(len(msg)))
	s.body = append(s.body, msg...)
}

func (s *stream) CloseSend() {
	c := s.conn
	c.mu.Lock()
	if s.done || s.closeSend {
		c.mu.Unlock()
		return
	}
	s.closeSend = true
	c.queueOutputLocked(s)
	c.flush()
}

func (s *stream) Recv(ctx context.Context) ([]byte, error) {
	if err := s.awaitMessage(ctx); err != nil {
		return nil, err
	}
	msg := s.inbox[0]
	s.inbox[0] = nil
	s.inbox = s.inbox[1:]
	s.receivedLocked(messagePrefixLen + len(msg))
	s.conn.flush()
	return msg, nil
}

func (s *stream) RecvAll(ctx context.Context, msgs [][]byte) ([][]byte, error) {
	if err := s.awaitMessage(ctx); err != nil {
		return msgs, err
	}
	msgs = append(msgs, s.inbox...)
	clear(s.inbox)
	s.inbox = s.inbox[:0]
	s.receivedLocked(s.unread)
	s.conn.flush()
	return msgs, nil
}

// awaitMessage waits until there is a message. It returns nil with conn.mu held,
// an error with it released.
func (s *stream) awaitMessage(ctx context.Context) error {
	c := s.conn
	for {
		c.mu.Lock()
		if len(s.inbox) > 0 {
			return nil
		}
		if s.done {
			err := s.err
			c.mu.Unlock()
			if err == nil {
				return io.EOF
			}
			return err
		}
		c.mu.Unlock()
		select {
		case <-s.notify:
		case <-ctx.Done():
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.waitedLocked(s, contextError(ctx, MaybeSent))
		}
	}
}

// receivedLocked notes that n bytes of messages were handed out.
func (s *stream) receivedLocked(n int) {
	s.unread -= n
	if !s.done {
		s.conn.creditStreamLocked(s)
	}
}

func (s *stream) Close() {
	c := s.conn
	c.mu.Lock()
	if s.done {
		s.inbox = nil
		c.mu.Unlock()
		return
	}
	c.abandonLocked(s, &Error{Code: Canceled, Outcome: s.outcome(), Cause: ErrClosed})
	s.inbox = nil
	c.flush()
	s.signal()
}

// outcome is that of a stream that ends without the server's word.
func (s *stream) outcome() Outcome {
	if s.id == 0 || s.start >= s.conn.handed {
		return NotSent
	}
	return MaybeSent
}

// streamQueue is a first-in-first-out list of streams.
type streamQueue struct {
	head, tail *stream
}

func (q *streamQueue) push(s *stream) {
	s.queue, s.prev, s.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.next = s
	} else {
		q.head = s
	}
	q.tail = s
}

func (q *streamQueue) pushFront(s *stream) {
	s.queue, s.prev, s.next = q, nil, q.head
	if q.head != nil {
		q.head.prev = s
	} else {
		q.tail = s
	}
	q.head = s
}

// dequeue takes s out of the queue that holds it, if any.
func (s *stream) dequeue() {
	q := s.queue
	if q == nil {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		q.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		q.tail = s.prev
	}
	s.queue, s.next, s.prev = nil, nil, nil
}
