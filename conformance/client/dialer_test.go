package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// dialer makes real connections that can be cut, held and broken.
type dialer struct {
	dials atomic.Int64
	// requests is how many writes with a request's HEADERS have left.
	requests atomic.Int64
	// failWrites is how many writes fail before any of their bytes is sent.
	failWrites atomic.Int64

	mu    sync.Mutex // guards the fields below
	conns []*faultyConn
	away  bool          // there are no connections, and none can be made
	hold  bool          // received data waits until the connection is cut
	held  chan struct{} // capacity 1: signals that data waits
}

func newDialer() *dialer { return new(dialer) }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.dials.Add(1)
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &faultyConn{Conn: nc, dialer: d, cut: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		_ = nc.Close()
		return nil, errBroken
	}
	d.conns = append(d.conns, c)
	return c, nil
}

// cutAll ends all existing connections, as a reset would. Data that was held back,
// or arrives from now on, is lost. New connections work.
func (d *dialer) cutAll() { d.cut(false) }

// goAway is cutAll, and makes new connections fail until comeBack.
func (d *dialer) goAway() { d.cut(true) }

// comeBack lets new connections be made.
func (d *dialer) comeBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = false
}

func (d *dialer) cut(away bool) {
	d.mu.Lock()
	conns := d.conns
	d.conns, d.hold, d.away = nil, false, away
	for _, c := range conns {
		c.once.Do(func() { close(c.cut) })
	}
	d.mu.Unlock()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

// holdReads holds back the server's data until the connection is cut. The channel
// signals the first bytes that are held back.
func (d *dialer) holdReads() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold, d.held = true, make(chan struct{}, 1)
	return d.held
}

// stopHolding lets new connections read.
func (d *dialer) stopHolding() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = false
}

type faultyConn struct {
	net.Conn
	dialer *dialer
	once   sync.Once
	cut    chan struct{}
}

var errBroken = errors.New("broken by the test")

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		err = syscall.ECONNRESET
	}
	c.dialer.mu.Lock()
	hold, held := c.dialer.hold, c.dialer.held
	c.dialer.mu.Unlock()
	if hold {
		select {
		case held <- struct{}{}:
		default:
		}
		<-c.cut
	}
	select {
	case <-c.cut:
		return 0, syscall.ECONNRESET
	default:
	}
	return n, err
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if c.dialer.failWrites.Add(-1) >= 0 {
		return 0, errBroken
	}
	n, err := c.Conn.Write(b)
	if err == nil && headers(b) >= 0 {
		c.dialer.requests.Add(1)
	}
	return n, err
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.cut) })
	return c.Conn.Close()
}
