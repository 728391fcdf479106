package client

import (
	"context"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// memberOf returns the ID of a server.
func memberOf(t testing.TB, s *etcdtest.Server) uint64 {
	t.Helper()
	c := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	return get(t, c, etcd.GetRequest{Key: "k"}).Header.MemberID
}

// settlesOn waits until one member answers thirty consecutive calls.
func settlesOn(t testing.TB, what string, id uint64, call func(ctx context.Context) (etcd.ResponseHeader, error)) {
	t.Helper()
	ctx := within(t, 60*time.Second)
	eventually(t, what, func() bool {
		for range 30 {
			h, err := call(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if h.MemberID != id {
				return false
			}
		}
		return true
	})
}

// Writes and linearizable reads go to the leader and follow it; serializable
// reads are spread.
func TestPreferLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Prefer: etcd.PreferLeader, RetryWrites: etcd.AtLeastOnce, Retry: 20})
	write := func(ctx context.Context) (etcd.ResponseHeader, error) {
		resp, err := c.Put(ctx, etcd.PutRequest{Key: "k"})
		if err != nil {
			return etcd.ResponseHeader{}, err
		}
		return resp.Header, nil
	}
	read := func(ctx context.Context) (etcd.ResponseHeader, error) {
		resp, err := c.Get(ctx, etcd.GetRequest{Key: "k"})
		if err != nil {
			return etcd.ResponseHeader{}, err
		}
		return resp.Header, nil
	}
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	settlesOn(t, "the leader to get all writes", memberOf(t, leader), write)
	settlesOn(t, "the leader to get all reads", memberOf(t, leader), read)
	seen := make(map[uint64]bool)
	for range 100 {
		seen[get(t, c, etcd.GetRequest{Key: "k", Serializable: true}).Header.MemberID] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d members served serializable reads, want 3", len(seen))
	}

	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := read(within(t, 20*time.Second)); err != nil {
		t.Errorf("a read after the leader was killed: %v", err)
	}
	next, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	settlesOn(t, "the next leader to get all writes", memberOf(t, next), write)
}

// Calls go to the member that answers fastest, and to another one when that
// changes.
func TestPreferNearest(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	var ways []*etcdtest.Proxy
	var endpoints []string
	for _, e := range cluster.Endpoints() {
		way := etcdtest.StartProxy(t, e)
		ways, endpoints = append(ways, way), append(endpoints, way.Endpoint())
	}
	near := func(i int) {
		for at, way := range ways {
			delay := 20 * time.Millisecond
			if at == i {
				delay = 0
			}
			way.Set(etcdtest.BothWays, etcdtest.Fault{Delay: delay})
		}
	}
	near(1)
	c := connect(t, etcd.Config{Endpoints: endpoints, Prefer: etcd.PreferNearest})
	local := func(ctx context.Context) (etcd.ResponseHeader, error) {
		resp, err := c.Get(ctx, etcd.GetRequest{Key: "k", Serializable: true})
		if err != nil {
			return etcd.ResponseHeader{}, err
		}
		return resp.Header, nil
	}
	members := cluster.Members()
	settlesOn(t, "the nearest member to get all reads", memberOf(t, members[1]), local)
	near(2)
	settlesOn(t, "the member that is nearest now to get all reads", memberOf(t, members[2]), local)
	// When the member goes down the others serve at once.
	if err := members[2].Kill(); err != nil {
		t.Fatal(err)
	}
	h, err := local(within(t, 5*time.Second))
	if err != nil || h.MemberID == 0 {
		t.Errorf("a read after the nearest member was killed: %v", err)
	}
}
