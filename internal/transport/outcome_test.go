package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// faultyConn is a socket whose next Write takes only part of what it is given
// and then fails.
type faultyConn struct {
	net.Conn
	armed atomic.Bool
	take  func(n int) int
}

var errFault = errors.New("injected fault")

func (f *faultyConn) Write(b []byte) (int, error) {
	if !f.armed.Load() {
		return f.Conn.Write(b)
	}
	n, _ := f.Conn.Write(b[:f.take(len(b))])
	return n, errFault
}

// connectFaulty is connect with a socket that can be made to fail.
func connectFaulty(t *testing.T, take func(n int) int) (*conn, *peer, *faultyConn) {
	t.Helper()
	client, server := tcpLink.join(t)
	p := newPeer(t, tcpLink, server)
	f := &faultyConn{Conn: client, take: take}
	greeted := make(chan error, 1)
	go func() { greeted <- p.greet() }()
	c, err := Dial(context.Background(), Target{Authority: "peer:1"}, Options{DialContext: dialTo(f)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	return c.(*conn), p, f
}

// What is known of a request by the point at which the connection fails.
func TestOutcomeOfAFailedWrite(t *testing.T) {
	cases := []struct {
		name string
		take func(n int) int
		want Outcome
	}{
		{"no byte was taken", func(int) int { return 0 }, NotSent},
		{"one byte was taken", func(int) int { return 1 }, MaybeSent},
		{"all but one byte", func(n int) int { return n - 1 }, MaybeSent},
		{"all, and then the error", func(n int) int { return n }, MaybeSent},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn, p, f := connectFaulty(t, c.take)
			p.roundTrip(conn)
			waitFor(t, conn.writeSideIsFree)
			f.armed.Store(true)
			_, err := conn.Call(context.Background(), simple)
			want{code: Unavailable, outcome: c.want, cause: errFault}.check(t, err)
			want{code: Unavailable, text: "write", cause: errFault}.check(t, ended(t, conn))
		})
	}
}

// Of many requests in one failed write, those behind the last byte that the
// socket took were not sent.
func TestOutcomeOfAPartialWrite(t *testing.T) {
	conn, p, f := connectFaulty(t, func(n int) int { return n / 2 })
	s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
	if err != nil {
		t.Fatal(err)
	}
	p.until(frameHeaders)
	waitFor(t, conn.writeSideIsFree)
	f.armed.Store(true)

	// Hold the write side, so that all calls gather in one write.
	conn.mu.Lock()
	conn.writing = true
	conn.mu.Unlock()
	var calls []pending
	for i := range 10 {
		calls = append(calls, start(conn, simple))
		waitFor(t, func() bool { return conn.queued() == i+1 })
	}
	conn.mu.Lock()
	conn.startWriter()
	outcomes := ""
	for _, call := range calls {
		var e *Error
		if err := call.wait(t).err; !errors.As(err, &e) || !errors.Is(err, errFault) {
			t.Fatalf("call: %v", err)
		}
		outcomes += e.Outcome.String()[:1]
	}
	switch outcomes {
	case "mmmmmmnnnn", "mmmmmnnnnn": // the first block is longer than the others
	case "mmmmnnnnnn", "mmmnnnnnnn":
	default:
		t.Errorf("outcomes are %s, want the first half maybe sent, the rest not sent", outcomes)
	}
	_, err = s.Recv(context.Background())
	want{code: Unavailable, outcome: MaybeSent, cause: errFault}.check(t, err)
}

// A full socket: the call ends with its context, the bytes that wait are
// unknown, and those behind them were not sent.
func TestOutcomeWhenTheSocketIsFull(t *testing.T) {
	for _, l := range []link{tcpLink, pipeLink} {
		t.Run(l.name, func(t *testing.T) {
			conn, p := connect(t, l, Options{}, setting{settingInitialWindowSize, maxWindow}, setting{settingMaxConcurrentStreams, 2})
			p.window(0, maxWindow-defaultWindow)
			p.quiet()
			if tcp, ok := conn.socket.(*net.TCPConn); ok {
				_ = tcp.SetWriteBuffer(16 << 10)
				_ = p.nc.(*net.TCPConn).SetReadBuffer(16 << 10)
			}
			big := Request{Path: "/test.S/M", Message: make([]byte, 4<<20)}
			s, err := conn.Open(context.Background(), big) // fills the socket
			if err != nil {
				t.Fatal(err)
			}
			p.until(frameHeaders)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			_, err = conn.Call(ctx, simple)
			var e *Error
			if !errors.As(err, &e) || e.Code != DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("call behind a full socket: %v", err)
			}
			if e.Outcome == Answered {
				t.Errorf("outcome is %v", e.Outcome)
			}
			_ = p.nc.Close()
			_, err = s.Recv(context.Background())
			outcome := MaybeSent
			if l.name == pipeLink.name && errors.As(err, &e) && e.Outcome == NotSent {
				outcome = NotSent // a pipe says that it took nothing, unless the peer was in a read
			}
			want{code: Unavailable, outcome: outcome}.check(t, err)
		})
	}
}

// The answer's fault points: each leaves the request unknown.
func TestOutcomeWhenTheAnswerIsCut(t *testing.T) {
	whole := func(p *peer, id uint32) []byte {
		b := rawFrame(frameHeaders, flagEndHeaders, id, p.block(":status", "200", "content-type", "application/grpc")...)
		b = append(b, rawFrame(frameData, 0, id, message("answer")...)...)
		return append(b, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, id, p.block("grpc-status", "0")...)...)
	}
	conn, p := connect(t, tcpLink, Options{})
	pending := start(conn, simple)
	length := len(whole(p, p.request().id))
	_ = conn.Close()
	pending.wait(t)

	for cut := range length {
		conn, p := connect(t, pipeLink, Options{})
		pending := start(conn, simple)
		p.write(whole(p, p.request().id)[:cut]...)
		_ = p.nc.Close()
		want{code: Unavailable, outcome: MaybeSent}.check(t, pending.wait(t).err)
		want{code: Unavailable}.check(t, ended(t, conn))
		_ = conn.Close()
	}
}

// A reset socket instead of an orderly end.
func TestOutcomeOfAConnectionReset(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	pending := start(conn, simple)
	p.request()
	if err := p.nc.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = p.nc.Close()
	want{code: Unavailable, outcome: MaybeSent, text: "reset"}.check(t, pending.wait(t).err)
	_, err := conn.Call(context.Background(), simple)
	want{code: Unavailable, outcome: NotSent, text: "reset"}.check(t, err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a reset is no timeout")
	}
}
