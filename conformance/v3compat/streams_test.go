package v3compat

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The Watch stream as generated clients see it.
func TestWatchStream(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	ctx, cancel := context.WithCancel(within(t, 20*time.Second))
	stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(req *pb.WatchRequest) {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	create := func(req *pb.WatchCreateRequest) {
		t.Helper()
		send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: req}})
	}
	receive := func() *pb.WatchResponse {
		t.Helper()
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	key := []byte(t.Name())
	create(&pb.WatchCreateRequest{Key: key, WatchId: 7, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}})
	if r := receive(); !r.Created || r.Canceled || r.WatchId != 7 {
		t.Errorf("created: %v", r)
	}
	create(&pb.WatchCreateRequest{Key: key, WatchId: 7})
	if r := receive(); !r.Created || !r.Canceled || r.WatchId != clientv3.InvalidWatchID || !strings.Contains(r.CancelReason, "duplicate watch ID") {
		t.Errorf("created with an ID that is taken: %v", r)
	}
	create(&pb.WatchCreateRequest{Key: []byte("other"), RangeEnd: []byte("others")})
	chosen := receive()
	if !chosen.Created || chosen.Canceled || chosen.WatchId == 7 {
		t.Errorf("created: %v", chosen)
	}
	for _, do := range []func() error{
		func() error { _, err := client.Put(ctx, t.Name(), "1"); return err },
		func() error { _, err := client.Delete(ctx, t.Name()); return err },
		func() error { _, err := client.Put(ctx, t.Name(), "2"); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1", "2"} {
		if r := receive(); r.WatchId != 7 || len(r.Events) != 1 || string(r.Events[0].Kv.Value) != want {
			t.Errorf("want an event with %s, got %v", want, r)
		}
	}
	send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: 7}}})
	if r := receive(); !r.Canceled || r.WatchId != 7 {
		t.Errorf("canceled: %v", r)
	}
	send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: new(pb.WatchProgressRequest)}})
	if r := receive(); r.Canceled || len(r.Events) > 0 || r.Header.Revision == 0 {
		t.Errorf("progress: %v", r)
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("after the context: %v", err)
	}
}

// Requests need not be answered one by one. The server counts watches from 0.
func TestWatchStreamTakesSeveralRequests(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	const watches = 50
	for range watches {
		create := &pb.WatchCreateRequest{Key: []byte(t.Name())}
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
			t.Fatal(err)
		}
	}
	for id := range watches {
		if r, err := stream.Recv(); err != nil || !r.Created || r.WatchId != int64(id) {
			t.Fatalf("watch %d: %v, %v", id, r, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

// Requests that were sent before CloseSend are answered.
func TestStreamAnswersWhatWasSent(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	ctx := within(t, 20*time.Second)
	lease, err := client.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const renewals = 20
	for range renewals {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease.ID)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for i := range renewals {
		if r, err := stream.Recv(); err != nil || r.TTL != 60 {
			t.Fatalf("renewal %d: %v, %v", i, r, err)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("after the last answer: %v", err)
	}
}
