package v3compat

import (
	"context"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// update is the next one of a service's endpoints.
func update(t testing.TB, ch endpoints.WatchChannel) *endpoints.Update {
	t.Helper()
	select {
	case all, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		if len(all) != 1 {
			t.Errorf("%d updates where one was made", len(all))
		}
		return all[0]
	case <-time.After(20 * time.Second):
		t.Fatal("no update")
	}
	panic("not reached")
}

// Endpoints come and go, the last one with its lease.
func TestNamingEndpoints(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		own := wrapped(t, c) // registers endpoints; its connections are not cut
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		service, err := endpoints.NewManager(own, "service")
		if err != nil {
			t.Fatal(err)
		}
		looking, err := endpoints.NewManager(client, "service")
		if err != nil {
			t.Fatal(err)
		}
		add := func(key, addr string, opts ...clientv3.OpOption) {
			t.Helper()
			if err := service.AddEndpoint(ctx, key, endpoints.Endpoint{Addr: addr, Metadata: "about " + addr}, opts...); err != nil {
				t.Fatal(err)
			}
		}
		add("service/a", "a:1")
		updates, err := looking.NewWatchChannel(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if u := update(t, updates); u.Op != endpoints.Add || u.Key != "service/a" || u.Endpoint.Addr != "a:1" || u.Endpoint.Metadata != "about a:1" {
			t.Errorf("%+v", u)
		}
		lease := grant(t, own, 60)
		add("service/b", "b:1", clientv3.WithLease(lease))
		if u := update(t, updates); u.Op != endpoints.Add || u.Key != "service/b" || u.Endpoint.Addr != "b:1" {
			t.Errorf("%+v", u)
		}
		if err := service.DeleteEndpoint(ctx, "service/a"); err != nil {
			t.Fatal(err)
		}
		if u := update(t, updates); u.Op != endpoints.Delete || u.Key != "service/a" {
			t.Errorf("%+v", u)
		}
		all, err := looking.List(ctx)
		if err != nil || len(all) != 1 || all["service/b"].Addr != "b:1" {
			t.Errorf("%v, %v", all, err)
		}
		if _, err := own.Revoke(ctx, lease); err != nil {
			t.Fatal(err)
		}
		if u := update(t, updates); u.Op != endpoints.Delete || u.Key != "service/b" {
			t.Errorf("%+v", u)
		}
		cancel()
		if all, ok := <-updates; ok {
			t.Errorf("%+v instead of the end", all)
		}
	})
}

// A gRPC connection finds the servers of a service, including later ones, and
// forgets those that leave.
func TestNamingResolver(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		// The service consists of etcd servers; any gRPC service would do.
		first, second := etcdtest.Start(t), etcdtest.Start(t)
		own := wrapped(t, c)
		service, err := endpoints.NewManager(own, "kv")
		if err != nil {
			t.Fatal(err)
		}
		add := func(key string, s *etcdtest.Server) {
			t.Helper()
			if err := service.AddEndpoint(t.Context(), key, endpoints.Endpoint{Addr: address(s)}); err != nil {
				t.Fatal(err)
			}
		}
		add("kv/1", first)
		builder, err := resolver.NewBuilder(client)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient("etcd:///kv", grpc.WithResolvers(builder),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		wantServers(t, conn, first)
		add("kv/2", second)
		wantServers(t, conn, first, second)
		if err := service.DeleteEndpoint(t.Context(), "kv/1"); err != nil {
			t.Fatal(err)
		}
		wantServers(t, conn, second)
	})
}

// address is a server's address in grpc-go's form.
func address(s *etcdtest.Server) string {
	const scheme = "http://"
	return s.Endpoints()[0][len(scheme):]
}

// wantServers makes calls until exactly these servers answer in turn.
func wantServers(t testing.TB, conn *grpc.ClientConn, servers ...*etcdtest.Server) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	var want []uint64
	for _, s := range servers {
		resp, err := ours(t, s.Endpoints()).Get(ctx, etcd.GetRequest{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, resp.Header.MemberID)
	}
	slices.Sort(want)
	var got []uint64
	for !slices.Equal(got, want) {
		got = nil
		for range 2 * (len(want) + 1) {
			resp, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("k")}, grpc.WaitForReady(true))
			if ctx.Err() != nil {
				t.Fatalf("members %x answer, want %x", got, want)
			}
			if err == nil { // a server that leaves may end its calls
				got = append(got, resp.Header.MemberId)
			}
		}
		slices.Sort(got)
		got = slices.Compact(got)
	}
}
