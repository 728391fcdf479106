//go:build unix

package etcdtest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// canHoldPorts says whether a server can listen on a held port.
const canHoldPorts = true

// holdPort takes a free loopback port and keeps it until release is called. The
// socket is bound but never listens. So the kernel never picks its port for another
// program, a server that asks for it with SO_REUSEPORT gets it, and without a
// server connections are refused.
func holdPort() (addr string, release func(), err error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	port, err := bindShared(fd)
	if err != nil {
		unix.Close(fd)
		return "", nil, fmt.Errorf("etcdtest: holding a loopback port: %w", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), func() { unix.Close(fd) }, nil
}

func bindShared(fd int) (port int, err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	in4, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("bound to %T, not to an IPv4 address", sa)
	}
	return in4.Port, nil
}
