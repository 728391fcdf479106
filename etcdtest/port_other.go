//go:build !unix

package etcdtest

import "net"

const canHoldPorts = false

// holdPort finds a free loopback port. This platform can't hold it: another program
// may take the port before the server does, and the server then fails to start.
func holdPort() (addr string, release func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	return addr, func() {}, l.Close()
}
