package v3compat

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

func TestSetEndpoints(t *testing.T) {
	t.Parallel()
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	client := connect(t, clientv3.Config{Endpoints: []string{proxy.Endpoint()}})
	ctx := within(t, 20*time.Second)
	if _, err := client.Get(ctx, t.Name()); err != nil {
		t.Fatal(err)
	}
	_ = proxy.Close()
	client.SetEndpoints(testbed.Shared.Endpoints()...)
	if _, err := client.Get(ctx, t.Name()); err != nil {
		t.Fatal(err)
	}
	if got := client.Endpoints(); !slices.Equal(got, testbed.Shared.Endpoints()) {
		t.Errorf("endpoints are %v", got)
	}
	client.SetEndpoints("ftp://nonsense") // is logged; the old endpoints stay in use
	if _, err := client.Get(ctx, t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := client.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, t.Name()); err != nil {
		t.Fatal(err)
	}
}

// Our client answers on the connection of a clientv3.Client; a connection that its
// Dial makes goes to the endpoint.
func TestActiveConnection(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	ctx := within(t, 20*time.Second)
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	dialed, err := client.Dial(proxy.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dialed.Close() }()
	for name, kv := range map[string]pb.KVClient{
		"active": pb.NewKVClient(client.ActiveConnection()), "dialed": pb.NewKVClient(dialed), "retried": clientv3.RetryKVClient(client),
	} {
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(t.Name() + name), Value: []byte("v")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte(t.Name() + name)}); err != nil || r.Count != 1 {
			t.Errorf("%s: %v, %v", name, r, err)
		}
		if _, err := kv.Range(ctx, &pb.RangeRequest{}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		stream, err := kv.RangeStream(ctx, &pb.RangeRequest{Key: []byte(t.Name()), RangeEnd: []byte("~")})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); name == "dialed" && status.Code(err) == codes.Unimplemented {
			continue // a server that has no such method, which ours does without
		} else if err != nil || r.RangeResponse.Count == 0 {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if status, err := clientv3.NewMaintenance(client).Status(ctx, testbed.Shared.Endpoints()[0]); err != nil || status.Version == "" {
		t.Errorf("status %v, %v", status, err)
	}
	for name, do := range map[string]func() error{
		"NewKV":      func() error { _, err := clientv3.NewKV(client).Get(ctx, t.Name()); return err },
		"NewCluster": func() error { _, err := clientv3.NewCluster(client).MemberList(ctx); return err },
		"NewAuth":    func() error { _, err := clientv3.NewAuth(client).AuthStatus(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	own, err := etcd.New(etcd.Config{Endpoints: testbed.Shared.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	ctx := within(t, 20*time.Second)
	client := v3compat.Wrap(own)
	if got := client.Endpoints(); !slices.Equal(got, testbed.Shared.Endpoints()) {
		t.Errorf("endpoints are %v", got)
	}
	if _, err := client.Put(ctx, t.Name(), "v"); err != nil {
		t.Error(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if client.Ctx().Err() == nil {
		t.Error("Ctx goes on after Close")
	}
	if got, err := own.Get(ctx, etcd.GetRequest{Key: t.Name()}); err != nil || got.Count != 1 {
		t.Errorf("the wrapped client: %+v, %v", got, err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	ctx := within(t, 20*time.Second)
	if _, err := client.Put(ctx, t.Name(), "v"); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := client.Close(); err != context.Canceled {
		t.Errorf("the second Close: %v", err) // as client/v3's
	}
	if client.Ctx().Err() == nil {
		t.Error("Ctx goes on after Close")
	}
	_, err := client.Get(ctx, t.Name())
	if !clientv3.IsConnCanceled(err) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := clientv3.NewKV(client).Get(ctx, t.Name()); !clientv3.IsConnCanceled(err) {
		t.Errorf("after Close: %v", err)
	}
}

// A call that cannot reach a member waits for one as long as its context allows.
func TestCallsWaitForAMember(t *testing.T) {
	t.Parallel()
	server := etcdtest.StartProcess(t, etcdtest.Config{})
	client := connect(t, clientv3.Config{Endpoints: server.Endpoints(), MaxUnaryRetries: 1})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if _, err := client.Put(short, t.Name(), "v"); err != context.DeadlineExceeded {
		t.Errorf("the error is %v (%T)", err, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := client.Put(within(t, 20*time.Second), t.Name(), "v")
		done <- err
	}()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A call to the member of a given endpoint waits in the same way, and does not
// spin.
func TestStatusOfADeadEndpoint(t *testing.T) {
	t.Parallel()
	gone := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int32
	own, err := etcd.New(etcd.Config{
		Endpoints: testbed.Shared.Endpoints(), Retry: 1, RetrySleep: time.Millisecond,
		Hooks: etcd.Hooks{Retry: func(etcd.RetryInfo) { tries.Add(1) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	client := v3compat.Wrap(own)
	defer func() { _ = client.Close() }()
	if _, err := client.Status(within(t, time.Second), gone.Endpoint()); err != context.DeadlineExceeded {
		t.Errorf("the error is %v (%T)", err, err)
	}
	if n := tries.Load(); n < 3 || n > 60 {
		t.Errorf("%d tries in a second", n)
	}
}
