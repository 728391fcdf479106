package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/callback"
)

// brokenConn counts wrongly, or knows no deadlines.
type brokenConn struct {
	net.Conn
	read, write func(b []byte) (int, error) // nil: as Conn does
	deadlines   error                       // of SetDeadline
	noDeadlines bool                        // SetDeadline does nothing
}

func (c *brokenConn) Read(b []byte) (int, error) {
	if c.read != nil {
		return c.read(b)
	}
	return c.Conn.Read(b)
}

func (c *brokenConn) Write(b []byte) (int, error) {
	if c.write != nil {
		return c.write(b)
	}
	return c.Conn.Write(b)
}

func (c *brokenConn) SetDeadline(t time.Time) error {
	if c.noDeadlines || c.deadlines != nil {
		return c.deadlines
	}
	return c.Conn.SetDeadline(t)
}

// What a DialContext returns is no reason to panic, whatever it is.
func TestDialContextReturnsNonsense(t *testing.T) {
	count := func(n func(b []byte) int) func([]byte) (int, error) {
		return func(b []byte) (int, error) { return n(b), nil }
	}
	for _, c := range []struct {
		name          string
		conn          func(real net.Conn) net.Conn
		misconfigured bool
		text          string
	}{
		{name: "nothing", conn: func(net.Conn) net.Conn { return nil }, misconfigured: true,
			text: "Config.DialContext returned neither a connection nor an error"},
		{name: "a nil pointer", conn: func(net.Conn) net.Conn { return (*tls.Conn)(nil) }, misconfigured: true,
			text: "Config.DialContext returned neither a connection nor an error"},
		{name: "reads too much", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, read: count(func(b []byte) int { return len(b) + 1 })}
		}, text: "bytes into a buffer of"},
		{name: "reads less than nothing", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, read: count(func([]byte) int { return -1 })}
		}, text: "read -1 bytes into a buffer of"},
		{name: "writes too much", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, write: count(func(b []byte) int { return len(b) + 1 })}
		}, text: "Config.DialContext wrote"},
		{name: "writes less than nothing", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, write: count(func([]byte) int { return -1 })}
		}, text: "Config.DialContext wrote -1 bytes"},
		{name: "writes a half", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, write: count(func(b []byte) int { return len(b) / 2 })}
		}, text: "short write"},
		{name: "nothing, with a panic", conn: func(net.Conn) net.Conn { panic("no cable") },
			text: "Config.DialContext panicked at socket_test.go:"},
		{name: "reads with a panic", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, read: func([]byte) (int, error) { panic("no cable") }}
		}, text: "the connection of Config.DialContext panicked at socket_test.go:"},
		{name: "writes with a panic", conn: func(real net.Conn) net.Conn {
			return &brokenConn{Conn: real, write: func([]byte) (int, error) { panic("no cable") }}
		}, text: "no cable"},
		{name: "panics in every method", conn: func(net.Conn) net.Conn { return struct{ net.Conn }{} },
			text: "the connection of Config.DialContext panicked"},
		{name: "ends its goroutine", conn: func(net.Conn) net.Conn { runtime.Goexit(); return nil },
			text: "Config.DialContext ended its goroutine"},
	} {
		for _, secure := range []*tls.Config{nil, {ServerName: "etcd.test"}} {
			name := c.name
			if secure != nil {
				name += ", TLS"
			}
			t.Run(name, func(t *testing.T) {
				target := serve(t, "tcp", func(nc net.Conn) { h2(t, nc) })
				target.TLS = secure
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_, err := Dial(ctx, target, Options{DialContext: ofUser(func(ctx context.Context, network, address string) (net.Conn, error) {
					real, err := new(net.Dialer).DialContext(ctx, network, address)
					if err == nil {
						t.Cleanup(func() { _ = real.Close() })
					}
					return c.conn(real), err
				})})
				want{code: Unavailable, outcome: NotSent, text: c.text}.check(t, err)
				if got := errors.Is(err, ErrMisconfigured); got != c.misconfigured {
					t.Errorf("misconfigured is %v for: %v", got, err)
				}
			})
		}
	}
}

// Whether a connection that counts wrongly later has sent a request is not known.
func TestConnThatCountsWrongly(t *testing.T) {
	client, server := net.Pipe()
	p := newPeer(t, link{}, server)
	greeted := make(chan error, 1)
	go func() { greeted <- p.greet() }()
	broken := &brokenConn{Conn: client}
	real := broken.Conn.Write
	var wrong atomic.Bool
	broken.write = func(b []byte) (int, error) {
		if wrong.Load() {
			return -5, nil
		}
		return real(b)
	}
	c, err := Dial(t.Context(), Target{Network: "tcp", Address: "peer", Authority: "peer"}, Options{DialContext: dialTo(broken)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	p.until(frameSettings) // our acknowledgement
	wrong.Store(true)
	_, err = c.Call(t.Context(), simple)
	want{code: Unavailable, outcome: MaybeSent, text: "wrote -5 bytes"}.check(t, err)
}

// A socket that knows no deadlines, as that of an SSH tunnel does not, holds Dial
// no longer than its context either.
func TestDialEndsOnSocketsWithoutDeadlines(t *testing.T) {
	for name, how := range map[string]brokenConn{
		"refuses": {deadlines: errors.New("deadline not supported")},
		"ignores": {noDeadlines: true},
	} {
		for _, secure := range []*tls.Config{nil, {ServerName: "etcd.test"}} {
			t.Run(name, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				go func() { // it takes everything and says nothing
					buf := make([]byte, 1024)
					for {
						if _, err := server.Read(buf); err != nil {
							return
						}
					}
				}()
				broken := how
				broken.Conn = client
				limit := errors.New("the limit of this attempt")
				ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Millisecond, limit)
				defer cancel()
				began := time.Now()
				_, err := Dial(ctx, Target{Network: "tcp", Address: "a", TLS: secure}, Options{DialContext: dialTo(&broken)})
				want{code: Unavailable, outcome: NotSent, text: "connected, but the server", cause: limit}.check(t, err)
				if d := time.Since(began); d > patience/2 {
					t.Errorf("it took %v", d)
				}
			})
		}
	}
}

