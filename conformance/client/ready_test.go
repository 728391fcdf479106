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
	"silly.store/etcd/etcdtest"
)

// mustSay checks that the text of an error has all of these in it.
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
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		begin := time.Now()
		err := c.Ready(ctx)
		took := time.Since(begin)
		cancel()
		e := wants(t, err, context.DeadlineExceeded, etcd.NotSent)
		mustSay(t, err, "Ready", s.Endpoints()[0], "connection refused")
		if e != nil && e.Op != "Ready" || took > 2*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := fresh.Ready(ctx)
	wants(t, err, context.Canceled, etcd.NotSent)
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

// What no waiting mends is said at once, with what to do about it, by Ready and
// by every call.
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

	for _, test := range []struct {
		name     string
		endpoint string
		tls      *tls.Config
		says     string
		// doubtful: a server that goes down looks the same, so it is waited for.
		doubtful bool
	}{
		{"TLS on a plain port", "https://" + shared.Addr(), nil, "http://", true},
		{"plain on a TLS port", plain, nil, "https://", true},
		{"plain on a mutual TLS port", "http://" + mutual.Addr(), nil, "https://", true},
		{"unknown authority", secure.Endpoints()[0], otherTLS, "RootCAs", false},
		{"system's authorities", secure.Endpoints()[0], nil, "RootCAs", false},
		{"another name", named.Endpoints()[0], named.ClientTLS(), "ServerName", false},
		{"no client certificate", mutual.Endpoints()[0], noCertificate, "Certificates", false},
		{"foreign client certificate", mutual.Endpoints()[0], foreign, "Certificates", false},
		{"HTTP/1", web.URL, nil, "HTTP/1", false},
		{"HTTP/1 over TLS", secureWeb.URL, webTLS, "HTTP/2", false},
		{"versions too old", secure.Endpoints()[0], old, "TLS", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, etcd.Config{Endpoints: []string{test.endpoint}, TLS: test.tls, RetrySleep: time.Minute})
			want, wait := etcd.ErrBadEndpoint, 20*time.Second
			if test.doubtful {
				want, wait = context.DeadlineExceeded, 500*time.Millisecond
			}
			begin := time.Now()
			err := c.Ready(within(t, wait))
			mustSay(t, err, "Ready", test.endpoint, test.says)
			wants(t, err, want, etcd.NotSent)
			_, err = c.Put(within(t, wait), etcd.PutRequest{Key: "k"})
			mustSay(t, err, "Put", test.endpoint, test.says)
			wants(t, err, want, etcd.NotSent)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A web server that speaks HTTP/2 answers, in its own way.
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
	// No etcd has seen it, so a write has not been applied.
	_, err = c.Put(t.Context(), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrBadEndpoint, etcd.NotSent)
}

// Peers that are no HTTP server at all.
func TestStrangePeers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, greets string
		stays        bool
		says         string
		bad          bool // waiting does not mend it
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
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err = c.Ready(ctx)
			mustSay(t, err, "Ready", l.Addr().String(), test.says)
			want := context.DeadlineExceeded
			if test.bad {
				want = etcd.ErrBadEndpoint
			}
			wants(t, err, want, etcd.NotSent)
		})
	}
}

// One endpoint that is wrong does not spoil a cluster.
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
	// Now none can be used, but the one that is down may come back.
	d := connect(t, etcd.Config{Endpoints: append(s.Endpoints(), web.URL)})
	done := async(func() error { return d.Ready(within(t, 20*time.Second)) })
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, done); err != nil {
		t.Errorf("one endpoint came back: %v", err)
	}
}
