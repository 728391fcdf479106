package client

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// mustSay checks that the text of an error contains all of these.
func mustSay(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	fresh := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for name, c := range map[string]*etcd.Client{"a new client": fresh, "a client that was connected": c} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		begin := time.Now()
		err := c.Ready(ctx)
		took := time.Since(begin)
		cancel()
		e := wants(t, err, context.DeadlineExceeded, etcd.OutcomeNotSent)
		mustSay(t, err, "Ready", s.Endpoints()[0], "connection refused")
		if e != nil && e.Op != "Ready" || took > time.Second+promptly {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := fresh.Ready(ctx)
	wants(t, err, context.Canceled, etcd.OutcomeNotSent)
	mustSay(t, err, "Ready")

	done := async(func() error { return fresh.Ready(t.Context()) })
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, done); err != nil {
		t.Errorf("the server is back: %v", err)
	}

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	err = fresh.Ready(ctx)
	cancel()
	wants(t, err, context.DeadlineExceeded, etcd.OutcomeUnknown)
	mustSay(t, err, "Ready", s.Endpoints()[0])
}

// If waiting cannot help, Ready and every call fail at once, and the error suggests
// a remedy.
func TestWrongEndpoints(t *testing.T) {
	t.Parallel()
	secure := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS})
	mutual := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.MutualTLS})
	named := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CertHosts: []string{"etcd.example"}})
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secureWeb := httptest.NewUnstartedServer(http.NotFoundHandler())
	secureWeb.Config.ErrorLog = log.New(io.Discard, "", 0)
	secureWeb.StartTLS()
	t.Cleanup(secureWeb.Close)
	other, err := etcdtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	otherTLS, err := other.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	noCertificate := mutual.ClientTLS()
	noCertificate.Certificates = nil
	foreign := mutual.ClientTLS()
	foreign.Certificates = otherTLS.Certificates
	webTLS := secureWeb.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	old := secure.ClientTLS()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	plain := "http://" + secure.Addr()
	grpcOnly := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, GRPCOnly: true})
	socket := etcdtest.StartProcess(t, etcdtest.Config{Unix: true}).Endpoints()[0]

	for _, test := range []struct {
		name     string
		endpoint string
		tls      *tls.Config
		says     string
	}{
		{"TLS on a plain port", "https://" + testbed.Shared.Addr(), nil, "server does not speak TLS; use http:// for a plain endpoint"},
		{"TLS on a plain socket", "unixs://" + strings.TrimPrefix(socket, "unix://"), nil, "server does not speak TLS; use unix:// for a plain endpoint"},
		{"plain on a TLS port", plain, nil, "server speaks TLS and the endpoint is plain; use https:// or set Config.TLS"},
		{"plain on a mutual TLS port", "http://" + mutual.Addr(), nil, "server speaks TLS and the endpoint is plain; use https:// or set Config.TLS"},
		{"plain on a TLS port of grpc-go's", "http://" + grpcOnly.Addr(), nil, "server speaks TLS and the endpoint is plain; use https:// or set Config.TLS"},
		{"unknown authority", secure.Endpoints()[0], otherTLS, "RootCAs"},
		{"system's authorities", secure.Endpoints()[0], nil, "RootCAs"},
		{"another name", named.Endpoints()[0], named.ClientTLS(), "ServerName"},
		{"no client certificate", mutual.Endpoints()[0], noCertificate, "Certificates"},
		{"foreign client certificate", mutual.Endpoints()[0], foreign, "Certificates"},
		{"HTTP/1", web.URL, nil, "HTTP/1"},
		{"HTTP/1 over TLS", secureWeb.URL, webTLS, "HTTP/2"},
		{"versions too old", secure.Endpoints()[0], old, "TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, etcd.Config{Endpoints: []string{test.endpoint}, TLS: test.tls, RetrySleep: time.Minute})
			begin := time.Now()
			err := c.Ready(within(t, 20*time.Second))
			mustSay(t, err, "Ready", test.endpoint, test.says)
			wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
			_, err = c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
			mustSay(t, err, "Put", test.endpoint, test.says)
			wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
			if took := time.Since(begin); took > 20*time.Second { // RetrySleep is a minute
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A web server that speaks HTTP/2 gives a non-gRPC answer.
func TestWebServer(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	roots := web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c := connect(t, etcd.Config{Endpoints: []string{web.URL}, TLS: roots, RetrySleep: time.Minute})
	err := c.Ready(t.Context())
	mustSay(t, err, "Ready", web.URL, "404", "gRPC", "etcd's client URL")
	_, err = c.Get(t.Context(), etcd.GetRequest{Key: "k"})
	mustSay(t, err, "Get", web.URL, "404", "gRPC", "etcd's client URL")
	// No etcd has seen the write, so it was not applied.
	_, err = c.Put(t.Context(), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
}

// Peers that are not HTTP servers at all.
func TestStrangePeers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, greets string
		stays        bool
		says         string
		bad          bool // waiting cannot fix it
	}{
		{"mail", "220 mail.example ESMTP\r\n", true, "HTTP/2", true},
		{"ssh", "SSH-2.0-OpenSSH_9.9\r\n", true, "HTTP/2", true},
		{"HTTP/1", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1", true},
		{"closes", "", false, "closed the connection", false},
		{"zeros", strings.Repeat("\x00", 64), true, "HTTP/2", true},
		{"silence", "", true, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					t.Cleanup(func() { _ = nc.Close() })
					_, _ = nc.Write([]byte(test.greets))
					if !test.stays {
						_ = nc.Close()
						continue
					}
					go func() { _, _ = io.Copy(io.Discard, nc) }()
				}
			}()
			c := connect(t, etcd.Config{Endpoints: []string{l.Addr().String()}, RetrySleep: time.Minute})
			patience, want := time.Second, context.DeadlineExceeded
			if test.bad {
				patience, want = 20*time.Second, etcd.ErrBadEndpoint
			}
			err = c.Ready(within(t, patience))
			mustSay(t, err, "Ready", l.Addr().String(), test.says)
			wants(t, err, want, etcd.OutcomeNotSent)
		})
	}
}

// One wrong endpoint does not affect a cluster.
func TestOneWrongEndpoint(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	c := connect(t, etcd.Config{Endpoints: append(s.Endpoints(), web.URL), Retry: -1})
	for i := range 20 {
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "k"}); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	// Now none is usable, but the one that is down may come back.
	d := connect(t, etcd.Config{Endpoints: append(s.Endpoints(), web.URL)})
	done := async(func() error { return d.Ready(within(t, 20*time.Second)) })
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, done); err != nil {
		t.Errorf("one endpoint came back: %v", err)
	}
}
