package peertest

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// Stream is the member's side of a stream.
type Stream struct {
	conn *Conn
	req  transport.Request // the request that opened it

	over     chan struct{} // closed when it has ended on either side
	toMember chan struct{} // capacity 1: requests or noMore have changed
	toClient chan struct{} // capacity 1: inbox or err has changed

	mu       sync.Mutex // guards the fields below
	requests []message  // that the member has not taken
	noMore   bool       // the client sends no more
	full     bool       // the client's Send waits
	inbox    []message  // that the client has not taken
	arrived  int        // messages at the head of inbox that are known to have arrived
	ended    bool       // over is closed
	err      error      // the client's error after the inbox, once ended
	closed   bool       // the client has called Close
}

// message is a client's message with the time at which it was sent, or a member's
// message with the time at which it arrives. err, when not nil, ends the stream
// instead.
type message struct {
	at    time.Time
	bytes []byte
	err   error
}

func newStream(c *Conn, req transport.Request) *Stream {
	s := &Stream{
		conn: c, req: req,
		over: make(chan struct{}), toMember: make(chan struct{}, 1), toClient: make(chan struct{}, 1),
	}
	if req.Message != nil {
		s.requests = append(s.requests, message{at: time.Now(), bytes: slices.Clone(req.Message)})
		c.Member.count(func(n *Counts) { n.Messages++ })
	}
	s.noMore = req.CloseSend
	return s
}

// Request returns the request that opened the stream.
func (s *Stream) Request() transport.Request { return s.req }

// Conn returns the stream's connection.
func (s *Stream) Conn() *Conn { return s.conn }

// Over returns a channel that is closed when either side has ended the stream.
func (s *Stream) Over() <-chan struct{} { return s.over }

// Closed waits until everything in the bubble is idle, and reports whether the
// client has closed the stream.
func (s *Stream) Closed() bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Sleep waits for d. It returns false if the stream ends first.
func (s *Stream) Sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.over:
		return false
	}
}

// Recv returns the client's next message and when it was sent. ok is false if there
// will be none: the stream is over, or the client sends no more.
func (s *Stream) Recv() (msg []byte, sent time.Time, ok bool) {
	for {
		m, none := s.take()
		switch {
		case m != nil:
			return m.bytes, m.at, true
		case none:
			return nil, time.Time{}, false
		}
		select {
		case <-s.toMember:
		case <-s.over:
			return nil, time.Time{}, false
		}
	}
}

// take returns a message of the client, if there is one. none reports that there
// will be none either.
func (s *Stream) take() (m *message, none bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		return nil, s.noMore
	}
	first := s.requests[0]
	s.requests = s.requests[1:]
	return &first, false
}

// Next returns the client's next message, even if the stream has ended meanwhile. It
// fails the test if none comes.
func (s *Stream) Next(t testing.TB) []byte {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		if m, _ := s.take(); m != nil {
			return m.bytes
		}
		select {
		case <-s.toMember:
		case <-deadline.C:
			t.Fatal("the client sends nothing")
		}
	}
}

// Came waits until everything in the bubble is idle, and returns the messages that
// the client has sent.
func (s *Stream) Came() (all [][]byte) {
	synctest.Wait()
	for m, _ := s.take(); m != nil; m, _ = s.take() {
		all = append(all, m.bytes)
	}
	return all
}

// Send sends messages to the client.
func (s *Stream) Send(msgs ...[]byte) { s.SendAfter(0, msgs...) }

// SendAfter sends messages that take d to arrive. They stay in order.
func (s *Stream) SendAfter(d time.Duration, msgs ...[]byte) {
	for _, msg := range msgs {
		m := message{at: time.Now().Add(d), bytes: msg}
		if limit := s.req.MaxMessage; limit > 0 && len(msg) > limit {
			m.err = &transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge, Head: msg[:min(len(msg), maxHead)]}
		}
		s.put(m)
	}
	s.conn.hasAnswered()
}

// maxHead is how much of a message that is too large appears in its error.
const maxHead = 16 << 10

// End ends the stream after the messages sent so far; nil is an ordinary end.
func (s *Stream) End(err error) { s.EndAfter(0, err) }

// EndAfter is End for an end that takes d to arrive.
func (s *Stream) EndAfter(d time.Duration, err error) {
	if err == nil {
		err = io.EOF
	}
	s.put(message{at: time.Now().Add(d), err: err})
}

