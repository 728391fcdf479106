//go:build unix

package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// nonblockConn is a socket that makes its own system calls: a write can stop where it would
// block, and on Linux a call costs less (see nonblock_linux.go). One goroutine may read and
// another one write.
type nonblockConn struct {
	net.Conn
	raw       syscall.RawConn
	in, out   transfer
	impatient bool // Read does not wait; set by whoever reads

	// Of drained.
	probe  func(fd uintptr)
	unsent int32
}

// transfer is one direction of a nonblockConn, and the state of its system calls.
type transfer struct {
	op  string // as package net calls it
	buf []byte
	n   int
	err syscall.Errno
	dry bool // nothing has arrived
	// The runtime calls these, again after each wait, until they return true. They are
	// methods of this transfer, kept so that no call allocates one.
	wait, now func(fd uintptr) bool
}

// nonblocking wraps nc if it is a plain socket, and otherwise returns it. A type that wraps
// one does not count, even if it has SyscallConn, because its Read and Write must not be
// bypassed.
func nonblocking(nc net.Conn) net.Conn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		sc = nc
	default:
		return nc
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nc
	}
	if !setNonblock(raw) {
		return nc
	}
	c := &nonblockConn{Conn: nc, raw: raw}
	c.in.op, c.in.wait, c.in.now = "read", c.in.read, c.in.tryRead
	c.out.op, c.out.wait, c.out.now = "write", c.out.write, c.out.tryWrite
	return c
}

// setNonblock undoes what File and Fd of a connection do to its socket: they leave it in
// blocking mode. A user's DialContext may have used them to set an option.
func setNonblock(raw syscall.RawConn) bool {
	var failed error
	err := raw.Control(func(fd uintptr) { failed = syscall.SetNonblock(int(fd), true) })
	return err == nil && failed == nil
}

// Read waits until there is something to read, unless c is impatient: then its error is
// errDry if there is nothing.
func (c *nonblockConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	attempt := c.in.wait
	if c.impatient {
		attempt = c.in.now
	}
	n, err := c.do(&c.in, c.raw.Read, attempt, b)
	switch {
	case n > 0 || err != nil:
		return n, err
	case c.impatient && c.in.dry:
		return 0, errDry
	}
	return 0, io.EOF
}

// Write waits until all of b is written.
func (c *nonblockConn) Write(b []byte) (int, error) {
	return c.do(&c.out, c.raw.Write, c.out.wait, b)
}

// tryWrite writes the part of b that the socket takes at once.
func (c *nonblockConn) tryWrite(b []byte) (int, error) {
	return c.do(&c.out, c.raw.Write, c.out.now, b)
}

// do transfers b. Its errors are those of package net's connections.
func (c *nonblockConn) do(t *transfer, attempts func(func(uintptr) bool) error, attempt func(uintptr) bool, b []byte) (int, error) {
	t.buf, t.n, t.err = b, 0, 0
	err := attempts(attempt)
	t.buf = nil
	if err == nil {
		if t.err == 0 {
			return t.n, nil
		}
		err = os.NewSyscallError(t.op, t.err)
	} else if wrapped, ok := errors.AsType[*net.OpError](err); ok {
		err = wrapped.Err // its operation is raw-read or raw-write
	}
	local := c.LocalAddr()
	return t.n, &net.OpError{Op: t.op, Net: local.Network(), Source: local, Addr: c.RemoteAddr(), Err: err}
}

func (t *transfer) read(fd uintptr) (done bool) {
	n, err := readNow(fd, t.buf)
	if err == syscall.EAGAIN {
		return false
	}
	t.n, t.err = n, err
	return true
}

func (t *transfer) tryRead(fd uintptr) (done bool) {
	t.dry = !t.read(fd)
	return true
}

func (t *transfer) write(fd uintptr) (done bool) {
	for t.n < len(t.buf) {
		n, err := writeNow(fd, t.buf[t.n:])
		t.n += n
		switch err {
		case 0:
		case syscall.EAGAIN:
			return false
		default:
			t.err = err
			return true
		}
	}
	return true
}

func (t *transfer) tryWrite(fd uintptr) (done bool) {
	t.write(fd)
	return true
}

// readCall reads what has arrived, at most b.
func readCall(fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, err := syscall.Read(int(fd), b)
		if errno := errnoOf(err); errno != syscall.EINTR {
			return max(n, 0), errno
		}
	}
}

// writeCall writes the part of b that the socket takes.
func writeCall(fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, err := syscall.Write(int(fd), b)
		if errno := errnoOf(err); errno != syscall.EINTR {
			return max(n, 0), errno
		}
	}
}

// errnoOf is the number of an error of package syscall, 0 for nil.
func errnoOf(err error) syscall.Errno {
	errno, ok := err.(syscall.Errno) //nolint:errorlint // it is never wrapped
	if err != nil && !ok {
		return syscall.EIO
	}
	return errno
}
