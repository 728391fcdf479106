package etcd

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// watchPeer is one side of a watch, played by the test: what the client opens and
// sends arrives in channels, and the test answers.
type watchPeer struct {
	endpoint string
	streams  chan *watchPeerStream

	mu        sync.Mutex // guards the fields below
	version   string
	statusErr error // instead of the version
	revision  int64
	reads     int           // linearizable reads so far
	hold      chan struct{} // reads wait until it is closed; nil: they do not
	readErr   error
	openErr   error
	opens     int // streams asked for so far
	down      bool
	suspect   bool
	opened    []*watchPeerStream
	conns     []*watchPeerConn
}

func newWatchPeer(endpoint string) *watchPeer {
	return &watchPeer{endpoint: endpoint, streams: make(chan *watchPeerStream, 200), version: "3.7.3", revision: 100}
}

// set changes the member under its lock.
func (m *watchPeer) set(f func(m *watchPeer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

func (m *watchPeer) readCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

// next is the next stream that the client opens.
func (m *watchPeer) next(t testing.TB) *watchPeerStream {
	t.Helper()
	select {
	case s := <-m.streams:
		return s
	case <-time.After(time.Hour): // of a synctest bubble
		t.Fatalf("no stream was opened to %s", m.endpoint)
		return nil
	}
}

// scripted makes a client whose members are played by the test.
func scripted(t testing.TB, config Config, members ...*watchPeer) *Client {
	t.Helper()
	for _, m := range members {
		config.Endpoints = append(config.Endpoints, m.endpoint)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	endpoints, err := config.validate()
	if err != nil {
		t.Fatal(err)
	}
	c.set.Close()
	c.set = balance.New(balance.Config{Endpoints: endpoints, Dial: func(_ context.Context, target transport.Target) (transport.Conn, error) {
		for _, m := range members {
			if m.endpoint == target.Address {
				return m.dial()
			}
		}
		return nil, errors.New("no such member")
	}})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (m *watchPeer) dial() (transport.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "refused"}
	}
	c := &watchPeerConn{member: m, done: make(chan struct{})}
	m.conns = append(m.conns, c)
	return c, nil
}

// cut ends every connection to the member.
func (m *watchPeer) cut() {
	m.mu.Lock()
	conns := m.conns
	m.conns = nil
	m.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

type watchPeerConn struct {
	member *watchPeer
	once   sync.Once
	done   chan struct{}
}

func (c *watchPeerConn) Call(ctx context.Context, req transport.Request) ([]byte, error) {
	m := c.member
	if req.Path == rpcStatus.path {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.statusErr != nil {
			return nil, m.statusErr
		}
		return wire.AppendString(wire.AppendTag(nil, 2, 2), m.version), nil
	}
	m.mu.Lock()
	m.reads++
	hold, revision, err := m.hold, m.revision, m.readErr
	m.mu.Unlock()
	var late <-chan time.Time
	if req.Timeout > 0 {
		timer := time.NewTimer(req.Timeout)
		defer timer.Stop()
		late = timer.C
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, &transport.Error{Code: transport.Canceled, Cause: ctx.Err()}
		case <-c.done:
			return nil, errCut
		case <-late:
			return nil, &transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}
		}
	}
	if err != nil {
		return nil, err
	}
	return appendHeader(nil, revision), nil
}

func (c *watchPeerConn) Open(_ context.Context, req transport.Request) (transport.Stream, error) {
	c.member.mu.Lock()
	defer c.member.mu.Unlock()
	c.member.opens++
	if c.member.opens > 5000 {
		panic("streams are opened in a tight loop, in which a synctest bubble's time stands still")
	}
	if c.member.openErr != nil {
		return nil, c.member.openErr
	}
	s := &watchPeerStream{conn: c, req: req, ended: make(chan struct{}), requests: make(chan watchRequest, 20_000), notify: make(chan struct{}, 1)}
	c.member.opened = append(c.member.opened, s)
	c.member.streams <- s
	return s, nil
}

func (c *watchPeerConn) State() transport.State {
	select {
	case <-c.done:
		return transport.Closed
	default:
	}
	c.member.mu.Lock()
	defer c.member.mu.Unlock()
	if c.member.suspect {
		return transport.Suspect
	}
	return transport.Ready
}

// turnSuspect is a member that has gone silent for a moment.
func (m *watchPeer) turnSuspect() {
	var calls []func()
	m.set(func(m *watchPeer) {
		m.suspect = true
		for _, s := range m.opened {
			calls = append(calls, s.req.OnSuspect)
		}
	})
	for _, call := range calls {
		call()
	}
}

func (c *watchPeerConn) Answered() bool        { return true }
func (c *watchPeerConn) Drain()                {}
func (c *watchPeerConn) Done() <-chan struct{} { return c.done }
func (c *watchPeerConn) Err() error            { return errCut }
func (c *watchPeerConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

var errCut = &transport.Error{Code: transport.Unavailable, Message: "the connection was cut"}

// watchPeerStream is a watch stream, seen from the member.
type watchPeerStream struct {
	conn     *watchPeerConn
	req      transport.Request // it was opened with
	requests chan watchRequest

	once  sync.Once
	ended chan struct{}

	mu     sync.Mutex // guards the fields below
	inbox  [][]byte
	err    error // what Recv returns when the inbox is empty
	notify chan struct{}
}

func (s *watchPeerStream) Send(_ context.Context, msgs ...[]byte) error {
	for _, msg := range msgs {
		select {
		case <-s.ended:
			return errCut
		case <-s.conn.done:
			return errCut
		case s.requests <- readWatchRequest(msg):
		}
	}
	return nil
}

func (s *watchPeerStream) RecvAll(ctx context.Context, msgs [][]byte) ([][]byte, error) {
	m, err := s.Recv(ctx)
	if err != nil {
		return msgs, err
	}
	return append(msgs, m), nil
}

func (s *watchPeerStream) CloseSend() {}

func (s *watchPeerStream) Recv(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		if len(s.inbox) > 0 {
			msg := s.inbox[0]
			s.inbox = s.inbox[1:]
			s.mu.Unlock()
			return msg, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-s.notify:
		case <-ctx.Done():
			return nil, &transport.Error{Code: transport.Canceled, Cause: ctx.Err()}
		case <-s.conn.done:
			return nil, errCut
		case <-s.ended:
			return nil, &transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed}
		}
	}
}

