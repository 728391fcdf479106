package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
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
				_, err := Dial(ctx, target, Options{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					real, err := new(net.Dialer).DialContext(ctx, network, address)
					if err == nil {
						t.Cleanup(func() { _ = real.Close() })
					}
					return c.conn(real), err
				}})
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
