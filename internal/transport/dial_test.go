package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serve accepts connections on network and lets handle have each; it returns
// the target. All end with the test.
func serve(t *testing.T, network string, handle func(nc net.Conn)) Target {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			go handle(nc)
		}
	}()
	return Target{Network: network, Address: ln.Addr().String(), Authority: "localhost"}
}

// h2 greets and then answers one call.
func h2(t *testing.T, nc net.Conn) {
	defer nc.Close()
	p := newPeer(t, link{}, nc)
	if p.greet() != nil {
		return
	}
	for {
		f, err := p.tryFrame()
		if err != nil {
			return
		}
		if r := p.collect(f); r != nil {
			p.reply(r.id, "hello "+r.fields[":scheme"])
		}
	}
}

func TestDialWorks(t *testing.T) {
	ca := newAuthority(t)
	server := ca.issue("etcd.test", time.Now().Add(time.Hour))
	client := ca.issue("client", time.Now().Add(time.Hour))
	secure := &tls.Config{Certificates: []tls.Certificate{server}, NextProtos: []string{"h2"}}
	mutual := secure.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
	cases := []struct {
		name, network  string
		server, client *tls.Config
	}{
		{"tcp", "tcp", nil, nil},
		{"unix", "unix", nil, nil},
		{"TLS", "tcp", secure, &tls.Config{RootCAs: ca.pool(), ServerName: "etcd.test"}},
		{"TLS over unix", "unix", secure, &tls.Config{RootCAs: ca.pool(), ServerName: "etcd.test"}},
		{"mutual TLS", "tcp", mutual, &tls.Config{RootCAs: ca.pool(), ServerName: "etcd.test", Certificates: []tls.Certificate{client}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, c.network, func(nc net.Conn) {
				if c.server != nil {
					nc = tls.Server(nc, c.server)
				}
				h2(t, nc)
			})
			target.TLS = c.client
			conn, err := Dial(context.Background(), target, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			want := "hello http"
			if c.client != nil {
				want = "hello https"
			}
			if got, err := conn.Call(context.Background(), simple); string(got) != want {
				t.Errorf("got %q, %v", got, err)
			}
			if err := conn.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is not etcd, or not as configured: the error names the cause, and
// ErrMisconfigured says where waiting does not help.
func TestDialErrors(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	cert := ca.issue("etcd.test", time.Now().Add(time.Hour))
	tlsServer := func(config *tls.Config) func(net.Conn) {
		config.Certificates = []tls.Certificate{cert}
		return func(nc net.Conn) { h2(t, tls.Server(nc, config)) }
	}
	roots := &tls.Config{RootCAs: ca.pool(), ServerName: "etcd.test"}
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secureWeb := httptest.NewUnstartedServer(http.NotFoundHandler())
	secureWeb.Config.ErrorLog = log.New(io.Discard, "", 0) // its complaints are what is tested
	secureWeb.StartTLS()
	t.Cleanup(secureWeb.Close)
	say := func(first string) func(net.Conn) {
		return func(nc net.Conn) { _, _ = io.WriteString(nc, first); _, _ = io.Copy(io.Discard, nc) }
	}
	expired := ca.issue("etcd.test", time.Now().Add(-time.Hour))

	cases := []struct {
		name          string
		network       string // of serve; tcp if empty
		target        Target
		serve         func(net.Conn)
		tls           *tls.Config
		misconfigured bool
		text          string
	}{
		{name: "HTTP/1 server", target: Target{Network: "tcp", Address: web.Listener.Addr().String()},
			misconfigured: true, text: "answers in HTTP/1"},
		{name: "HTTP/1 server that speaks first", serve: say("HTTP/1.1 400 Bad Request\r\n"), misconfigured: true, text: "answers in HTTP/1"},
		{name: "some other server", serve: say("220 mail.test ESMTP\r\n"), misconfigured: true, text: `began with "220 mail.test`},
		{name: "server that begins with another frame", serve: say(string(appendPing(nil, false, [8]byte{}))), misconfigured: true, text: "does not speak HTTP/2"},
		{name: "server that begins with an acknowledgement", serve: say(string(appendFrameHeader(nil, 0, frameSettings, flagAck, 0))), misconfigured: true, text: "does not speak HTTP/2"},
		{name: "TLS alert on a plain target", serve: say("\x15\x03\x01\x00\x02\x02\x46"), misconfigured: true, text: "server speaks TLS and the endpoint is plain"},
		{name: "TLS server on a plain target", serve: tlsServer(&tls.Config{NextProtos: []string{"h2"}}),
			misconfigured: true, text: "server speaks TLS and the endpoint is plain; use https:// or set Config.TLS"},
		{name: "TLS server on a plain socket", network: "unix", serve: tlsServer(&tls.Config{NextProtos: []string{"h2"}}),
			misconfigured: true, text: "server speaks TLS and the endpoint is plain; use unixs://"},
		{name: "TLS server that wants a certificate on a plain target",
			serve:         tlsServer(&tls.Config{NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}),
			misconfigured: true, text: "server speaks TLS and the endpoint is plain"},
		{name: "HTTPS server on a plain target", target: Target{Network: "tcp", Address: secureWeb.Listener.Addr().String()},
			misconfigured: true, text: "server speaks TLS and the endpoint is plain; use https:// or set Config.TLS"},
		{name: "plain server on a TLS target", serve: func(nc net.Conn) { h2(t, nc) }, tls: roots,
			misconfigured: true, text: "server does not speak TLS; use http:// for a plain endpoint"},
		{name: "plain server on a TLS socket", network: "unix", serve: func(nc net.Conn) { h2(t, nc) }, tls: roots,
			misconfigured: true, text: "server does not speak TLS; use unix:// for a plain endpoint"},
		{name: "plain server that speaks first on a TLS socket", network: "unix", serve: say(string(appendSettings(nil))), tls: roots,
			misconfigured: true, text: "server does not speak TLS; use unix://"},
		{name: "TLS alert on a plain socket", network: "unix", serve: say("\x15\x03\x01\x00\x02\x02\x46"), misconfigured: true, text: "use unixs://"},
		{name: "plain server that speaks first on a TLS target", serve: say(string(appendSettings(nil))), tls: roots,
			misconfigured: true, text: "server does not speak TLS; use http://"},
		{name: "HTTP/1 server on a TLS target", target: Target{Network: "tcp", Address: web.Listener.Addr().String()}, tls: roots,
			misconfigured: true, text: "server does not speak TLS"},
		{name: "ALPN without h2", serve: tlsServer(&tls.Config{NextProtos: []string{"http/1.1"}}), tls: roots,
			misconfigured: true, text: "does not offer HTTP/2"},
		{name: "no ALPN", serve: tlsServer(&tls.Config{}), tls: roots, misconfigured: true, text: "does not offer HTTP/2 (ALPN \"\")"},
		{name: "unknown CA", serve: tlsServer(&tls.Config{NextProtos: []string{"h2"}}),
			tls:           &tls.Config{RootCAs: otherCA.pool(), ServerName: "etcd.test"},
			misconfigured: true, text: "not signed by a known authority"},
		{name: "wrong host name", serve: tlsServer(&tls.Config{NextProtos: []string{"h2"}}),
			tls:           &tls.Config{RootCAs: ca.pool(), ServerName: "other.test"},
			misconfigured: true, text: "certificate is for another name"},
		{name: "expired certificate", serve: func(nc net.Conn) {
			h2(t, tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{expired}, NextProtos: []string{"h2"}}))
		}, tls: roots, misconfigured: true, text: "certificate is not valid"},
		{name: "client certificate missing", serve: tlsServer(&tls.Config{NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert}),
			tls: roots, misconfigured: true, text: "client certificate"},
		{name: "client certificate missing, TLS 1.2", serve: tlsServer(&tls.Config{NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}),
			tls: roots, misconfigured: true, text: "client certificate"},
		{name: "closes at once", serve: func(nc net.Conn) { _ = nc.Close() }, text: "before its HTTP/2 settings"},
		{name: "closes at once, TLS", serve: func(nc net.Conn) { _ = nc.Close() }, tls: roots, text: "in the TLS handshake; is the endpoint plain (http://)?"},
		{name: "closes a socket at once", network: "unix", serve: func(nc net.Conn) { _ = nc.Close() }, text: "does it want TLS (unixs://)"},
		{name: "closes inside the first frame's header", serve: func(nc net.Conn) {
			_, _ = nc.Write(appendSettings(nil)[:4])
			_, _ = io.CopyN(io.Discard, nc, 20)
			_ = nc.Close()
		}, text: "before its HTTP/2 settings"},
		{name: "closes inside its settings", serve: func(nc net.Conn) {
			_, _ = nc.Write(appendSettings(nil, setting{1, 1})[:12])
			_, _ = io.CopyN(io.Discard, nc, 20)
			_ = nc.Close()
		}, text: "before its HTTP/2 settings"},
		{name: "settings that are not allowed", serve: say(string(appendSettings(nil, setting{settingMaxFrameSize, 1}))), text: "MAX_FRAME_SIZE of 1"},
		{name: "refused", target: Target{Network: "tcp", Address: refusing(t)}, text: "refused"},
		{name: "no such socket", target: Target{Network: "unix", Address: "/nonexistent/socket"}, text: "no such file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := c.target
			if c.serve != nil {
				target = serve(t, cmp.Or(c.network, "tcp"), c.serve)
			}
			target.TLS = c.tls
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			conn, err := Dial(ctx, target, Options{})
			if err == nil {
				_ = conn.Close()
				t.Fatal("Dial succeeds")
			}
			want{code: Unavailable, outcome: NotSent, text: c.text}.check(t, err)
			if got := errors.Is(err, ErrMisconfigured); got != c.misconfigured {
				t.Errorf("misconfigured is %v for: %v", got, err)
			}
		})
	}
}

// Finding out why a server closes connections takes one more connection, and no
// longer than the context of the dial.
func TestDiagnosisIsBounded(t *testing.T) {
	for name, secure := range map[string]*tls.Config{"plain": nil, "TLS": {ServerName: "etcd.test"}} {
		t.Run(name, func(t *testing.T) {
			var accepted atomic.Int32
			target := serve(t, "tcp", func(nc net.Conn) {
				if accepted.Add(1) == 1 {
					_ = nc.Close()
					return
				}
				_, _ = io.Copy(io.Discard, nc) // silent
			})
			target.TLS = secure
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err := Dial(ctx, target, Options{})
			want{outcome: NotSent, code: DeadlineExceeded, text: "server closed the connection", cause: context.DeadlineExceeded}.check(t, err)
			if d := time.Since(began); d > patience/2 {
				t.Errorf("it took %v", d)
			}
			if n := accepted.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// refusing is an address where nothing listens.
func refusing(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A server that accepts and stays silent holds Dial no longer than its context,
// at each step of the handshake.
func TestDialEndsWithItsContext(t *testing.T) {
	silent := func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }
	for _, c := range []struct {
		name string
		tls  *tls.Config
		text string
	}{
		{"plain", nil, "connected, but the server said nothing"},
		{"TLS", &tls.Config{ServerName: "etcd.test"}, "did not answer the TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, "tcp", silent)
			target.TLS = c.tls
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond) // it has to get there
			defer cancel()
			_, err := Dial(ctx, target, Options{})
			want{code: DeadlineExceeded, outcome: NotSent, text: c.text, cause: context.DeadlineExceeded}.check(t, err)

			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(10*time.Millisecond, cancel)
			_, err = Dial(ctx, target, Options{})
			want{code: Canceled, outcome: NotSent, cause: context.Canceled}.check(t, err)

			// A limit that is not the caller's is no context error.
			limit := errors.New("the limit of this attempt")
			ctx, cancel = context.WithTimeoutCause(context.Background(), 10*time.Millisecond, limit)
			defer cancel()
			_, err = Dial(ctx, target, Options{})
			want{code: Unavailable, outcome: NotSent, cause: limit}.check(t, err)
		})
	}
}

// slowContext ends a moment after its deadline.
type slowContext struct {
	context.Context
	deadline time.Time
}

func (c slowContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Package net may give up at the deadline before the context has ended. That used to be
// called unavailable, without the reason.
func TestDialTimesOutBeforeItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, limit := range map[string]error{"the caller's": nil, "another's": errors.New("the limit of this attempt")} {
			began := time.Now()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, limit)
			defer cancel()
			_, err := Dial(slowContext{ctx, began}, Target{}, Options{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrDeadlineExceeded },
			})
			expected := want{code: DeadlineExceeded, outcome: NotSent, cause: context.DeadlineExceeded}
			if limit != nil {
				expected = want{code: Unavailable, outcome: NotSent, cause: limit}
			}
			if expected.check(t, err); time.Since(began) != 10*time.Millisecond {
				t.Errorf("%s: after %v", name, time.Since(began))
			}
		}
	})
}

func TestDialContextFails(t *testing.T) {
	cause := errors.New("no route today")
	_, err := Dial(context.Background(), Target{}, Options{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, cause },
	})
	want{code: Unavailable, outcome: NotSent, text: "no route today", cause: cause}.check(t, err)
}
