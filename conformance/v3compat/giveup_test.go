package v3compat

import (
	"context"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/v3compat"
)

// Regression: a watch whose stream ended while the server confirmed it stayed on the server
// until the client was closed.
func TestStreamGivenUpOnServer(t *testing.T) {
	t.Parallel()
	_, c := testbed.Private(t)
	client := v3compat.Wrap(c)
	t.Cleanup(func() { _ = client.Close() })
	giveUp := func(ctx context.Context) {
		stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(ctx)
		if err != nil {
			return
		}
		create := &pb.WatchCreateRequest{Key: []byte("k")}
		if stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}) == nil {
			_, _ = stream.Recv()
		}
	}
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			for range 250 {
				ctx, cancel := testbed.Impatient(t, time.Millisecond)
				giveUp(ctx)
				cancel()
			}
		})
	}
	streams.Wait()
	testbed.Eventually(t, "the watches to end", func() bool { return c.Stats().Watches == 0 })
}

// Watches that are given up at any time leave nothing, and keep-alives of a lease that are given
// up do not end a later one.
func TestGivenUpAnytime(t *testing.T) {
	t.Parallel()
	_, c := testbed.Private(t)
	client := v3compat.Wrap(c)
	t.Cleanup(func() { _ = client.Close() })
	lease, err := client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 250 {
				ctx, cancel := testbed.Impatient(t, time.Millisecond)
				watch := client.Watch(ctx, "k")
				renewals, err := client.KeepAlive(ctx, lease.ID)
				if err != nil {
					t.Error(err)
				}
				for range watch {
				}
				for range renewals {
				}
				cancel()
			}
		})
	}
	calls.Wait()
	testbed.Eventually(t, "the watches to end", func() bool { return c.Stats().Watches == 0 })
	renewals, err := client.KeepAlive(t.Context(), lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r := <-renewals; r == nil || r.TTL != 60 {
		t.Errorf("renewed: %v", r)
	}
}
