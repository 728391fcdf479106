package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// If a range's member stops sending, silently or while it still answers PINGs,
// another member continues the range after the last pair.
func TestRangeLeavesAStuckMember(t *testing.T) {
	t.Parallel()
	server, c := private(t, etcdtest.Config{}, etcd.Config{})
	const pairs = 80
	for i := range pairs {
		put(t, c, fmt.Sprintf("k/%03d", i), strings.Repeat("v", 250_000))
	}
	for name, f := range map[string]struct {
		fault etcdtest.Fault
		after int // pairs
	}{
		"silent":           {etcdtest.Fault{Stall: true}, 40},
		"answers to PINGs": {etcdtest.Fault{DiscardRequests: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A range takes one of the two ways at random: none has met the fault once in 2^40.
			for range 40 {
				if took := stuckRange(t, server, pairs, f.after, f.fault); took > time.Second {
					return
				}
			}
			t.Error("no range has met the fault")
		})
	}
}

// stuckRange reads a range while one of two ways to the server becomes faulty.
func stuckRange(t *testing.T, server *etcdtest.Server, pairs, after int, fault etcdtest.Fault) time.Duration {
	t.Helper()
	ways := [2]*etcdtest.Proxy{etcdtest.StartProxy(t, server.Endpoints()[0]), etcdtest.StartProxy(t, server.Endpoints()[0])}
	c := connect(t, etcd.Config{Endpoints: []string{ways[0].Endpoint(), ways[1].Endpoint()}, Retry: -1})
	r, err := c.Range(within(t, 30*time.Second), etcd.GetRequest{Key: "k/", Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.All() { // the connection exists before the fault
		if err != nil {
			t.Fatal(err)
		}
	}
	direction := etcdtest.BothWays
	if fault.DiscardRequests {
		direction = etcdtest.ToServer
	}
	began := time.Now()
	n := 0
	for kv, err := range r.All() {
		if err != nil {
			t.Fatalf("after %d pairs: %v", n, err)
		}
		if want := fmt.Sprintf("k/%03d", n); kv.Key != want {
			t.Fatalf("pair %d is %s", n, kv.Key)
		}
		if n++; n == max(after, 1) {
			ways[0].Set(direction, fault)
		}
	}
	took := time.Since(began)
	if n != pairs || took > 10*time.Second {
		t.Errorf("%d pairs after %v", n, took)
	}
	return took
}
