package concurrency

import (
	"errors"
	"slices"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// The leader is stopped for longer than the leases live, and goes on. It believes then that
// they have expired, since their renewals went to its successor, and old servers let it revoke
// them. Whether they do or not, the holder's belief and the key go together, and the next
// one holds only after it.
func TestFormerLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Size: 3, Config: etcdtest.Config{Heartbeat: 50 * time.Millisecond}})
	ctx := testbed.Within(t, time.Minute)
	leader, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, m := range cluster.Members() {
		if m != leader {
			others = append(others, m.Endpoints()...)
		}
	}
	const ttl = 3 * time.Second
	c := testbed.Connect(t, etcd.Config{Endpoints: slices.Clone(others)})
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: ttl})
	other := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{Endpoints: others}), concurrency.Config{TTL: ttl})
	l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	watched(t, c)
	waiting := make(chan testbed.Result[*concurrency.Lock], 1)
	go func() {
		l, err := other.Mutex("m", concurrency.MutexConfig{}).Lock(ctx)
		waiting <- testbed.Result[*concurrency.Lock]{Value: l, Err: err}
	}()
	plain := testbed.Connect(t, etcd.Config{Endpoints: others})
	waiters(t, plain, "m", 2)
	if err := leader.Stop(); err != nil {
		t.Fatal(err)
	}
	over := time.Now().Add(ttl + time.Second)
	testbed.Eventually(t, "the leases to be over for the former leader", func() bool { return time.Now().After(over) })
	if err := leader.Continue(); err != nil {
		t.Fatal(err)
	}
	direct := testbed.Connect(t, etcd.Config{Endpoints: leader.Endpoints()})
	testbed.Eventually(t, "the former leader to serve again", func() bool {
		_, err := direct.Get(ctx, etcd.GetRequest{Key: "x"})
		return err == nil
	})
	testbed.Eventually(t, "the key and the holder's belief to agree", func() bool {
		kvs := keys(t, plain, "m")
		return (len(kvs) > 0 && kvs[0].CreateRevision == l.Token()) == (l.Context().Err() == nil)
	})
	select {
	case r := <-waiting:
		if l.Context().Err() == nil {
			t.Fatalf("two hold the lock: %v", r.Err)
		}
		waiting <- r
	default:
	}
	if err := l.Unlock(ctx); err != nil && !errors.Is(err, concurrency.ErrLockLost) {
		t.Error(err)
	}
	next, err := testbed.Await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, next)
}
