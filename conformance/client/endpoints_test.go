package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// openConns counts the connections that are open, by address.
type openConns struct {
	mu    sync.Mutex // guards the fields below
	open  map[string]int
	dials map[string]int
}

func newOpenConns() *openConns {
	return &openConns{open: make(map[string]int), dials: make(map[string]int)}
}

func (o *openConns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dials[address]++
	if err != nil {
		return nil, err
	}
	o.open[address]++
	return &countedConn{Conn: nc, of: o, address: address}, nil
}

func (o *openConns) of(address string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[address]
}

func (o *openConns) dialed(address string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dials[address]
}

type countedConn struct {
	net.Conn
	of      *openConns
	address string
	once    sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		c.of.open[c.address]--
		c.of.mu.Unlock()
	})
	return c.Conn.Close()
}

// The endpoints change under calls, a watch and a lease: no call fails, no event is
// lost or repeated, the lease survives, and the connections to removed endpoints
// are closed. Everything goes through the user's DialContext.
func TestSetEndpoints(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	members := cluster.Members()
	conns := newOpenConns()
	first := members[0].Endpoints()
	c := connect(t, etcd.Config{Endpoints: first, Retry: -1, DialContext: conns.dial})
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, c, etcd.WatchRequest{Key: "k/", Prefix: true})
	stop := make(chan struct{})
	written := make([]int, 4)
	var writers sync.WaitGroup
	for i := range written {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprintf("k/%d", i), Value: fmt.Append(nil, written[i])}); err != nil {
					t.Error(err)
					return
				}
				written[i]++
			}
		})
	}
	for round := range 12 {
		now := members[(round+1)%3].Endpoints()
		if err := c.SetEndpoints(now); err != nil {
			t.Fatal(err)
		}
		if got := c.Endpoints(); !slices.Equal(got, now) {
			t.Errorf("endpoints are %v, want %v", got, now)
		}
		// The watch has moved when its connection to the old member is closed.
		old := members[round%3].Addr()
		eventually(t, "the connections to the old member to be closed", func() bool { return conns.of(old) == 0 })
		put(t, c, "k/round", fmt.Sprint(round))
	}
	close(stop)
	writers.Wait()
	put(t, c, "k/end", "")
	next := make(map[string]int)
	for ended := false; !ended; {
		for _, ev := range read(t, w).Events {
			if ev.KV.Key == "k/end" {
				ended = true
				continue
			}
			if want := fmt.Sprint(next[ev.KV.Key]); string(ev.KV.Value) != want {
				t.Fatalf("event %s=%s, want %s", ev.KV.Key, ev.KV.Value, want)
			}
			next[ev.KV.Key]++
		}
	}
	for i, n := range written {
		if got := next[fmt.Sprintf("k/%d", i)]; got != n || n == 0 {
			t.Errorf("writer %d: %d events of %d writes", i, got, n)
		}
	}
	if err := lease.Err(); err != nil {
		t.Errorf("the lease is lost: %v", err)
	}
	ttl, err := c.TTL(t.Context(), etcd.TTLRequest{ID: lease.ID})
	if err != nil || ttl.TTL <= 0 {
		t.Errorf("TTL %+v, %v", ttl, err)
	}
	// A member that stays keeps its connections.
	stays := members[0]
	dials := conns.dialed(stays.Addr())
	if err := c.SetEndpoints(append(members[2].Endpoints(), stays.Endpoints()...)); err != nil {
		t.Fatal(err)
	}
	put(t, c, "k/stays", "")
	if n := conns.dialed(stays.Addr()); n != dials {
		t.Errorf("the member that stayed was dialed %d times more", n-dials)
	}
}

// The error names the fault, and the endpoints stay unchanged.
func TestSetEndpointsInvalid(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	before := c.Endpoints()
	for want, list := range map[string][]string{
		"endpoints is empty":                       nil,
		`endpoints[1] "b" has no port`:             {"a:1", "b"},
		`endpoints[1] "http://a:1" is the same as`: {"a:1", "http://a:1"},
		"endpoints[0] has a user or password":      {"http://u:secret@a:1"},
	} {
		err := c.SetEndpoints(list)
		refused(t, err, etcd.ErrInvalidRequest, want)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if got := c.Endpoints(); !slices.Equal(got, before) {
		t.Errorf("endpoints are %v, want %v", got, before)
	}
	put(t, c, ownKeys(t)+"k", "v")
	if err := namespaced.Whole(c).Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, c.SetEndpoints(before), etcd.ErrClosed, "closed")
}