func (s *Stream) put(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.inbox = append(s.inbox, m)
		signal(s.toClient)
	}
}

// connEnded ends the stream with its connection. Messages that have arrived may
// still be read.
func (s *Stream) connEnded(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(err)
}

func (s *Stream) endLocked(err error) {
	if s.ended {
		return
	}
	s.ended, s.err = true, err
	for s.arrived < len(s.inbox) && !s.inbox[s.arrived].at.After(time.Now()) && s.inbox[s.arrived].err == nil {
		s.arrived++
	}
	s.inbox = s.inbox[:s.arrived]
	close(s.over)
	signal(s.toClient)
}

// arriveLocked returns how many messages can be read. If the next one is an end, it
// ends the stream. wait is how long until something may arrive, 0 if unknown.
func (s *Stream) arriveLocked() (n int, wait time.Duration) {
	for s.arrived < len(s.inbox) {
		m := s.inbox[s.arrived]
		if wait := time.Until(m.at); wait > 0 {
			return s.arrived, wait
		}
		if m.err != nil {
			s.endLocked(m.err)
			return s.arrived, 0
		}
		s.arrived++
	}
	return s.arrived, 0
}

// clientStream is the client's side of a Stream.
type clientStream Stream

func (c *clientStream) Send(ctx context.Context, msgs ...[]byte) error {
	s := (*Stream)(c)
	s.conn.Member.count(func(n *Counts) { n.Messages += len(msgs) })
	s.awaitRoom(ctx)
	s.mu.Lock()
	defer s.unlock()
	s.arriveLocked()
	switch {
	case ctx.Err() != nil:
		return contextError(ctx, transport.NotSent)
	case s.ended && s.err != io.EOF:
		return s.err
	case s.ended || s.noMore:
		return &transport.Error{Code: transport.Canceled, Outcome: transport.NotSent, Message: "the stream has ended"}
	}
	for _, msg := range msgs {
		s.requests = append(s.requests, message{at: time.Now(), bytes: slices.Clone(msg)})
	}
	signal(s.toMember)
	return nil
}

// Fill has the client's Send wait from now on until its context or the stream ends, as if
// the member read nothing.
func (s *Stream) Fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = true
}

func (s *Stream) awaitRoom(ctx context.Context) {
	s.mu.Lock()
	full := s.full
	s.mu.Unlock()
	if full {
		select {
		case <-s.over:
		case <-ctx.Done():
		}
	}
}

// unlock also reports to the connection an end that occurred while the lock was
// held.
func (s *Stream) unlock() {
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.conn.left(s)
	}
}

func (c *clientStream) CloseSend() {
	s := (*Stream)(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noMore = true
	signal(s.toMember)
}

func (c *clientStream) Recv(ctx context.Context) ([]byte, error) {
	msgs, err := c.recv(ctx, nil, 1)
	if err != nil {
		return nil, err
	}
	return msgs[0], nil
}

func (c *clientStream) RecvAll(ctx context.Context, msgs [][]byte) ([][]byte, error) {
	return c.recv(ctx, msgs, -1)
}

// recv appends at least one and up to most messages; -1 means all that have
// arrived.
func (c *clientStream) recv(ctx context.Context, msgs [][]byte, most int) ([][]byte, error) {
	s := (*Stream)(c)
	for {
		s.mu.Lock()
		n, wait := s.arriveLocked()
		if most >= 0 {
			n = min(n, most)
		}
		for _, m := range s.inbox[:n] {
			msgs = append(msgs, m.bytes)
		}
		s.inbox = s.inbox[n:]
		s.arrived -= n
		ended, err := s.ended, s.err
		s.unlock()
		if n > 0 {
			return msgs, nil
		}
		if ended {
			return msgs, err
		}
		if err := s.await(ctx, wait); err != nil {
			return msgs, err
		}
	}
}

// await waits until something may have arrived.
func (s *Stream) await(ctx context.Context, wait time.Duration) error {
	var arrival <-chan time.Time
	if wait > 0 {
		arrival = time.After(wait)
	}
	select {
	case <-s.toClient:
	case <-arrival:
	case <-ctx.Done():
		return contextError(ctx, transport.MaybeSent)
	}
	return nil
}

func (c *clientStream) Close() {
	s := (*Stream)(c)
	s.mu.Lock()
	defer s.unlock()
	s.closed = true
	s.endLocked(&transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed})
	s.inbox, s.arrived = nil, 0
}
