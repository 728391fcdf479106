package v3compat

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

// The scheme http leaves out TLS, for New, SetEndpoints and requests to one member. So
// programs work whose tls.Config is never nil.
func TestHTTPEndpointWithTLS(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Second)
	bare, ok := strings.CutPrefix(testbed.Shared.Endpoints()[0], "http://")
	if !ok {
		t.Fatalf("the endpoint is %q", testbed.Shared.Endpoints()[0])
	}
	for _, first := range []string{"http://" + bare, "http://" + bare + "/path"} {
		client := connect(t, clientv3.Config{Endpoints: []string{first}, TLS: new(tls.Config)})
		if _, err := client.Get(ctx, t.Name()); err != nil {
			t.Fatal(err)
		}
		if got := client.Endpoints(); !slices.Equal(got, []string{first}) {
			t.Errorf("the endpoints are %q", got)
		}
		if _, err := client.Status(ctx, first); err != nil {
			t.Error(err)
		}
		client.SetEndpoints("127.0.0.1:1")
		client.SetEndpoints(bare, "http://"+bare, "http://"+bare)
		if _, err := client.Get(ctx, t.Name()); err != nil {
			t.Error(err)
		}
	}
}

// An endpoint without a host is this machine, as for client/v3.
func TestEndpointWithoutHost(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Second)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(testbed.Shared.Endpoints()[0], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{":" + port, "http://:" + port} {
		theirs, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = theirs.Close() })
		ours := connect(t, clientv3.Config{Endpoints: []string{endpoint}})
		for name, client := range map[string]*clientv3.Client{"client/v3": theirs, "v3compat": ours} {
			if _, err := client.Get(ctx, t.Name()); err != nil {
				t.Errorf("%s at %q: %v", name, endpoint, err)
			}
			if _, err := client.Status(ctx, endpoint); err != nil {
				t.Errorf("%s, status of %q: %v", name, endpoint, err)
			}
		}
	}
}

// Where the first endpoint has TLS, or may have it, so have those that come later.
func TestEndpointsWithTLS(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Second)
	server := etcdtest.StartConfig(t, etcdtest.Config{TLS: etcdtest.ServerTLS})
	bare, ok := strings.CutPrefix(server.Endpoints()[0], "https://")
	if !ok {
		t.Fatalf("the endpoint is %q", server.Endpoints()[0])
	}
	for _, first := range []string{bare, "https://" + bare} {
		client := connect(t, clientv3.Config{Endpoints: []string{first}, TLS: server.ClientTLS()})
		if _, err := client.Get(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Status(ctx, "http://"+bare); err != nil {
			t.Error(err)
		}
		client.SetEndpoints("127.0.0.1:1")
		client.SetEndpoints("http://" + bare)
		if _, err := client.Get(ctx, "k"); err != nil {
			t.Error(err)
		}
	}
}

func TestUnixEndpoint(t *testing.T) {
	t.Parallel()
	server := etcdtest.StartConfig(t, etcdtest.Config{Unix: true})
	_, path, _ := strings.Cut(server.Endpoints()[0], "://")
	for _, endpoint := range []string{"unix:" + path, "unix://" + path} {
		client := connect(t, clientv3.Config{Endpoints: []string{endpoint}})
		if _, err := client.Get(within(t, 20*time.Second), "k"); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// await waits until the connection has the state, as kube-apiserver does.
func await(t *testing.T, conn *grpc.ClientConn, want connectivity.State) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for {
		state := conn.GetState()
		if state == want {
			return
		}
		if state == connectivity.Idle {
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatalf("the state is %v, not %v", state, want)
		}
	}
}

// The state is Ready when a member can be reached. It comes back by itself after an
// outage, without a call.
func TestConnectionState(t *testing.T) {
	t.Parallel()
	server := etcdtest.StartProcess(t, etcdtest.Config{})
	asked := connect(t, clientv3.Config{Endpoints: server.Endpoints()}).ActiveConnection()
	if state := asked.GetState(); state != connectivity.Idle {
		t.Errorf("the state is %v before anything needs a connection", state)
	}
	await(t, asked, connectivity.Ready)

	used := connect(t, clientv3.Config{Endpoints: server.Endpoints()})
	if _, err := used.Get(within(t, 20*time.Second), "k"); err != nil {
		t.Fatal(err)
	}
	own, err := etcd.New(etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	if err := own.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	wrapped := v3compat.Wrap(own)
	defer func() { _ = wrapped.Close() }()
	watching := connect(t, clientv3.Config{Endpoints: server.Endpoints()})
	_ = watching.Watch(t.Context(), "k", clientv3.WithRev(1))

	conns := []*grpc.ClientConn{asked, used.ActiveConnection(), wrapped.ActiveConnection(), watching.ActiveConnection()}
	for _, conn := range conns {
		await(t, conn, connectivity.Ready)
	}
	kill(t, server)
	for _, conn := range conns {
		await(t, conn, connectivity.TransientFailure)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		await(t, conn, connectivity.Ready)
	}
	_ = used.Close()
	if state := used.ActiveConnection().GetState(); state != connectivity.Shutdown {
		t.Errorf("after Close the state is %v", state)
	}
}

// Who closes the connection ends the watches, which go over it in client/v3.
func TestConnectionClosed(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	ch := client.Watch(t.Context(), t.Name())
	if err := client.ActiveConnection().Close(); err != nil {
		t.Fatal(err)
	}
	isClosed(t, ch)
	isClosed(t, client.Watch(t.Context(), t.Name()))
}

// An endpoint at which nothing listens is a transient failure, not a wait without end.
func TestConnectionStateWithoutServer(t *testing.T) {
	t.Parallel()
	conn := connect(t, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}}).ActiveConnection()
	await(t, conn, connectivity.TransientFailure)
}