func (s *watchPeerStream) Close() { s.once.Do(func() { close(s.ended) }) }

// isClosed: the client has closed the stream.
func (s *watchPeerStream) isClosed() bool {
	synctest.Wait()
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// end ends the stream from the member's side; nil is an ordinary end.
func (s *watchPeerStream) end(err error) {
	if err == nil {
		err = io.EOF
	}
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	signal(s.notify)
}

// send is responses of the member.
func (s *watchPeerStream) send(responses ...watchResponse) {
	s.mu.Lock()
	for _, r := range responses {
		msg := appendWatchResponse(r)
		if limit := s.req.MaxMessage; limit > 0 && len(msg) > limit {
			s.err = &transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge, Head: msg[:min(len(msg), 16<<10)]}
			break
		}
		s.inbox = append(s.inbox, msg)
	}
	s.mu.Unlock()
	signal(s.notify)
}

// request is the next request of the client.
func (s *watchPeerStream) request(t testing.TB) watchRequest {
	t.Helper()
	select {
	case r := <-s.requests:
		return r
	case <-time.After(time.Hour): // of a synctest bubble
		t.Fatal("the client sends nothing")
		return watchRequest{}
	}
}

// created takes a creation and confirms it at the member's revision.
func (s *watchPeerStream) created(t testing.TB) watchCreateRequest {
	t.Helper()
	r := s.request(t)
	if r.Create == nil {
		t.Fatalf("the client sends %+v, want a creation", r)
	}
	s.conn.member.mu.Lock()
	revision := s.conn.member.revision
	s.conn.member.mu.Unlock()
	s.send(watchResponse{Header: ResponseHeader{Revision: revision}, WatchID: r.Create.WatchID, Created: true})
	return *r.Create
}

