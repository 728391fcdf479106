//go:build unix && (!linux || race || msan || asan || 386 || s390x)

package transport

import "syscall"

func readNow(fd uintptr, b []byte) (int, syscall.Errno) { return readCall(fd, b) }

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) { return writeCall(fd, b) }
