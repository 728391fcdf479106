package grpcresolver

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/discovery/grpcresolver"
)

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.Config{Server: testbed.Quick, Watched: []string{"silly.store/etcd/concurrency.", "silly.store/etcd/discovery"}})
}

// connect makes a client that is closed with the test.
func connect(t testing.TB, endpoint string) *etcd.Client {
	t.Helper()
	return testbed.Connect(t, etcd.Config{Endpoints: []string{endpoint}})
}

// server is one instance of a gRPC service, with gRPC's health service.
type server struct {
	addr string
	grpc *grpc.Server
	reg  *discovery.Registration
}

// serve starts an instance and registers it.
func serve(t testing.TB, co *concurrency.Coordinator, i discovery.Instance) *server {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), grpc: grpc.NewServer()}
	healthpb.RegisterHealthServer(s.grpc, health.NewServer())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.grpc.Serve(l)
	}()
	t.Cleanup(func() {
		s.grpc.Stop()
		<-served
	})
	i.Addr = s.addr
	if s.reg, err = discovery.Register(testbed.Within(t, 20*time.Second), co, i); err != nil {
		t.Fatal(err)
	}
	return s
}

// dial makes a gRPC client of a service.
func dial(t testing.TB, c *etcd.Client, service, policy string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	return dialTarget(t, c, "etcd:///"+service, policy, options...)
}

func dialTarget(t testing.TB, c *etcd.Client, target, policy string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	b, err := grpcresolver.NewBuilder(c, discovery.WatchConfig{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(target, append(options,
		grpc.WithResolvers(b), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+policy+`":{}}]}`))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call makes a call and returns the address that has answered.
func call(ctx context.Context, conn *grpc.ClientConn, options ...grpc.CallOption) (string, error) {
	var p peer.Peer
	_, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest), append(options, grpc.Peer(&p))...)
	if err != nil {
		return "", err
	}
	return p.Addr.String(), nil
}

// answer waits until the calls are answered by the servers and by no others: in a row of
// calls, evenly. No call may fail.
func answer(t testing.TB, conn *grpc.ClientConn, servers ...*server) {
	t.Helper()
	answers(t, conn, 0, servers...)
}

// answers is answer where so many calls may be lost with a server.
func answers(t testing.TB, conn *grpc.ClientConn, lost int, servers ...*server) {
	t.Helper()
	ctx := testbed.Within(t, 30*time.Second)
	const each = 3
	for {
		by := make(map[string]int)
		for range each * len(servers) {
			addr, err := call(ctx, conn, grpc.WaitForReady(true))
			if lost > 0 && status.Code(err) == codes.Unavailable {
				lost--
				continue
			}
			if err != nil {
				t.Fatalf("a call failed: %v; before it: %v", err, by)
			}
			by[addr]++
		}
		even := len(by) == len(servers)
		for _, s := range servers {
			even = even && by[s.addr] == each
		}
		if even {
			return
		}
	}
}
