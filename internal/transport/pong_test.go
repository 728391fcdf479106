package transport

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A PING is acknowledged after a little while, so that a gRPC server, which sends the next one
// then, does not send one per call. The acknowledgement does not wait where the server does.
func TestAcknowledgementsOfPings(t *testing.T) {
	ping := func(p *peer, n byte) { p.send(framePing, 0, 0, n, n, n, n, n, n, n, n) }
	upload := func(c Conn) { // a call of more than pongBytes
		start(c, Request{Path: simple.Path, Message: bytes.Repeat([]byte("x"), pongBytes)})
		synctest.Wait()
	}
	type ack struct {
		n  byte
		at time.Duration // since the first PING
	}
	for _, c := range []struct {
		name string
		do   func(p *peer, c Conn)
		want []ack
	}{
		{"alone", func(p *peer, _ Conn) { ping(p, 1) }, []ack{{1, pongDelay}}},
		{"twice", func(p *peer, _ Conn) { ping(p, 1); time.Sleep(pongDelay + time.Millisecond); ping(p, 2) },
			[]ack{{1, pongDelay}, {2, 2*pongDelay + time.Millisecond}}},
		{"while one waits", func(p *peer, _ Conn) { ping(p, 1); time.Sleep(pongDelay / 2); ping(p, 2); ping(p, 3) },
			[]ack{{1, pongDelay / 2}, {2, pongDelay / 2}, {3, pongDelay/2 + pongDelay}}},
		{"during an upload", func(p *peer, c Conn) { upload(c); ping(p, 1) }, []ack{{1, 0}}},
		{"after an upload", func(p *peer, c Conn) { upload(c); ping(p, 1); ping(p, 2) }, []ack{{1, 0}, {2, pongDelay}}},
		{"of a connection that drains", func(p *peer, _ Conn) { p.goAway(maxStreamID, codeNoError, ""); ping(p, 1) }, []ack{{1, 0}}},
		{"before a connection drains", func(p *peer, _ Conn) { ping(p, 1); p.goAway(maxStreamID, codeNoError, "") }, []ack{{1, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, p := connect(t, pipeLink, Options{})
				start(conn, simple) // keeps the connection busy
				p.request()
				began := time.Now()
				var got []ack
				listening := make(chan struct{})
				go func() {
					defer close(listening)
					for f, err := p.listen(); err == nil; f, err = p.listen() {
						if f.kind == framePing && f.flags == flagAck {
							got = append(got, ack{f.payload[0], time.Since(began)})
						}
					}
				}()
				c.do(p, conn)
				time.Sleep(10 * pongDelay)
				_ = conn.Close()
				<-listening
				if !slices.Equal(got, c.want) {
					t.Errorf("acknowledged %v, want %v", got, c.want)
				}
			})
		})
	}
}
