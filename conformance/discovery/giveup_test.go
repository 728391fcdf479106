package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
)

// Regression: a registration whose Close went on in the background deleted the key of the next
// one of its Coordinator, which has the same lease.
func TestRegisterWhileFormerCloses(t *testing.T) {
	t.Parallel()
	var config etcd.Config
	f, plain, name := testbed.WithFaults(t, &config), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, testbed.Connect(t, config), concurrency.Config{})
	a := discovery.Instance{Service: name, ID: "a", Addr: "1"}
	first := register(t, co, a)
	hit := f.Arm(onefault.Late, name)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := first.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	<-hit // its request is held back, and it is about to make another
	a.Addr = "2"
	second := register(t, co, a)
	closeNow(t, first)
	f.Deliver(t)
	if kv, ok := get(t, plain, name+"/a"); !ok || kv.ModRevision != second.State().Revision || second.State().Again > 0 {
		t.Errorf("the key of the second: %+v; %+v", kv, second.State())
	}
	closeNow(t, second)
	if _, ok := get(t, plain, name+"/a"); ok {
		t.Error("the key is there after Close")
	}
}

// Whenever Register, Update and Close are given up, neither a key nor a watch stays.
func TestGivenUpAnytime(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	impatiently := func(f func(context.Context)) {
		ctx, cancel := testbed.Impatient(t, 3*time.Millisecond)
		defer cancel()
		f(ctx)
	}
	var calls sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d"} {
		calls.Go(func() {
			for range 100 {
				var reg *discovery.Registration
				var err error
				impatiently(func(ctx context.Context) {
					reg, err = discovery.Register(ctx, co, discovery.Instance{Service: name, ID: id, Addr: "1"})
				})
				if err != nil {
					continue
				}
				if rand.N(2) == 0 {
					impatiently(func(ctx context.Context) { _ = reg.Update(ctx, discovery.Instance{Addr: "2"}) })
				}
				impatiently(func(ctx context.Context) { _ = reg.Close(ctx) })
			}
		})
	}
	calls.Wait()
	testbed.Eventually(t, "the keys to go", func() bool {
		resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name, Prefix: true, CountOnly: true})
		return err == nil && resp.Count == 0 && c.Stats().Watches == 0
	})
}
