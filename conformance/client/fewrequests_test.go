package client

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Proxies that end each connection after few requests, as nginx does with a small
// keepalive_requests, before one member and before three: everything is served, only
// slower.
func TestFewRequestsPerConnection(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	for _, members := range []int{1, 3} {
		for _, requests := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%d requests, %d members", requests, members), func(t *testing.T) {
				var endpoints []string
				var proxies []*etcdtest.RequestLimit
				for _, m := range cluster.Members()[:members] {
					p := etcdtest.StartRequestLimit(t, m.Endpoints()[0], requests)
					proxies = append(proxies, p)
					endpoints = append(endpoints, p.Endpoint())
				}
				c := connect(t, etcd.Config{Endpoints: endpoints})
				fewRequests(t, c)
				conns := int64(0)
				for _, p := range proxies {
					conns += p.Conns()
				}
				t.Logf("%d connections", conns)
			})
		}
	}
}

func fewRequests(t *testing.T, c *etcd.Client) {
	t.Helper()
	key := ownKeys(t)
	// A renewal that finds the request of its connection taken tries again after a pause, beside thirty
	// callers that do so at once: on a busy machine it may miss several turns.
	lease, err := c.Grant(within(t, 20*time.Second), etcd.GrantRequest{TTL: 9 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var renewals atomic.Int64
	defer lease.OnRenewal(func(etcd.KeepAliveResponse) { renewals.Add(1) })()
	w := watch(t, c, etcd.WatchRequest{Key: key, Prefix: true})

	// One after the other: the connections are what they cost.
	const n = 200
	began := time.Now()
	for i := range n {
		if _, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: key + "serial", Lease: lease.ID}); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
	}
	if took := time.Since(began); took > raceFactor*5*time.Second {
		t.Errorf("%d puts took %v", n, took)
	} else {
		t.Logf("%d puts took %v", n, took)
	}

	// Many at once, of which a connection answers few.
	const callers, each = 30, 10
	began = time.Now()
	var calls sync.WaitGroup
	for i := range callers {
		calls.Go(func() {
			for range each {
				if _, err := c.Put(within(t, 30*time.Second), etcd.PutRequest{Key: fmt.Sprint(key, i)}); err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				if _, err := c.Get(within(t, 30*time.Second), etcd.GetRequest{Key: fmt.Sprint(key, i), Serializable: true}); err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
			}
		})
	}
	calls.Wait()
	t.Logf("%d calls at once took %v", 2*callers*each, time.Since(began))
	if t.Failed() {
		return // there are too few events to wait for
	}

	for events := 0; events < n+callers*each; {
		events += len(read(t, w).Events)
	}
	enough := renewals.Load() + 2
	eventually(t, "renewals", func() bool { return renewals.Load() >= enough || lease.Err() != nil })
	if err := lease.Err(); err != nil {
		t.Errorf("the lease: %v", err)
	}
}
