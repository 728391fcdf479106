package etcd

import (
	"context"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// lessor plays a cluster as far as leases go, in memory and by the clock of a
// synctest bubble. It keeps leases as etcd does: they expire by its own clock and
// are deleted up to half a second later; a renewal that meets one in between
// waits for that, and holds up what is behind it on the stream.
type lessor struct {
	mu sync.Mutex // guards the fields below

	leases    map[LeaseID]*lessorLease
	forbidden map[LeaseID]bool // renewing it is denied, which ends the stream
	down      map[string]bool  // endpoints that refuse connections
	conns     []*lessorConn

	before  time.Duration // between a request's sending and its arrival
	service time.Duration // of a renewal; a stream serves one at a time
	after   time.Duration // between an answer's sending and its arrival
	silent  bool          // nothing is answered, nothing is done
	stuck   string        // endpoint that is silent
	noReply int           // so many unary calls are done, and their answers lost
	fail    error         // of renewals, ends the stream

	asked   int             // renewals sent, those included that no stream came to
	renewed []lessorRenewal // in order
	opened  int             // streams
	open    int
	calls   []string // paths of unary calls
}

type lessorLease struct {
	ttl     time.Duration
	expires time.Time
}

type lessorRenewal struct {
	at   time.Time
	id   LeaseID
	addr string
}

// deleteAfter is how much later than it expires a lease is deleted.
const deleteAfter = 500 * time.Millisecond

func newLessor() *lessor {
	return &lessor{
		leases: make(map[LeaseID]*lessorLease), forbidden: make(map[LeaseID]bool), down: make(map[string]bool),
	}
}

func (p *lessor) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// client makes a client of the lessor with n endpoints.
func (p *lessor) client(t testing.TB, n int) *Client {
	t.Helper()
	all := []string{"a:1", "b:1", "c:1"}
	config := Config{Endpoints: all[:n], RetrySleep: 10 * time.Millisecond}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	endpoints, err := config.validate()
	if err != nil {
		t.Fatal(err)
	}
	c.set.Close()
	c.set = balance.New(balance.Config{Endpoints: endpoints, Dial: p.dial})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (p *lessor) dial(_ context.Context, target transport.Target) (transport.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down[target.Address] {
		return nil, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "connection refused"}
	}
	c := &lessorConn{p: p, addr: target.Address, done: make(chan struct{})}
	p.conns = append(p.conns, c)
	return c, nil
}

// cut ends the connections to an endpoint, all of them if it is empty.
func (p *lessor) cut(addr string) {
	p.mu.Lock()
	var cut, kept []*lessorConn
	for _, c := range p.conns {
		if addr == "" || c.addr == addr {
			cut = append(cut, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.conns = kept
	p.mu.Unlock()
	for _, c := range cut {
		_ = c.Close()
	}
}

// expires is when the server gives the lease up; zero when it has none.
func (p *lessor) expires(id LeaseID) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.liveLocked(id); l != nil {
		return l.expires
	}
	return time.Time{}
}

// liveLocked deletes the lease when its time has come.
func (p *lessor) liveLocked(id LeaseID) *lessorLease {
	l := p.leases[id]
	if l != nil && !time.Now().Before(l.expires.Add(deleteAfter)) {
		delete(p.leases, id)
		return nil
	}
	return l
}

// grantLocked and revokeLocked return etcd's error text, empty when it is done.
func (p *lessor) grantLocked(id LeaseID, ttl time.Duration) string {
	if p.liveLocked(id) != nil {
		return "etcdserver: lease already exists"
	}
	p.leases[id] = &lessorLease{ttl: ttl, expires: time.Now().Add(ttl)}
	return ""
}

func (p *lessor) revokeLocked(id LeaseID) string {
	if p.liveLocked(id) == nil {
		return "etcdserver: requested lease not found"
	}
	delete(p.leases, id)
	return ""
}

// renewals are the times at which a lease's renewals arrived.
func (p *lessor) renewals(id LeaseID) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []time.Time
	for _, r := range p.renewed {
		if r.id == id {
			out = append(out, r.at)
		}
	}
	return out
}

func (p *lessor) count() (renewals, opened, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.renewed), p.opened, p.open
}

// lessorConn is a connection to one endpoint.
type lessorConn struct {
	p    *lessor
	addr string
	done chan struct{}
	once sync.Once
}

func lostConnection() error {
	return &transport.Error{Code: transport.Unavailable, Message: "connection reset"}
}

func answeredWith(text string) error {
	code := transport.FailedPrecondition
	if text == "etcdserver: requested lease not found" {
		code = transport.NotFound
	}
	return &transport.Error{Code: code, Message: text, Outcome: transport.Answered}
}

func (c *lessorConn) Call(ctx context.Context, req transport.Request) ([]byte, error) {
	var id LeaseID
	var ttl time.Duration
	fields(req.Message, func(field int, v uint64, _ []byte) {
		switch {
		case req.Path == rpcGrant.path && field == 1:
			ttl = time.Duration(v) * time.Second
		default:
			id = LeaseID(v)
		}
	})
	p := c.p
	p.mu.Lock()
	p.calls = append(p.calls, req.Path)
	silent, noReply, before, after := p.silent, p.noReply > 0, p.before, p.after
	if noReply {
		p.noReply--
	}
	p.mu.Unlock()
	if !pass(before, c.done) {
		return nil, lostConnection()
	}
	var text string
	if !silent {
		p.mu.Lock()
		if req.Path == rpcGrant.path {
			text = p.grantLocked(id, ttl)
		} else {
			text = p.revokeLocked(id)
		}
		p.mu.Unlock()
	}
	switch {
	case silent:
		select {
		case <-ctx.Done():
			return nil, &transport.Error{Code: transport.Canceled, Cause: ctx.Err()}
		case <-time.After(req.Timeout):
			return nil, &transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}
		case <-c.done:
			return nil, lostConnection()
		}
	case noReply:
		return nil, lostConnection()
	case !pass(after, c.done):
		return nil, lostConnection()
	case text != "":
		return nil, answeredWith(text)
	}
	b := appendHeader(nil, 1)
	b = appendInt(b, 2, int64(id))
	return appendInt(b, 3, int64(ttl/time.Second)), nil
}

