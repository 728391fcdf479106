package etcdtest_test

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"silly.store/etcd/etcdtest"
)

// grpc-go works with the proxy as with nginx: each connection carries so many requests,
// and streams go on on theirs.
func TestRequestLimit(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	if _, err := etcdtest.NewRequestLimit(s.Addr(), 0); err == nil {
		t.Error("no request for a connection is accepted")
	}
	p := etcdtest.StartRequestLimit(t, s.Addr(), 3)
	conn, err := grpc.NewClient(p.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watch, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	kv := pb.NewKVClient(conn)
	for i := range 29 {
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k")}, grpc.WaitForReady(true)); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatalf("the stream after %d puts: %v", i, err)
		}
	}
	if n := p.Conns(); n != 10 {
		t.Errorf("%d connections for 30 requests", n)
	}
	p.Set(100)
	before := p.Conns()
	for range 60 {
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k")}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Conns() - before; n > 2 {
		t.Errorf("%d connections for 60 requests", n)
	}
}
