package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"reflect"
	"time"

	"silly.store/etcd/internal/callback"
)

// DialFunc makes a socket, as net.Dialer.DialContext does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialSocket makes the socket of a connection.
func dialSocket(ctx context.Context, target Target, opts Options) (net.Conn, error) {
	if opts.DialContext != nil {
		return opts.DialContext(ctx, target.Network, target.Address)
	}
	// Our own PINGs replace TCP's keep-alive.
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	return d.DialContext(ctx, target.Network, target.Address)
}

// mostLeft is how many calls of a function that makes sockets may go on after their
// contexts have ended, before it is not called again.
const mostLeft = 64

// Checked wraps dial, a function of the user, and checks its result. Errors refer
// to it as name, and report hears of panics. Our goroutines and those of the standard
// library call it and use the result: a panic there is one that no caller can recover. A
// call that does not heed its context is left behind.
func Checked(name string, report callback.Report, dial DialFunc) DialFunc {
	bounded := &callback.Bounded{Name: name, Report: report, Most: mostLeft}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return callback.Call(ctx, bounded, func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if isNil(c) {
				return nil, misconfigured(nil, "%s returned neither a connection nor an error", name)
			}
			return checkedConn(name, report, c), nil
		}, func(late net.Conn) { _ = late.Close() })
	}
}

// isNil reports whether c is nil or holds a nil pointer.
func isNil(c net.Conn) bool {
	if c == nil {
		return true
	}
	v := reflect.ValueOf(c)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// checkedConn wraps c and checks its counts. It returns the standard library's
// sockets unchanged, because code that knows their types is faster.
func checkedConn(name string, report callback.Report, c net.Conn) net.Conn {
	own := &userConn{c, "the connection of " + name, report}
	switch c := c.(type) {
	case *net.TCPConn, *net.UnixConn, *net.UDPConn:
		return c
	case net.PacketConn: // net.Resolver looks for it
		return &packetConn{own, c}
	}
	return own
}

// userConn is a connection whose methods run code of the user.
type userConn struct {
	conn   net.Conn
	name   string // what it is, in errors
	report callback.Report
}

func (c *userConn) Read(b []byte) (n int, err error) {
	defer c.report.Recover(c.name, &err)
	n, err = c.conn.Read(b)
	if n < 0 || n > len(b) {
		return 0, fmt.Errorf("%s read %d bytes into a buffer of %d", c.name, n, len(b))
	}
	return n, err
}

func (c *userConn) Write(b []byte) (n int, err error) {
	n = len(b) // after a panic all bytes may have been sent
	defer c.report.Recover(c.name, &err)
	wrote, err := c.conn.Write(b)
	switch {
	case wrote < 0 || wrote > len(b): // as after a panic
		return n, fmt.Errorf("%s wrote %d bytes of %d", c.name, wrote, len(b))
	case wrote < len(b) && err == nil:
		err = io.ErrShortWrite
	}
	return wrote, err
}

func (c *userConn) Close() (err error) {
	defer c.report.Recover(c.name, &err)
	return c.conn.Close()
}

func (c *userConn) SetDeadline(t time.Time) (err error) {
	defer c.report.Recover(c.name, &err)
	return c.conn.SetDeadline(t)
}

func (c *userConn) SetReadDeadline(t time.Time) (err error) {
	defer c.report.Recover(c.name, &err)
	return c.conn.SetReadDeadline(t)
}

func (c *userConn) SetWriteDeadline(t time.Time) (err error) {
	defer c.report.Recover(c.name, &err)
	return c.conn.SetWriteDeadline(t)
}

func (c *userConn) LocalAddr() (a net.Addr) {
	defer c.report.Recover(c.name, nil)
	return c.conn.LocalAddr()
}

func (c *userConn) RemoteAddr() (a net.Addr) {
	defer c.report.Recover(c.name, nil)
	return c.conn.RemoteAddr()
}

// packetConn is a userConn that carries packets.
type packetConn struct {
	*userConn
	packets net.PacketConn
}

func (c *packetConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	defer c.report.Recover(c.name, &err)
	return c.packets.ReadFrom(b)
}

func (c *packetConn) WriteTo(b []byte, to net.Addr) (n int, err error) {
	defer c.report.Recover(c.name, &err)
	return c.packets.WriteTo(b, to)
}
