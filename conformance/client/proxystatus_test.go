package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
)

// gateway is a proxy that answers each request with a status that it makes up, over HTTP/2 in
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
		temporary  bool
		gets, puts int64 // requests at most, with two retries
		says       string
	}{
		{413, etcd.ErrRequestTooLarge, etcd.OutcomeNotSent, false, 1, 1, "a proxy's limit for bodies (nginx: client_max_body_size)"},
		{429, etcd.ErrTooManyRequests, etcd.OutcomeNotSent, true, 3, 3, "a proxy limits how many requests"},
		{500, etcd.ErrUnavailable, etcd.OutcomeUnknown, true, 6, 1, "a proxy has failed"},
		{502, etcd.ErrUnavailable, etcd.OutcomeUnknown, true, 6, 1, "a proxy could not reach etcd"},
		{503, etcd.ErrUnavailable, etcd.OutcomeUnknown, true, 6, 1, "a proxy has no etcd that it could reach"},
		{504, etcd.ErrUnavailable, etcd.OutcomeUnknown, true, 6, 1, "etcd did not answer a proxy in time"},
		{520, etcd.ErrUnavailable, etcd.OutcomeUnknown, true, 6, 1, "a proxy has failed"},
		{204, etcd.ErrBadEndpoint, etcd.OutcomeUnknown, false, 1, 1, "is this etcd's client URL?"},
		{308, etcd.ErrBadEndpoint, etcd.OutcomeNotSent, false, 1, 1, "sends requests elsewhere"},
		{403, etcd.ErrBadEndpoint, etcd.OutcomeNotSent, false, 1, 1, "a proxy does not let the request pass"},
		{404, etcd.ErrBadEndpoint, etcd.OutcomeNotSent, false, 1, 1, "is this etcd's client URL?"},
		{501, etcd.ErrBadEndpoint, etcd.OutcomeNotSent, false, 1, 1, "is this etcd's client URL?"},
	} {
		t.Run(strconv.Itoa(test.status), func(t *testing.T) {
			t.Parallel()
			g := startGateway(t)
			g.status.Store(int64(test.status))
			c := connect(t, etcd.Config{Endpoints: []string{g.endpoint}, Retry: 2, RetrySleep: 10 * time.Millisecond})
			check := func(call string, err error, most int64) {
				t.Helper()
				wants(t, err, test.sentinel, test.outcome)
				mustSay(t, err, g.endpoint, test.says, strconv.Itoa(test.status))
				if etcd.Temporary(err) != test.temporary {
					t.Errorf("%s: temporary is %v", call, !test.temporary)
				}
				if n := g.requests.Swap(0); n > most {
					t.Errorf("%d requests for a %s", n, call)
				}
			}
			_, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
			check("Put", err, test.puts)
			_, err = c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"})
			check("Get", err, test.gets)
		})
	}
}

// A proxy that answers the connection itself, in HTTP/1, is treated alike. No request was sent,
// so writes are tried again as well.
func TestProxyStatusesInHTTP1(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer    string
		sentinel  error
		temporary bool
		attempts  int // with two retries
		says      string
	}{
		{"413 Request Entity Too Large", etcd.ErrRequestTooLarge, false, 1, "a proxy's limit for bodies"},
		{"429 Too Many Requests", etcd.ErrTooManyRequests, true, 3, "a proxy limits how many requests"},
		{"500 Internal Server Error", etcd.ErrUnavailable, true, 3, "a proxy has failed"},
		{"502 Bad Gateway", etcd.ErrUnavailable, true, 3, "a proxy could not reach etcd"},
		{"503 Service Unavailable", etcd.ErrUnavailable, true, 3, "a proxy has no etcd that it could reach"},
		{"504 Gateway Time-out", etcd.ErrUnavailable, true, 3, "etcd did not answer a proxy in time"},
		{"403 Forbidden", etcd.ErrBadEndpoint, false, 1, "a proxy does not let the request pass"},
		{"400 Bad Request", etcd.ErrBadEndpoint, false, 1, "server answers in HTTP/1, with status 400"},
		{"404 Not Found", etcd.ErrBadEndpoint, false, 1, "server answers in HTTP/1, with status 404"},
	} {
		t.Run(test.answer, func(t *testing.T) {
			t.Parallel()
			endpoint := greet(t, "HTTP/1.1 "+test.answer+"\r\nContent-Length: 0\r\n\r\n")
			c := connect(t, etcd.Config{Endpoints: []string{endpoint}, Retry: 2, RetrySleep: 10 * time.Millisecond})
			_, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k"})
			wants(t, err, test.sentinel, etcd.OutcomeNotSent)
			mustSay(t, err, endpoint, test.says, test.answer[:3])
			if e := new(etcd.Error); !errors.As(err, &e) || e.Attempts != test.attempts || etcd.Temporary(err) != test.temporary {
				t.Errorf("%d attempts, temporary: %v", e.Attempts, etcd.Temporary(err))
			}
		})
	}
}

// greet is the endpoint of a server that says something to each connection, and no more.
func greet(t *testing.T, text string) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer nc.Close()
				_, _ = nc.Write([]byte(text))
				_, _ = io.Copy(io.Discard, nc)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return "http://" + l.Addr().String()
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
