package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// clusterOf returns the ID of the cluster, in hex as in errors.
func clusterOf(t testing.TB, c *etcd.Client) string {
	t.Helper()
	return fmt.Sprintf("%x", get(t, c, etcd.GetRequest{Key: "k"}).Header.ClusterID)
}

// A member of another cluster among the endpoints gets no calls. The client
// continues with its own members, and reports the reason if no others are left.
// Authentication on the other cluster hides nothing.
func TestForeignCluster(t *testing.T) {
	t.Parallel()
	foreign, other := private(t, etcdtest.Config{}, etcd.Config{})
	ours, c := private(t, etcdtest.Config{}, etcd.Config{Retry: -1})
	ids := []string{clusterOf(t, c), clusterOf(t, other)}
	authority{t, pb.NewAuthClient(official(t, foreign))}.enable()
	both := append(ours.Endpoints(), foreign.Endpoints()...)
	if err := c.SetEndpoints(both); err != nil {
		t.Fatal(err)
	}
	w := watch(t, c, etcd.WatchRequest{Key: "k", Prefix: true})
	for i := range 300 {
		put(t, c, "k", fmt.Sprint(i))
	}
	if got := stored(t, c, "k").Version; got != 300 {
		t.Errorf("%d of 300 writes are in our cluster", got)
	}
	for n := 0; n < 300; {
		n += len(read(t, w).Events)
	}
	if err := ours.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss of our member to be noticed", func() bool {
		_, err := c.Get(within(t, 5*time.Second), etcd.GetRequest{Key: "k"})
		return errors.Is(err, etcd.ErrForeignCluster)
	})
	_, err := c.Put(within(t, 5*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrForeignCluster, etcd.OutcomeNotSent)
	mustSay(t, err, append(ids, foreign.Endpoints()[0])...)
	if err := ours.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "our member to be used again", func() bool {
		_, err := c.Put(t.Context(), etcd.PutRequest{Key: "k"})
		return err == nil
	})
	// Alone, it is refused too.
	if err := c.SetEndpoints(foreign.Endpoints()); err != nil {
		t.Fatal(err)
	}
	_, err = c.Put(within(t, 5*time.Second), etcd.PutRequest{Key: "k"})
	wants(t, err, etcd.ErrForeignCluster, etcd.OutcomeNotSent)
	if err := c.Ready(within(t, 5*time.Second)); !errors.Is(err, etcd.ErrForeignCluster) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready: %v, want ErrForeignCluster at once", err)
	}
	// A new watch ends, and one that has run waits for its cluster.
	if _, err := c.Watch(within(t, 5*time.Second), etcd.WatchRequest{Key: "k", Revision: 1}); !errors.Is(err, etcd.ErrForeignCluster) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch: %v, want ErrForeignCluster at once", err)
	}
	if err := c.SetEndpoints(ours.Endpoints()); err != nil {
		t.Fatal(err)
	}
	last := put(t, c, "k", "back")
	for resp := read(t, w); resp.Events[len(resp.Events)-1].KV.ModRevision != last; {
		resp = read(t, w)
	}
}

// Another cluster replaces the one behind the only endpoint. The error of the first
// write that reaches it says that the write may have been applied; no further
// request reaches it.
func TestClusterReplaced(t *testing.T) {
	t.Parallel()
	before, _ := private(t, etcdtest.Config{}, etcd.Config{})
	after, other := private(t, etcdtest.Config{}, etcd.Config{})
	put(t, other, "k", "theirs")
	var now atomic.Value
	now.Store(before.Addr())
	d := newDialer()
	moving := connect(t, etcd.Config{
		Endpoints: before.Endpoints(), Retry: -1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.dial(ctx, network, now.Load().(string))
		},
	})
	put(t, moving, "k", "ours")
	w := watch(t, moving, etcd.WatchRequest{Key: "k", Revision: 1})
	read(t, w)
	now.Store(after.Addr())
	d.cutAll()
	_, err := moving.Put(t.Context(), etcd.PutRequest{Key: "lost"})
	if !errors.Is(err, etcd.ErrForeignCluster) || errors.Is(err, etcd.ErrUnavailable) {
		t.Fatalf("error %v, want ErrForeignCluster", err)
	}
	for range 20 {
		_, err := moving.Put(t.Context(), etcd.PutRequest{Key: "refused"})
		wants(t, err, etcd.ErrForeignCluster, etcd.OutcomeNotSent)
	}
	if got := stored(t, other, "refused").Version; got != 0 {
		t.Errorf("%d writes reached the other cluster", got)
	}
	// The right cluster is back: calls succeed and the watch continues.
	now.Store(before.Addr())
	d.cutAll()
	eventually(t, "the right cluster to be used", func() bool {
		_, err := moving.Put(t.Context(), etcd.PutRequest{Key: "k", Value: []byte("back")})
		return err == nil
	})
	if got := text(read(t, w).Events[0], ""); got != "PUT k=back" {
		t.Errorf("event %s", got)
	}
}

// With authentication on, a client without a user name gets the error of its
// request, and not that of the connection check that precedes it.
func TestEndpointCheckNeedsNoUser(t *testing.T) {
	t.Parallel()
	s, _ := private(t, etcdtest.Config{}, etcd.Config{})
	authority{t, pb.NewAuthClient(official(t, s))}.enable()
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, etcd.Config{Endpoints: []string{s.Addr(), "localhost:" + port}})
	_, err = c.Get(t.Context(), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrUnauthenticated, etcd.OutcomeRejected)
}