// intercepted collects the methods that interceptors see.
type intercepted struct {
	mu    sync.Mutex // guards calls
	calls []string
}

func (i *intercepted) note(method string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls = append(i.calls, method[strings.LastIndex(method, "/")+1:])
}

func (i *intercepted) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	i.note(method + status.Code(err).String())
	return err
}

func (i *intercepted) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	i.note(method)
	return open(ctx, desc, conn, method, opts...)
}

// The interceptors of DialOptions run around calls, chained or not; options about
// connections are accepted.
func TestInterceptors(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Second)
	for name, options := range map[string]func(*intercepted) []grpc.DialOption{
		"chained": func(i *intercepted) []grpc.DialOption {
			return []grpc.DialOption{
				//lint:ignore SA1019 programs have it
				grpc.WithBlock(),
				grpc.WithChainUnaryInterceptor(i.unary), grpc.WithChainStreamInterceptor(i.stream),
			}
		},
		"single": func(i *intercepted) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithUnaryInterceptor(i.unary), grpc.WithStreamInterceptor(i.stream)}
		},
	} {
		var seen intercepted
		client := connect(t, clientv3.Config{DialOptions: options(&seen)})
		for _, err := range []error{
			second(client.Put(ctx, t.Name(), "v")), second(client.Get(ctx, t.Name())), second(client.Delete(ctx, t.Name())),
			second(client.Txn(ctx).Then(clientv3.OpGet(t.Name())).Commit()), second(client.Grant(ctx, 60)), second(client.MemberList(ctx)),
			second(client.AuthStatus(ctx)), second(client.AlarmList(ctx)),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := client.Get(ctx, ""); status.Code(err) == codes.OK {
			t.Errorf("%s: an empty key has a value", name)
		}
		stream, err := client.GetStream(ctx, t.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := clientv3.GetStreamToGetResponse(stream); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := "PutOK RangeOK DeleteRangeOK TxnOK LeaseGrantOK MemberListOK AuthStatusOK AlarmOK RangeInvalidArgument RangeStream"
		if got := strings.Join(seen.calls, " "); got != want {
			t.Errorf("%s: the interceptors saw %s", name, got)
		}
	}
}

// What client/v3 has no interface for goes to a member.
func TestOtherServicesOfTheConnection(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	conn, ctx := client.ActiveConnection(), within(t, 20*time.Second)
	health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
	if err != nil || health.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", health, err)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("health of a service that there is not: %v", err)
	}
	maintenance := pb.NewMaintenanceClient(conn)
	if hash, err := maintenance.Hash(ctx, new(pb.HashRequest)); err != nil || hash.Hash == 0 || hash.Header.GetMemberId() == 0 {
		t.Errorf("hash %v, %v", hash, err)
	}
	if hash, err := maintenance.HashKV(ctx, new(pb.HashKVRequest)); err != nil || hash.Hash == 0 {
		t.Errorf("hash %v, %v", hash, err)
	}
	if _, err := maintenance.Defragment(ctx, new(pb.DefragmentRequest)); err != nil {
		t.Error(err)
	}
	if err := conn.Invoke(ctx, "/etcdserverpb.KV/None", new(pb.PutRequest), new(pb.PutResponse)); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that there is not: %v", err)
	}
}
