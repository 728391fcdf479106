package client

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
)

// gateway is a proxy that answers each request with a status of its own, over HTTP/2 in
// plain text.
type gateway struct {
	endpoint string
	status   atomic.Int64
	requests atomic.Int64
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{endpoint: "http://" + l.Addr().String()}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.requests.Add(1)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(int(g.status.Load()))
		_, _ = w.Write([]byte("<html>"))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return g
}

// The HTTP statuses of proxies: the error speaks of the proxy, is what waiting makes of
// it, and requests are not repeated without pause.
func TestProxyStatuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status     int
		sentinel   error
		outcome    etcd.Outcome // of a write
		gets, puts int64        // requests at most, with two retries
		says       string
	}{
		{413, etcd.ErrRequestTooLarge, etcd.OutcomeNotSent, 1, 1, "a proxy's limit for bodies (nginx: client_max_body_size)"},
		{429, etcd.ErrTooManyRequests, etcd.OutcomeNotSent, 3, 3, "a proxy limits how many requests"},
		{502, etcd.ErrUnavailable, etcd.OutcomeUnknown, 6, 1, "a proxy could not reach etcd"},
		{503, etcd.ErrUnavailable, etcd.OutcomeUnknown, 6, 1, "a proxy has no etcd that it could reach"},
		{504, etcd.ErrUnavailable, etcd.OutcomeUnknown, 6, 1, "etcd did not answer a proxy in time"},
		{403, etcd.ErrBadEndpoint, etcd.OutcomeNotSent, 1, 1, "a proxy does not let the request pass"},
		{404, etcd.ErrBadEndpoint, etcd.OutcomeNotSent, 1, 1, "is this etcd's client URL?"},
	} {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			t.Parallel()
			g := startGateway(t)
			g.status.Store(int64(test.status))
			c := connect(t, etcd.Config{Endpoints: []string{g.endpoint}, Retry: 2, RetrySleep: 10 * time.Millisecond})
			_, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
			wants(t, err, test.sentinel, test.outcome)
			mustSay(t, err, g.endpoint, test.says)
			if n := g.requests.Swap(0); n > test.puts {
				t.Errorf("%d requests for a Put", n)
			}
			_, err = c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"})
			wants(t, err, test.sentinel, test.outcome)
			mustSay(t, err, test.says)
			if n := g.requests.Load(); n > test.gets {
				t.Errorf("%d requests for a Get", n)
			}
		})
	}
}

// A proxy that limits the rate is not answered with a storm, by however many members
// it is in front of, nor by watches and leases.
func TestTooManyRequestsForAProxy(t *testing.T) {
	t.Parallel()
	gateways := []*gateway{startGateway(t), startGateway(t), startGateway(t)}
	requests := func() (n int64) {
		for _, g := range gateways {
			n += g.requests.Load()
		}
		return n
	}
	var endpoints []string
	for _, g := range gateways {
		g.status.Store(http.StatusTooManyRequests)
		endpoints = append(endpoints, g.endpoint)
	}
	c := connect(t, etcd.Config{Endpoints: endpoints, RetrySleep: 100 * time.Millisecond})
	_, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrTooManyRequests, etcd.OutcomeNotSent)
	// Of three members each is asked who it is, and then each attempt asks one, the
	// first all of them.
	if n := requests(); n > 40 {
		t.Errorf("%d requests for a Put", n)
	}
	before := requests()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = c.Watch(ctx, etcd.WatchRequest{Key: "k"})
	mustSay(t, err, "429")
	if n := requests() - before; n > 60 {
		t.Errorf("%d requests for a watch in three seconds", n)
	}
}
