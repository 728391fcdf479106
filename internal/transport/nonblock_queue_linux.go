package transport

import (
	"syscall"
	"unsafe"
)

// drained reports whether the peer has received all that was written. Only the holder of the
// write side calls it.
func (c *nonblockConn) drained() bool {
	if c.probe == nil {
		c.probe = c.askUnsent
	}
	c.unsent = -1
	return c.raw.Control(c.probe) == nil && c.unsent == 0
}

func (c *nonblockConn) askUnsent(fd uintptr) {
	_, _, err := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&c.unsent)))
	if err != 0 {
		c.unsent = -1
	}
}
