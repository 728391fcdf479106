//go:build linux && !race && !msan && !asan && !386 && !s390x

package transport

import (
	"syscall"
	"unsafe"
)

// Package syscall tells the scheduler before each call that the call may block. The first
// one after a time in which no goroutine ran also wakes the runtime's monitor thread; with
// one operation at a time that was a third of the client's CPU. Calls on a socket do not
// block, so RawSyscall tells the scheduler nothing. MSG_DONTWAIT is for sockets that a user's
// code has put into blocking mode. Meanwhile no other goroutine has the processor, and no garbage
// collection begins, so long transfers are left to package syscall. So are all of programs
// that a sanitizer watches, which knows package syscall, and those of architectures on which
// package syscall has no numbers for these calls.

// mostRaw is the longest transfer of such a call, some 40 µs.
const mostRaw = 256 << 10

func readNow(fd uintptr, b []byte) (int, syscall.Errno) {
	if len(b) > mostRaw {
		return readCall(fd, b)
	}
	return rawCall(syscall.SYS_RECVFROM, fd, b)
}

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) {
	if len(b) > mostRaw {
		return writeCall(fd, b)
	}
	return rawCall(syscall.SYS_SENDTO, fd, b)
}

func rawCall(number, fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall6(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
