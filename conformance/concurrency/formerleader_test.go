package concurrency

import (
	"errors"
	"slices"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
)

// The leader is stopped for longer than the leases live, and goes on. It believes then that
// they have expired, since their renewals went to its successor, and old servers let it revoke
// them. Whether they do or not, the holder's belief and the key go together, and the next
// one holds only after it.
func TestFormerLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Size: 3, Config: etcdtest.Config{Heartbeat: 50 * time.Millisecond}})
	ctx := within(t, time.Minute)
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
	c := connect(t, etcd.Config{Endpoints: slices.Clone(others)})
	co := coordinate(t, c, concurrency.Config{TTL: ttl})
	other := coordinate(t, connect(t, etcd.Config{Endpoints: others}), concurrency.Config{TTL: ttl})
	l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	watched(t, c)
	waiting := make(chan result[*concurrency.Lock], 1)
	go func() {
		l, err := other.Mutex("m", concurrency.MutexConfig{}).Lock(ctx)
		waiting <- result[*concurrency.Lock]{l, err}
	}()
	plain := connect(t, etcd.Config{Endpoints: others})
	waiters(t, plain, "m", 2)
	if err := leader.Stop(); err != nil {
		t.Fatal(err)
	}
	over := time.Now().Add(ttl + time.Second)
	eventually(t, "the leases to be over for the former leader", func() bool { return time.Now().After(over) })
	if err := leader.Continue(); err != nil {
		t.Fatal(err)
	}
	direct := connect(t, etcd.Config{Endpoints: leader.Endpoints()})
	eventually(t, "the former leader to serve again", func() bool {
		_, err := direct.Get(ctx, etcd.GetRequest{Key: "x"})
		return err == nil
	})
	eventually(t, "the key and the holder's belief to agree", func() bool {
		kvs := keys(t, plain, "m")
		return (len(kvs) > 0 && kvs[0].CreateRevision == l.Token()) == (l.Context().Err() == nil)
	})
	select {
	case r := <-waiting:
		if l.Context().Err() == nil {
			t.Fatalf("two hold the lock: %v", r.err)
		}
		waiting <- r
	default:
	}
	if err := l.Unlock(ctx); err != nil && !errors.Is(err, concurrency.ErrLockLost) {
		t.Error(err)
	}
	next, err := await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, next)
}