// puts is events of a key, one of each revision.
func puts(key string, revisions ...int64) []Event {
	var out []Event
	for _, rev := range revisions {
		out = append(out, Event{KV: KeyValue{Key: key, ModRevision: rev, Version: 1}})
	}
	return out
}

// eventsOf is a response that carries events.
func eventsOf(id int64, events ...Event) watchResponse {
	return watchResponse{Header: ResponseHeader{Revision: events[len(events)-1].KV.ModRevision}, WatchID: id, Events: events}
}

func appendInt(b []byte, field int, v int64) []byte {
	if v == 0 {
		return b
	}
	return wire.AppendVarint(wire.AppendTag(b, field, wire.TypeVarint), uint64(v))
}

func appendBool(b []byte, field int, v bool) []byte {
	if !v {
		return b
	}
	return appendInt(b, field, 1)
}

func appendBlock(b []byte, field int, v []byte) []byte {
	return wire.AppendBytes(wire.AppendTag(b, field, 2), v)
}

// appendHeader is field 1 of every response.
func appendHeader(b []byte, revision int64) []byte {
	return appendBlock(b, 1, appendInt(nil, 3, revision))
}

func appendWatchResponse(r watchResponse) []byte {
	b := appendHeader(nil, r.Header.Revision)
	b = appendInt(b, 2, r.WatchID)
	b = appendBool(b, 3, r.Created)
	b = appendBool(b, 4, r.Canceled)
	b = appendInt(b, 5, r.CompactRevision)
	if r.CancelReason != "" {
		b = appendBlock(b, 6, []byte(r.CancelReason))
	}
	b = appendBool(b, 7, r.Fragment)
	for _, ev := range r.Events {
		e := appendInt(nil, 1, int64(ev.Type))
		e = appendBlock(e, 2, appendKeyValue(ev.KV))
		if ev.PrevKV != nil {
			e = appendBlock(e, 3, appendKeyValue(*ev.PrevKV))
		}
		b = appendBlock(b, 11, e)
	}
	return b
}

func appendKeyValue(kv KeyValue) []byte {
	b := appendBlock(nil, 1, []byte(kv.Key))
	b = appendInt(b, 3, kv.ModRevision)
	b = appendInt(b, 4, kv.Version)
	if len(kv.Value) > 0 {
		b = appendBlock(b, 5, kv.Value)
	}
	return b
}

// readWatchRequest decodes what a member needs to know of a request.
func readWatchRequest(b []byte) watchRequest {
	var r watchRequest
	fields(b, func(field int, v uint64, block []byte) {
		switch field {
		case 1:
			r.Create = &watchCreateRequest{}
			fields(block, func(field int, v uint64, block []byte) {
				switch field {
				case 1:
					r.Create.Key = string(block)
				case 3:
					r.Create.StartRevision = int64(v)
				case 7:
					r.Create.WatchID = int64(v)
				case 8:
					r.Create.Fragment = v != 0
				}
			})
		case 2:
			r.Cancel = &watchCancelRequest{}
			fields(block, func(_ int, v uint64, _ []byte) { r.Cancel.WatchID = int64(v) })
		case 3:
			r.Progress = &watchProgressRequest{}
		}
	})
	return r
}

// fields walks a message.
func fields(b []byte, each func(field int, v uint64, block []byte)) {
	for i := 0; i < len(b); {
		var tag, v uint64
		var block []byte
		tag, i = wire.Varint(b, i)
		if tag&7 == 2 {
			block, i = wire.Bytes(b, i)
		} else {
			v, i = wire.Varint(b, i)
		}
		each(int(tag>>3), v, block)
	}
}

// soon is a context that ends what would wait for good: a bubble's time never
// stands still while a watch is there to be probed.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}
