//go:build linux && !race && !msan && !asan

package transport

import (
	"syscall"
	"unsafe"
)

// Package syscall tells the scheduler before each call that the call may block. The first
// one after a time in which no goroutine ran also wakes the runtime's monitor thread; with
// one operation at a time that was a third of the client's CPU. Calls on a socket do not
// block, so these tell nothing. Meanwhile no other goroutine has the processor, so long
// transfers are left to package syscall. So are all of programs that a sanitizer watches,
// which knows package syscall.

// mostRaw is the longest transfer of such a call, some 40 µs.
const mostRaw = 256 << 10

func readNow(fd uintptr, b []byte) (int, syscall.Errno) {
	if len(b) > mostRaw {
		return readCall(fd, b)
	}
	return rawCall(syscall.SYS_READ, fd, b)
}

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) {
	if len(b) > mostRaw {
		return writeCall(fd, b)
	}
	return rawCall(syscall.SYS_WRITE, fd, b)
}

func rawCall(number, fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch err {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