// crypto/tls panics on a GetClientCertificate that returns nothing.
func TestGetClientCertificateReturnsNothing(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue("etcd.test", time.Now().Add(time.Hour))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		target := serve(t, "tcp", func(nc net.Conn) {
			h2(t, tls.Server(nc, &tls.Config{
				Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, ClientAuth: tls.RequestClientCert, MaxVersion: version,
			}))
		})
		target.TLS = &tls.Config{RootCAs: ca.pool(), ServerName: "etcd.test"}
		target.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }
		_, err := Dial(t.Context(), target, Options{})
		want{code: Unavailable, outcome: NotSent, text: "GetClientCertificate returned neither", cause: ErrMisconfigured}.check(t, err)

		target.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
		c, err := Dial(t.Context(), target, Options{})
		if err != nil {
			t.Fatalf("with an empty certificate: %v", err)
		}
		_ = c.Close()
	}
}

// A connection that panics once it is in use ends, and its requests with it.
func TestConnThatPanicsLater(t *testing.T) {
	client, server := net.Pipe()
	p := newPeer(t, link{}, server)
	greeted := make(chan error, 1)
	go func() { greeted <- p.greet() }()
	broken := &brokenConn{Conn: client}
	real := broken.Conn.Write
	var wrong atomic.Bool
	broken.write = func(b []byte) (int, error) {
		if wrong.Load() {
			panic("no cable")
		}
		return real(b)
	}
	var reported atomic.Pointer[callback.Error]
	dial := Checked("Config.DialContext", func(e *callback.Error) { reported.Store(e) }, func(context.Context, string, string) (net.Conn, error) { return broken, nil })
	c, err := Dial(t.Context(), Target{Network: "tcp", Address: "peer", Authority: "peer"}, Options{DialContext: dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	p.until(frameSettings) // our acknowledgement
	wrong.Store(true)
	_, err = c.Call(t.Context(), simple)
	want{code: Unavailable, outcome: MaybeSent, text: "the connection of Config.DialContext panicked at socket_test.go"}.check(t, err)
	if e := reported.Load(); e == nil || e.Value != "no cable" || !strings.Contains(e.Stack, "socket_test.go") {
		t.Errorf("reported: %+v", e)
	}
}

// A function of the TLS configuration that panics, in the handshake or later, fails the
// connection.
func TestTLSFunctionsThatPanic(t *testing.T) {
	server := newAuthority(t).issue("etcd.test", time.Now().Add(time.Hour))
	for name, set := range map[string]func(*tls.Config){
		"VerifyConnection":                        func(c *tls.Config) { c.VerifyConnection = func(tls.ConnectionState) error { panic("no trust") } },
		"ClientSessionCache":                      func(c *tls.Config) { c.ClientSessionCache = &panickyCache{get: true} },
		"ClientSessionCache, after the handshake": func(c *tls.Config) { c.ClientSessionCache = &panickyCache{} },
	} {
		t.Run(name, func(t *testing.T) {
			target := serve(t, "tcp", func(nc net.Conn) {
				h2(t, tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{server}, NextProtos: []string{"h2"}}))
			})
			target.TLS = &tls.Config{InsecureSkipVerify: true, ServerName: "etcd.test", MinVersion: tls.VersionTLS12}
			set(target.TLS)
			_, err := Dial(t.Context(), target, Options{})
			want{code: Unavailable, outcome: NotSent, text: "a function of Config.TLS panicked at socket_test.go"}.check(t, err)
		})
	}
}

// panickyCache panics when the client asks it for a session, or when a session's ticket arrives.
type panickyCache struct{ get bool }

func (c *panickyCache) Get(string) (*tls.ClientSessionState, bool) {
	if c.get {
		panic("no trust")
	}
	return nil, false
}

func (*panickyCache) Put(string, *tls.ClientSessionState) { panic("no trust") }

// A function that does not heed its context is left behind, so many times and no more. Its
// connection is closed when it comes.
func TestDialContextIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returns, closed := make(chan struct{}), make(chan struct{}, mostLeft)
		var calls atomic.Int64
		dial := ofUser(func(context.Context, string, string) (net.Conn, error) {
			calls.Add(1)
			<-returns
			client, server := net.Pipe()
			context.AfterFunc(t.Context(), func() { _ = server.Close() })
			go func() { _, _ = server.Read(make([]byte, 1)); closed <- struct{}{} }()
			return client, nil
		})
		for range mostLeft {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := Dial(ctx, Target{}, Options{DialContext: dial})
			cancel()
			want{code: DeadlineExceeded, outcome: NotSent, text: "Config.DialContext has not returned"}.check(t, err)
		}
		_, err := Dial(t.Context(), Target{}, Options{DialContext: dial})
		want{code: Unavailable, outcome: NotSent, text: "Config.DialContext is not called again: 64 calls have not returned"}.check(t, err)
		if n := calls.Load(); n != mostLeft {
			t.Errorf("%d calls", n)
		}
		close(returns)
		for range mostLeft {
			<-closed
		}
	})
}
