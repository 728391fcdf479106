//go:build !unix

package transport

import "net"

// nonblockConn exists only on platforms on which syscall can use a socket without blocking;
// elsewhere the writer goroutine does all writes.
type nonblockConn struct {
	net.Conn
	impatient bool
}

func nonblocking(nc net.Conn) net.Conn { return nc }

func (*nonblockConn) tryWrite([]byte) (int, error) { return 0, nil }

func (*nonblockConn) drained() bool { return false }
