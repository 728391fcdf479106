package client

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// frontOf serves etcd's KV and Watch in front of a member until the test ends. streams
// counts the watch streams that clients open.
func frontOf(t *testing.T, kv pb.KVServer, watches pb.WatchServer) (endpoint string, streams *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams = new(atomic.Int64)
	server := grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		streams.Add(1)
		return handle(srv, stream)
	}))
	pb.RegisterKVServer(server, kv)
	pb.RegisterWatchServer(server, watches)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return "http://" + l.Addr().String(), streams
}

// Several watches on one stream through etcd's own grpc-proxy, which numbers watches
// itself, from 0 on: each gets its own events, also when others have been closed.
func TestWatchThroughGRPCProxy(t *testing.T) {
	t.Parallel()
	up, err := clientv3.New(clientv3.Config{Endpoints: testbed.Shared.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	kv, _ := grpcproxy.NewKvProxy(up)
	watches, ended := grpcproxy.NewWatchProxy(ctx, zap.NewNop(), up)
	t.Cleanup(func() { cancel(); <-ended })
	endpoint, streams := frontOf(t, kv, watches)

	c := connect(t, etcd.Config{Endpoints: []string{endpoint}})
	prefix := ownKeys(t)
	const n = 5
	var all []*etcd.Watcher
	for i := range n {
		w, err := c.Watch(within(t, 10*time.Second), etcd.WatchRequest{Key: fmt.Sprint(prefix, i)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close() })
		all = append(all, w)
	}
	for round := range 3 {
		for i, w := range all {
			put(t, c, fmt.Sprint(prefix, i), fmt.Sprint(round))
			resp, err := w.Read(within(t, 10*time.Second))
			if err != nil {
				t.Fatalf("watch %d, round %d: %v", i, round, err)
			}
			if got, want := text(resp.Events[0], prefix), fmt.Sprintf("PUT %d=%d", i, round); got != want || len(resp.Events) != 1 {
				t.Fatalf("watch %d: %s and %d more, want %s", i, got, len(resp.Events)-1, want)
			}
		}
		if err := all[n-1-round].Close(); err != nil {
			t.Fatal(err)
		}
		all = all[:n-1-round]
	}
	if streams.Load() != 1 {
		t.Errorf("%d watch streams", streams.Load())
	}
}

// impatientGateway passes calls on to a member. It lets a watch stream live only until the
// member has confirmed the watch, as a gateway does that allows no long streams.
type impatientGateway struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	kv      pb.KVClient
	watches pb.WatchClient
}

func (g *impatientGateway) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return g.kv.Range(ctx, r)
}

func (g *impatientGateway) Watch(stream grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error {
	up, err := g.watches.Watch(stream.Context())
	if err != nil {
		return err
	}
	create, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := up.Send(create); err != nil {
		return err
	}
	confirmed, err := up.Recv()
	if err != nil {
		return err
	}
	if err := stream.Send(confirmed); err != nil {
		return err
	}
	return status.Error(codes.Unavailable, "upstream connect error or disconnect/reset before headers")
}

// Each stream of a watch ends right after its confirmation. The client opens the next ones
// ever more slowly, and the watch says why it is not served.
func TestWatchStreamsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	member := official(t, etcdtest.StartProcess(t, etcdtest.Config{}))
	gateway := &impatientGateway{kv: pb.NewKVClient(member), watches: pb.NewWatchClient(member)}
	endpoint, streams := frontOf(t, gateway, gateway)
	c := connect(t, etcd.Config{Endpoints: []string{endpoint}})
	began := time.Now()
	w := watch(t, c, etcd.WatchRequest{Key: "k"})
	_, err := w.Read(within(t, 4*time.Second))
	wants(t, err, context.DeadlineExceeded, etcd.OutcomeNotSent)
	// 20 ms, doubling to 2 s, and each shorter by up to all of it: about ten.
	if n := streams.Load(); n < 4 || n > 30 {
		t.Errorf("%d streams in %v", n, time.Since(began))
	}
	if state := w.State(); state.Err == nil {
		t.Errorf("the watch is %+v", state)
	} else {
		mustSay(t, state.Err, "upstream connect error")
	}
}
