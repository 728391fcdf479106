package client

import (
	"context"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// One address in front of three members, as a Kubernetes service or a TCP balancer is.
// The leader, to which all of a client's connections go, stops. It stays first in the
// balancer's rotation. Reads, writes, watches and leases continue over new connections
// to the same address.
func TestSilentMemberBehindOneAddress(t *testing.T) {
	t.Parallel()
	cluster := startProxied(t)
	victim := cluster.theLeader(t)
	rotation := []string{victim.Endpoints()[0]}
	balancer := etcdtest.StartBalancer(t, rotation...)
	for _, m := range cluster.Members() {
		if m != victim {
			rotation = append(rotation, m.Endpoints()[0])
		}
	}
	direct := connect(t, etcd.Config{Endpoints: rotation[1:]})
	c := connect(t, etcd.Config{Endpoints: []string{balancer.Endpoint()}})
	put(t, c, "k", "1")
	w := watch(t, c, etcd.WatchRequest{Key: "k"})
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "2")
	read(t, w)
	granted := lease.Deadline()
	eventually(t, "the first renewal", func() bool { return lease.Deadline().After(granted) })

	if err := balancer.Balance(rotation...); err != nil {
		t.Fatal(err)
	}
	if err := victim.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	t.Cleanup(func() { _ = victim.Continue() })
	began := async(func() error { _, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"}); return err })
	if err := direct.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	elected := time.Now()
	t.Logf("the others have a leader after %v", elected.Sub(stopped))

	// The other calls take only the time to suspect the connection, 1.5 s to 1.75 s,
	// and the time to connect.
	limit := elected.Add(4 * time.Second)
	if err := await(t, began); err != nil || time.Now().After(limit) {
		t.Errorf("the read that was under way took %v: %v", time.Since(stopped), err)
	}
	if _, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"}); err != nil || time.Now().After(limit) {
		t.Errorf("a read came %v after the stop: %v", time.Since(stopped), err)
	}
	if _, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k", Value: []byte("3")}); err != nil || time.Now().After(limit) {
		t.Errorf("a write came %v after the stop: %v", time.Since(stopped), err)
	}
	if e, err := w.Read(within(t, 20*time.Second)); err != nil || time.Since(stopped) > 10*time.Second {
		t.Errorf("the event came %v after the stop: %v, %v", time.Since(stopped), e, err)
	}
	eventually(t, "a renewal after the stop", func() bool {
		return lease.Err() != nil || lease.Deadline().After(stopped.Add(8*time.Second))
	})
	if err := lease.Err(); err != nil {
		t.Errorf("the lease is lost though its cluster serves: %v", err)
	}
}

// The same with a member that answers PINGs and no requests, as one that has stopped
// inside does: new connections lead to the others, whose answers show that it is the
// member and not the cluster.
func TestStuckMemberBehindOneAddress(t *testing.T) {
	t.Parallel()
	cluster := startProxied(t)
	victim := cluster.aFollower(t)
	rotation := cluster.endpoints(victim)
	balancer := etcdtest.StartBalancer(t, rotation[0])
	c := connect(t, etcd.Config{Endpoints: []string{balancer.Endpoint()}})
	put(t, c, "k", "1")
	w := watch(t, c, etcd.WatchRequest{Key: "k"})
	idle := connect(t, etcd.Config{Endpoints: []string{balancer.Endpoint()}}) // does nothing but renew
	lease, err := idle.Grant(t.Context(), etcd.GrantRequest{TTL: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}

	if err := balancer.Balance(rotation...); err != nil {
		t.Fatal(err)
	}
	cluster.proxies[victim].Set(etcdtest.ToServer, etcdtest.Fault{DiscardRequests: true})
	stuck := time.Now()
	// Late after 1.5 s to 1.75 s, probed for a second, and the read looks again every half.
	const limit = 6 * time.Second
	get := func(ctx context.Context) error { _, err := c.Get(ctx, etcd.GetRequest{Key: "k"}); return err }
	if took, err := limited(t, 20*time.Second, get); err != nil || took > limit {
		t.Errorf("the read that found the member stuck took %v: %v", took, err)
	}
	for range 10 {
		if took, err := limited(t, 20*time.Second, get); err != nil || took > limit/2 {
			t.Errorf("a later read took %v: %v", took, err)
		}
	}
	if _, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: "k", Value: []byte("3")}); err != nil || time.Since(stuck) > 2*limit {
		t.Errorf("a write came after %v: %v", time.Since(stuck), err)
	}
	eventually(t, "a renewal since", func() bool {
		return lease.Err() != nil || lease.Deadline().After(stuck.Add(8*time.Second))
	})
	if err := lease.Err(); err != nil {
		t.Errorf("the lease is lost though its cluster serves: %v", err)
	}
	// It is not the member's answers that are lost: the stream still brings events.
	read(t, w)
}
