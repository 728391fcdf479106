package client

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// Each connection looks the name up again, so that it finds a member that comes
// back at another address. The dialer gets the name, not an old address.
func TestNamesAreLookedUpAnew(t *testing.T) {
	t.Parallel()
	const name = "etcd.test:2379"
	way := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	var means atomic.Value
	means.Store(way.Addr())
	var lookups atomic.Int64
	c := connect(t, etcd.Config{Endpoints: []string{name}, Retry: -1, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != name {
			t.Errorf("dialing %s", address)
		}
		lookups.Add(1)
		return new(net.Dialer).DialContext(ctx, network, means.Load().(string))
	}})
	get(t, c, etcd.GetRequest{Key: "k"})
	means.Store(testbed.Shared.Addr())
	if way.Reset() == 0 {
		t.Fatal("nothing went the first way")
	}
	get(t, c, etcd.GetRequest{Key: "k"}) // at once
	if n := lookups.Load(); n < 2 {
		t.Errorf("%d lookups", n)
	}
}

// Each endpoint sends its own name and accepts only a certificate for that name.
func TestServerNameOfEachEndpoint(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards asked
	asked := make(map[string]bool)
	web := httptest.NewUnstartedServer(http.NotFoundHandler()) // its certificate is for example.com
	web.EnableHTTP2 = true
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		asked[hello.ServerName] = true
		return nil, nil
	}}
	web.StartTLS()
	t.Cleanup(web.Close)
	config := func(endpoints ...string) etcd.Config {
		return etcd.Config{
			Endpoints: endpoints, Retry: -1,
			TLS: &tls.Config{RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, web.Listener.Addr().String())
			},
		}
	}
	right := connect(t, config("https://example.com:1"))
	_, err := right.Get(within(t, 10*time.Second), etcd.GetRequest{Key: "k"})
	mustSay(t, err, "Get", "404") // its certificate was accepted
	both := connect(t, config("https://example.org:1", "https://example.net:1"))
	_, err = both.Get(within(t, 10*time.Second), etcd.GetRequest{Key: "k"})
	mustSay(t, err, "Get", "example.org:1: server certificate is for another name", "example.net:1: server certificate is for another name")
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{"example.com", "example.org", "example.net"} {
		if !asked[name] {
			t.Errorf("nobody asked for %s: %v", name, asked)
		}
	}
}
