package grpcresolver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/discovery/grpcresolver"
	"silly.store/etcd/etcdtest"
)

// A gRPC client balances over instances while they come, go and crash, and while etcd is
// away.
func TestBalance(t *testing.T) {
	t.Parallel()
	co, name := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{}), testbed.OwnName(t)
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	conn := dial(t, connect(t, proxy.Endpoint()), name, "round_robin")
	a := serve(t, co, discovery.Instance{Service: name, ID: "a"})
	b := serve(t, co, discovery.Instance{Service: name, ID: "b"})
	crashing := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{})
	c := serve(t, crashing, discovery.Instance{Service: name, ID: "c"})
	answer(t, conn, a, b, c)

	d := serve(t, co, discovery.Instance{Service: name, ID: "d"}) // it comes
	answer(t, conn, a, b, c, d)
	if err := a.reg.Close(testbed.Within(t, 20*time.Second)); err != nil { // it goes
		t.Fatal(err)
	}
	answer(t, conn, b, c, d)
	c.grpc.Stop() // it crashes: until its lease is over, gRPC avoids it by itself
	answers(t, conn, 1, b, d)

	proxy.Silence(true)
	proxy.Reset()
	answer(t, conn, b, d)
	if err := crashing.Close(testbed.Within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	e := serve(t, co, discovery.Instance{Service: name, ID: "e"})
	answer(t, conn, b, d) // nobody knows of it
	proxy.Silence(false)
	proxy.Reset()
	answer(t, conn, b, d, e)
}

// Dialling does not wait for etcd. Calls fail with the reason, those that wait for ready wait.
func TestEtcdAwayAtTheStart(t *testing.T) {
	t.Parallel()
	co, name := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{}), testbed.OwnName(t)
	a := serve(t, co, discovery.Instance{Service: name, ID: "a"})
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	proxy.Silence(true)
	begun := time.Now()
	conn := dial(t, connect(t, proxy.Endpoint()), name, "round_robin")
	conn.Connect()
	if d := time.Since(begun); d > 5*time.Second { // etcd stays away until the proxy speaks
		t.Errorf("dialling took %v", d)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := call(testbed.Within(t, 30*time.Second), conn, grpc.WaitForReady(true))
		waiting <- err
	}()
	if _, err := call(testbed.Within(t, 20*time.Second), conn); status.Code(err) != codes.Unavailable {
		t.Errorf("a call without etcd: %v", err)
	}
	proxy.Silence(false)
	proxy.Reset()
	answer(t, conn, a)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// A connection that is idle has no watch, and makes another one when it is used again.
func TestIdle(t *testing.T) {
	t.Parallel()
	co, name := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{}), testbed.OwnName(t)
	a := serve(t, co, discovery.Instance{Service: name, ID: "a"})
	conn := dial(t, testbed.Connect(t, etcd.Config{}), name, "round_robin", grpc.WithIdleTimeout(50*time.Millisecond))
	for range 3 {
		answer(t, conn, a)
		for s := conn.GetState(); s.String() != "IDLE"; s = conn.GetState() {
			if !conn.WaitForStateChange(testbed.Within(t, 20*time.Second), s) {
				t.Fatal("the connection is not idle")
			}
		}
	}
}

// No instance means that calls fail, with the only error that round_robin has for it.
func TestEmpty(t *testing.T) {
	t.Parallel()
	co, name := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{}), testbed.OwnName(t)
	conn := dial(t, testbed.Connect(t, etcd.Config{}), name, "round_robin")
	if _, err := call(testbed.Within(t, 20*time.Second), conn); status.Code(err) != codes.Unavailable {
		t.Errorf("without instances: %v", err)
	}
	a := serve(t, co, discovery.Instance{Service: name, ID: "a"})
	answer(t, conn, a)
	if err := a.reg.Close(testbed.Within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	ctx := testbed.Within(t, 20*time.Second)
	for ctx.Err() == nil {
		if _, err := call(ctx, conn); status.Code(err) == codes.Unavailable {
			if !strings.Contains(err.Error(), "no children to pick from") {
				t.Errorf("the documentation says something else than %v", err)
			}
			return
		}
	}
	t.Error("calls still succeed")
}

// While a service has no instances, the error of a call names it, with gRPC's default policy.
func TestEmptyIsNamed(t *testing.T) {
	t.Parallel()
	co, name := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{}), testbed.OwnName(t)
	conn := dial(t, testbed.Connect(t, etcd.Config{}), name, "pick_first")
	named := func() bool {
		_, err := call(testbed.Within(t, 20*time.Second), conn)
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), `the service "`+name+`" has no instances`)
	}
	testbed.Eventually(t, "an error that names the service", named)
	a := serve(t, co, discovery.Instance{Service: name, ID: "a"})
	ctx := testbed.Within(t, 20*time.Second)
	if _, err := call(ctx, conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if err := a.reg.Close(ctx); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "an error that names the service, after the last instance is gone", named)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	for _, config := range []discovery.WatchConfig{{Service: "a"}, {MinKeep: 2}} {
		if _, err := grpcresolver.NewBuilder(c, config); !errors.Is(err, etcd.ErrInvalidConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	if _, err := grpcresolver.NewBuilder(nil, discovery.WatchConfig{}); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("without a client: %v", err)
	}
	conn := dial(t, c, "", "round_robin")
	if _, err := call(testbed.Within(t, 20*time.Second), conn); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a target without a service: %v", err)
	}
}
