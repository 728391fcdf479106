//go:build unix

package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// A call over TLS that writes in place does not wait for a peer that reads nothing, however
// many calls were given up before.
func TestWritesOverTLSDoNotWait(t *testing.T) {
	c, p := connect(t, tlsLink, Options{})
	p.roundTrip(c)
	_ = p.nc.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = c.kernel.Conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
	req := Request{Path: "/test.S/M", Message: bytes.Repeat([]byte("x"), maxSealed-500), Timeout: time.Millisecond}
	const calls, patient = 300, time.Second
	for range calls {
		began := time.Now()
		_, err := c.Call(context.Background(), req)
		if d := time.Since(began); d > patient {
			t.Fatalf("a call took %v: %v", d, err)
		}
	}
	if c.writeSideIsFree() {
		t.Error("the peer's socket took everything")
	}
}
