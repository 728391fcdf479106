//go:build linux

package client

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// On Linux all of 127.0.0.0/8 is loopback, which allows several addresses for one
// name.

// proxyAt runs a proxy for target at a loopback address and the given port; 0 means
// any.
func proxyAt(t *testing.T, address string, port int, target string) (*etcdtest.Proxy, int) {
	t.Helper()
	p, err := etcdtest.NewProxyAt(net.JoinHostPort(address, strconv.Itoa(port)), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	_, text, err := net.SplitHostPort(p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		t.Fatal(err)
	}
	return p, port
}

// listenAt calls serve for each connection to a loopback address.
func listenAt(t *testing.T, address string, port int, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			go serve(nc)
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
}

// A name has two addresses, one of which accepts TCP but leads to no usable member.
// The other one serves the calls, whichever comes first.
func TestNextAddressOfAName(t *testing.T) {
	t.Parallel()
	secure := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CertHosts: []string{"etcd.test"}})
	named := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CertHosts: []string{"other.test"}})
	foreign := etcdtest.StartProcess(t, etcdtest.Config{})
	forward := func(s *etcdtest.Server) func(net.Conn) {
		return func(nc net.Conn) {
			to, err := net.Dial("tcp", s.Addr())
			if err != nil {
				_ = nc.Close()
				return
			}
			go func() { _, _ = io.Copy(to, nc); _ = to.Close() }()
			_, _ = io.Copy(nc, to)
			_ = nc.Close()
		}
	}
	say := func(text string) func(net.Conn) {
		return func(nc net.Conn) { _, _ = io.WriteString(nc, text); _, _ = io.Copy(io.Discard, nc) }
	}
	for name, test := range map[string]struct {
		good *etcdtest.Server
		tls  *tls.Config
		bad  func(net.Conn)
	}{
		"it closes":             {testbed.Shared, nil, func(nc net.Conn) { _ = nc.Close() }},
		"it is silent":          {testbed.Shared, nil, say("")},
		"it speaks HTTP/1":      {testbed.Shared, nil, say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")},
		"it speaks TLS":         {testbed.Shared, nil, forward(secure)},
		"it is another cluster": {testbed.Shared, nil, forward(foreign)},
		"its certificate":       {secure, secure.ClientTLS(), forward(named)},
		"it is silent in TLS":   {secure, secure.ClientTLS(), say("")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dns := newDNS(t)
			good, port := proxyAt(t, "127.0.0.1", 0, test.good.Addr())
			listenAt(t, "127.0.0.2", port, test.bad)
			dns.setHost("etcd.test", "127.0.0.1")
			endpoint := "etcd.test:" + strconv.Itoa(port)
			config := etcd.Config{Endpoints: []string{endpoint}, Resolver: dns.resolver(), TLS: test.tls}
			for range 4 {
				dns.setHost("etcd.test", "127.0.0.1")
				c := connect(t, config)
				get(t, c, etcd.GetRequest{Key: "k"}) // it knows its cluster
				dns.setHost("etcd.test", "127.0.0.2", "127.0.0.1")
				for range 2 {
					good.Reset()
					began := time.Now()
					get(t, c, etcd.GetRequest{Key: "k"})
					if took := time.Since(began); took > 4*time.Second {
						t.Errorf("it took %v", took)
					}
					at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
					if s := c.Stats().Endpoints[0]; s.Address != at || s.Endpoint != endpoint {
						t.Errorf("stats %+v, want the address %s", s, at)
					}
				}
			}
		})
	}
}

// If no address is usable the error names the problem of each.
func TestNoAddressOfAName(t *testing.T) {
	t.Parallel()
	dns := newDNS(t)
	secure := etcdtest.StartProcess(t, etcdtest.Config{TLS: etcdtest.ServerTLS})
	_, port := proxyAt(t, "127.0.0.1", 0, secure.Addr())
	endpoint := "etcd.test:" + strconv.Itoa(port)
	listenAt(t, "127.0.0.2", port, func(nc net.Conn) { _, _ = io.WriteString(nc, "220 mail.test ESMTP\r\n") })
	dns.setHost("etcd.test", "127.0.0.1", "127.0.0.2")
	c := connect(t, etcd.Config{Endpoints: []string{endpoint}, Resolver: dns.resolver(), RetrySleep: time.Minute})
	_, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrBadEndpoint, etcd.OutcomeNotSent)
	mustSay(t, err, endpoint+": ", "127.0.0.1:"+strconv.Itoa(port)+": server speaks TLS", "127.0.0.2:"+strconv.Itoa(port)+": server does not speak HTTP/2")

	dns.setHost("etcd.test", "127.0.0.1", "127.0.0.3") // one that is merely down
	c = connect(t, etcd.Config{Endpoints: []string{endpoint}, Resolver: dns.resolver(), Retry: -1})
	_, err = c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
	mustSay(t, err, "127.0.0.3:"+strconv.Itoa(port), "refused")
}

// The connections of many clients spread over the addresses of a name, and hooks and
// errors name the address.
func TestAddressesOfANameAreSpread(t *testing.T) {
	t.Parallel()
	dns := newDNS(t)
	addresses := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}
	proxies := make(map[string]*etcdtest.Proxy)
	port := 0
	for _, a := range addresses {
		var p *etcdtest.Proxy
		p, port = proxyAt(t, a, port, testbed.Shared.Addr())
		proxies[p.Addr()] = p
	}
	dns.setHost("etcd.test", addresses...)
	count := make(map[string]int)
	var last *etcd.Client
	var mu sync.Mutex // guards told
	var told []string
	const clients = 60 // that an address gets none of them has a probability of 1e-10
	for range clients {
		last = connect(t, etcd.Config{
			Endpoints: []string{"etcd.test:" + strconv.Itoa(port)}, Resolver: dns.resolver(),
			Hooks: etcd.Hooks{Connected: func(i etcd.ConnectInfo) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, i.Address)
			}},
		})
		get(t, last, etcd.GetRequest{Key: "k"})
		count[last.Stats().Endpoints[0].Address]++
	}
	for address := range proxies {
		if count[address] == 0 {
			t.Errorf("clients by address: %v", count)
		}
	}
	at := last.Stats().Endpoints[0].Address
	mu.Lock()
	if len(told) != clients || told[clients-1] != at {
		t.Errorf("the hook was told of %v", told)
	}
	mu.Unlock()

	proxies[at].Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := last.Put(ctx, etcd.PutRequest{Key: "k"})
	e := wants(t, err, context.DeadlineExceeded, etcd.OutcomeUnknown)
	if e != nil && e.Address != at || !strings.Contains(err.Error(), "via etcd.test:"+strconv.Itoa(port)+" ("+at+")") {
		t.Errorf("the error does not say which address it was: %v", err)
	}
}
