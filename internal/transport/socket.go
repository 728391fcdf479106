package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"reflect"
)

// DialFunc makes a socket, as net.Dialer.DialContext does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialSocket makes the socket of a connection.
func dialSocket(ctx context.Context, target Target, opts Options) (net.Conn, error) {
	if opts.DialContext != nil {
		return Checked("Config.DialContext", opts.DialContext)(ctx, target.Network, target.Address)
	}
	// Our own PINGs replace TCP's keep-alive.
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	return d.DialContext(ctx, target.Network, target.Address)
}

// Checked wraps dial, a function of the user, and checks its result. Errors refer
// to it as name. Our goroutines and those of the standard library use the result,
// and there an invalid one would cause a panic that no caller can recover.
func Checked(name string, dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if isNil(c) {
			return nil, misconfigured(nil, "%s returned neither a connection nor an error", name)
		}
		return checkedConn(name, c), nil
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
func checkedConn(name string, c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn, *net.UnixConn, *net.UDPConn:
		return c
	case net.PacketConn: // net.Resolver looks for it
		return packetConn{userConn{c.(net.Conn), name}, c}
	}
	return userConn{c, name}
}

// userConn is a connection from a function of the user.
type userConn struct {
	net.Conn
	name string // of the function that made it
}

func (c userConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n < 0 || n > len(b) {
		return 0, fmt.Errorf("the connection of %s read %d bytes into a buffer of %d", c.name, n, len(b))
	}
	return n, err
}

func (c userConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	switch {
	case n < 0 || n > len(b): // all bytes may have been sent
		return len(b), fmt.Errorf("the connection of %s wrote %d bytes of %d", c.name, n, len(b))
	case n < len(b) && err == nil:
		err = io.ErrShortWrite
	}
	return n, err
}

// packetConn is a userConn that carries packets.
type packetConn struct {
	userConn
	packets net.PacketConn
}

func (c packetConn) ReadFrom(b []byte) (int, net.Addr, error) { return c.packets.ReadFrom(b) }

func (c packetConn) WriteTo(b []byte, to net.Addr) (int, error) { return c.packets.WriteTo(b, to) }
