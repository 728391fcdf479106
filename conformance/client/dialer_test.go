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
	// failWrites fails so many writes before a byte of them leaves.
	failWrites atomic.Int64

	mu    sync.Mutex // guards the fields below
	conns []*faultyConn
	hold  bool          // what has been received waits until the connection is cut
	held  chan struct{} // capacity 1: something waits
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
	d.conns = append(d.conns, c)
	return c, nil
}

// cutAll ends the connections there are, as a reset would. Nothing that was
// kept back, or is received from now on, comes through; new ones are whole.
func (d *dialer) cutAll() {
	d.mu.Lock()
	conns := d.conns
	d.conns, d.hold = nil, false
	for _, c := range conns {
		c.once.Do(func() { close(c.cut) })
	}
	d.mu.Unlock()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

// holdReads keeps what the server sends from the client, until the connection is
// cut. Something is sent on the channel when the first bytes are kept back.
func (d *dialer) holdReads() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold, d.held = true, make(chan struct{}, 1)
	return d.held
}

// stopHolding lets connections that are made from now on read.
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
	return c.Conn.Write(b)
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.cut) })
	return c.Conn.Close()
}
