package balance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/internal/transport"
)

// fakeConn is a connection that is in whatever state a test says.
type fakeConn struct {
	address  string
	pings    time.Duration // the spacing that it was dialed with
	done     chan struct{}
	answered bool

	mu     sync.Mutex // guards the fields below
	state  transport.State
	err    error
	closed int
}

func (f *fakeConn) Call(context.Context, transport.Request) ([]byte, error) {
	return []byte(f.address), nil
}

func (f *fakeConn) Open(context.Context, transport.Request) (transport.Stream, error) {
	return nil, errors.New("not for this test")
}

func (f *fakeConn) State() transport.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Drain leaves the end to the test.
func (f *fakeConn) Answered() bool { return f.answered }

func (f *fakeConn) Drain() { f.become(transport.Draining, nil) }

func (f *fakeConn) Done() <-chan struct{} { return f.done }

func (f *fakeConn) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fakeConn) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	f.endLocked()
	return nil
}

func (f *fakeConn) endLocked() {
	if f.state != transport.Closed {
		close(f.done)
	}
	f.state = transport.Closed
}

func (f *fakeConn) closes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// become changes the state; err is why when it is the end.
func (f *fakeConn) become(s transport.State, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	if s == transport.Closed {
		f.endLocked()
		return
	}
	f.state = s
}

// cluster is the members behind a set, by address.
type cluster struct {
	answers bool // connections have answered something when they end; set before any is made

	mu    sync.Mutex                                                   // guards the fields below
	dials map[string]int                                               // how often each was dialed
	how   map[string]func(ctx context.Context) (transport.Conn, error) // nil: it is up
	conns map[string][]*fakeConn
}

func newCluster() *cluster {
	return &cluster{
		dials: make(map[string]int),
		how:   make(map[string]func(context.Context) (transport.Conn, error)),
		conns: make(map[string][]*fakeConn),
	}
}

func (c *cluster) dial(ctx context.Context, target transport.Target) (transport.Conn, error) {
	c.mu.Lock()
	c.dials[target.Address]++
	how := c.how[target.Address]
	c.mu.Unlock()
	if how != nil {
		if conn, err := how(ctx); conn != nil || err != nil {
			return conn, err
		}
	}
	conn := &fakeConn{address: target.Address, answered: c.answers, pings: target.PingSpacing, done: make(chan struct{})}
	c.mu.Lock()
	c.conns[target.Address] = append(c.conns[target.Address], conn)
	c.mu.Unlock()
	return conn, nil
}

func (c *cluster) set(address string, how func(ctx context.Context) (transport.Conn, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.how[address] = how
}

func (c *cluster) dialed(address string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials[address]
}

// connections is how many connections to address were made.
func (c *cluster) connections(address string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns[address])
}

// last is the connection that was made to address last.
func (c *cluster) last(address string) *fakeConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.conns[address]
	return all[len(all)-1]
}

// refuse is a member that is not there.
func refuse(address string) func(context.Context) (transport.Conn, error) {
	return func(context.Context) (transport.Conn, error) {
		return nil, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: address + " refuses"}
	}
}

// silent is a member that accepts and says nothing.
func silent(ctx context.Context) (transport.Conn, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// of makes a set over the cluster's members with these addresses.
func (c *cluster) of(t testing.TB, addresses ...string) *Set {
	var endpoints []Endpoint
	for _, a := range addresses {
		endpoints = append(endpoints, Endpoint{Name: a, Target: transport.Target{Network: "fake", Address: a}})
	}
	s := New(Config{Endpoints: endpoints, Dial: c.dial})
	t.Cleanup(s.Close)
	return s
}

// pick is Pick with a context that ends in a minute.
func pick(s *Set, lane Lane) (Picked, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.Pick(ctx, lane)
}

func mustPick(t testing.TB, s *Set, lane Lane) Picked {
	t.Helper()
	p, err := pick(s, lane)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