// pass lets time go by; it reports false when done was closed first.
func pass(d time.Duration, done <-chan struct{}) bool {
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-done:
		return false
	}
}

func (c *lessorConn) Open(context.Context, transport.Request) (transport.Stream, error) {
	select {
	case <-c.done:
		return nil, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "closed"}
	default:
	}
	s := &lessorStream{
		c: c, in: make(chan lessorRequest, 1<<12), out: make(chan lessorAnswer, 1<<12), answers: make(chan lessorAnswer, 1<<12),
		closed: make(chan struct{}),
	}
	c.p.set(func() { c.p.opened++; c.p.open++ })
	go s.serve()
	go s.deliver()
	return s, nil
}

func (c *lessorConn) State() transport.State {
	select {
	case <-c.done:
		return transport.Closed
	default:
		return transport.Ready
	}
}

func (c *lessorConn) Answered() bool        { return true }
func (c *lessorConn) Drain()                {}
func (c *lessorConn) Done() <-chan struct{} { return c.done }
func (c *lessorConn) Err() error            { return lostConnection() }
func (c *lessorConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// lessorStream is a keep-alive stream: serve handles requests in order, deliver
// carries the answers.
type lessorStream struct {
	c       *lessorConn
	in      chan lessorRequest
	answers chan lessorAnswer // sent
	out     chan lessorAnswer // arrived
	closed  chan struct{}
	once    sync.Once
	failed  error // that RecvAll has met behind messages
}

type lessorRequest struct {
	id   LeaseID
	sent time.Time
}

type lessorAnswer struct {
	msg []byte
	err error
	at  time.Time // when it arrives
}

func (s *lessorStream) Send(_ context.Context, msgs ...[]byte) error {
	s.c.p.set(func() { s.c.p.asked += len(msgs) })
	for _, m := range msgs {
		var id LeaseID
		fields(m, func(_ int, v uint64, _ []byte) { id = LeaseID(v) })
		s.in <- lessorRequest{id, time.Now()}
	}
	return nil
}

func (s *lessorStream) CloseSend() {}

func (s *lessorStream) Recv(ctx context.Context) ([]byte, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	select {
	case a := <-s.out:
		return a.msg, a.err
	default:
	}
	select {
	case a := <-s.out:
		return a.msg, a.err
	case <-s.c.done:
		return nil, lostConnection()
	case <-s.closed:
		return nil, &transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed}
	case <-ctx.Done():
		return nil, &transport.Error{Code: transport.Canceled, Cause: ctx.Err()}
	}
}

