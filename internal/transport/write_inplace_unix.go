//go:build unix

package transport

import (
	"net"
	"syscall"
)

// inPlaceWriter writes to a socket without ever blocking. The caller must deal with
// the bytes that the socket does not take at once. One goroutine at a time may use
// it.
type inPlaceWriter struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // w.attempt, made once

	buf []byte
	n   int
	err error
}

// newInPlaceWriter returns nil if nc is not a plain socket. A type that wraps one
// does not count, even if it has SyscallConn, because its Write must not be
// bypassed.
func newInPlaceWriter(nc net.Conn) *inPlaceWriter {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	w := &inPlaceWriter{raw: raw}
	w.try = w.attempt
	return w
}

// write writes the part of b that the socket takes at once.
func (w *inPlaceWriter) write(b []byte) (int, error) {
	w.buf, w.n, w.err = b, 0, nil
	err := w.raw.Write(w.try)
	w.buf = nil
	if err == nil {
		err = w.err
	}
	return w.n, err
}

func (w *inPlaceWriter) attempt(fd uintptr) bool {
	for w.n < len(w.buf) {
		n, err := syscall.Write(int(fd), w.buf[w.n:])
		if n > 0 {
			w.n += n
		}
		switch err {
		case nil:
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return true
		default:
			w.err = err
			return true
		}
	}
	return true
}
