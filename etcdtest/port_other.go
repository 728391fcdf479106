//go:build !unix

package etcdtest

import "net"

const canHoldPorts = false

// holdPort finds a free loopback port. It can't be held here: another program
// may take it before the server does, and starting the server then fails.
func holdPort() (addr string, release func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	return addr, func() {}, l.Close()
}