func (s *lessorStream) RecvAll(ctx context.Context, msgs [][]byte) ([][]byte, error) {
	m, err := s.Recv(ctx)
	if err != nil {
		return msgs, err
	}
	msgs = append(msgs, m)
	for {
		select {
		case a := <-s.out:
			if a.err != nil {
				s.failed = a.err
				return msgs, nil
			}
			msgs = append(msgs, a.msg)
		default:
			return msgs, nil
		}
	}
}

func (s *lessorStream) Close() { s.once.Do(func() { close(s.closed) }) }

// wait lets time go by; it reports false when the stream has ended.
func (s *lessorStream) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-s.c.done:
	case <-s.closed:
	}
	return false
}

func (s *lessorStream) serve() {
	p := s.c.p
	defer p.set(func() { p.open-- })
	for {
		var r lessorRequest
		select {
		case r = <-s.in:
		case <-s.c.done:
			return
		case <-s.closed:
			return
		}
		p.mu.Lock()
		before, service, silent := p.before, p.service, p.silent || s.c.addr == p.stuck
		p.mu.Unlock()
		if silent {
			s.wait(time.Hour)
			return
		}
		if !s.wait(time.Until(r.sent.Add(before))) || !s.wait(service) {
			return
		}
		a, ok := s.renew(r.id)
		if !ok {
			return
		}
		s.answers <- a
		if a.err != nil {
			return
		}
	}
}

// renew handles one renewal; ok is false when the stream has ended under it.
func (s *lessorStream) renew(id LeaseID) (a lessorAnswer, ok bool) {
	p := s.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed = append(p.renewed, lessorRenewal{time.Now(), id, s.c.addr})
	switch {
	case p.fail != nil:
		return lessorAnswer{err: p.fail, at: time.Now().Add(p.after)}, true
	case p.forbidden[id]:
		err := &transport.Error{Code: transport.PermissionDenied, Message: "etcdserver: permission denied", Outcome: transport.Answered}
		return lessorAnswer{err: err, at: time.Now().Add(p.after)}, true
	}
	l := p.liveLocked(id)
	for l != nil && !time.Now().Before(l.expires) {
		left := time.Until(l.expires.Add(deleteAfter))
		p.mu.Unlock()
		ok := s.wait(left)
		p.mu.Lock()
		if !ok {
			return lessorAnswer{}, false
		}
		l = p.liveLocked(id)
	}
	ttl := time.Duration(0)
	if l != nil {
		l.expires = time.Now().Add(l.ttl)
		ttl = l.ttl
	}
	b := appendHeader(nil, 1)
	b = appendInt(b, 2, int64(id))
	return lessorAnswer{msg: appendInt(b, 3, int64(ttl/time.Second)), at: time.Now().Add(p.after)}, true
}

func (s *lessorStream) deliver() {
	for {
		select {
		case a := <-s.answers:
			if !s.wait(time.Until(a.at)) {
				return
			}
			s.out <- a
		case <-s.c.done:
			return
		case <-s.closed:
			return
		}
	}
}
