package v3compat

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// A cache that knows when it is stale: each read through it sees the last write of
// any client.
func TestLeasing(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		const rounds = 15
		ctx := within(t, time.Minute)
		caches := make([]clientv3.KV, 2)
		for i := range caches {
			persist(ctx, t, "leasing.NewKV", func() error {
				kv, closeKV, err := leasing.NewKV(client, "leases/")
				if err == nil {
					caches[i] = kv
					t.Cleanup(closeKV)
				}
				return err
			})
		}
		for round := range rounds {
			writer, want := caches[round%2], fmt.Sprint(round)
			persist(ctx, t, "Put", func() error { _, err := writer.Put(ctx, "cached", want); return err })
			for i, kv := range caches {
				for range 3 { // the later ones are served from memory
					var got *clientv3.GetResponse
					if !persist(ctx, t, "Get", func() (err error) { got, err = kv.Get(ctx, "cached"); return err }) {
						return
					}
					if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != want {
						t.Errorf("cache %d has %v, not %s", i, got.Kvs, want)
					}
				}
			}
		}
		persist(ctx, t, "Txn", func() error {
			_, err := caches[0].Txn(ctx).If(clientv3.Compare(clientv3.Version("cached"), ">", 0)).Then(clientv3.OpPut("cached", "by txn")).Commit()
			return err
		})
		if got, err := c.Get(ctx, etcd.GetRequest{Key: "cached"}); err != nil || string(got.KVs[0].Value) != "by txn" {
			t.Errorf("stored is %+v, %v", got, err)
		}
		persist(ctx, t, "Delete", func() error { _, err := caches[1].Delete(ctx, "cached"); return err })
		persist(ctx, t, "Get", func() error {
			got, err := caches[0].Get(ctx, "cached")
			if err == nil && len(got.Kvs) != 0 {
				t.Errorf("what was deleted is cached: %v", got.Kvs)
			}
			return err
		})
	})
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		ctx := within(t, time.Minute)
		client.KV = namespace.NewKV(client.KV, "inside/")
		client.Watcher = namespace.NewWatcher(client.Watcher, "inside/")
		client.Lease = namespace.NewLease(client.Lease, "inside/")

		events := client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		if r := <-events; !r.Created {
			t.Fatalf("the first response is %+v", r)
		}
		if _, err := c.Put(ctx, etcd.PutRequest{Key: "outside"}); err != nil {
			t.Fatal(err)
		}
		var lease *clientv3.LeaseGrantResponse
		persist(ctx, t, "Grant", func() (err error) { lease, err = client.Grant(ctx, 30); return err })
		const keys = 20
		for i := range keys {
			persist(ctx, t, "Txn", func() error { // once, whatever the answer's way
				_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Version(fmt.Sprint(i)), "=", 0)).
					Then(clientv3.OpPut(fmt.Sprint(i), "v", clientv3.WithLease(lease.ID))).Commit()
				return err
			})
		}
		for i := 0; i < keys; {
			r := <-events
			if r.Err() != nil || len(r.Events) == 0 && !r.IsProgressNotify() {
				t.Fatalf("after %d events %+v, %v", i, r, r.Err())
			}
			for _, e := range r.Events {
				if string(e.Kv.Key) != fmt.Sprint(i) {
					t.Errorf("event %d is of %s", i, e.Kv.Key)
				}
				i++
			}
		}
		if got, err := c.Get(ctx, etcd.GetRequest{Key: "inside/", Prefix: true, CountOnly: true}); err != nil || got.Count != keys {
			t.Errorf("stored %+v, %v", got, err)
		}
		if r, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()); err != nil || len(r.Keys) != keys {
			t.Errorf("on the lease %+v, %v", r, err)
		}
		if got, err := client.Get(ctx, "", clientv3.WithFromKey()); err != nil || got.Count != keys {
			t.Errorf("inside %v, %v", got, err)
		}
	})
}

func TestOrdering(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, _ *etcd.Client) {
		ctx := within(t, time.Minute)
		kv := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
		for i := range 20 {
			persist(ctx, t, "Put", func() error { _, err := kv.Put(ctx, "k", fmt.Sprint(i)); return err })
			persist(ctx, t, "Get", func() error { _, err := kv.Get(ctx, "k", clientv3.WithSerializable()); return err })
			persist(ctx, t, "Txn", func() error { _, err := kv.Txn(ctx).Then(clientv3.OpGet("k")).Commit(); return err })
		}
	})
}

// ordering detects a member that lags behind, and another one answers.
func TestOrderingOfALaggingMember(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{PeerProxies: true})
	client := connect(t, clientv3.Config{Endpoints: cluster.Endpoints()})
	ctx := within(t, time.Minute)
	kv := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
	if _, err := kv.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	leader, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	behind := cluster.Members()[0]
	if behind == leader {
		behind = cluster.Members()[1]
	}
	if err := cluster.Isolate(ctx, behind); err != nil {
		t.Fatal(err)
	}
	// Until it notices, the isolated member accepts writes that never commit.
	client.SetEndpoints(leader.Endpoints()...)
	if _, err := connect(t, clientv3.Config{Endpoints: leader.Endpoints()}).Put(ctx, "k", "later"); err != nil {
		t.Fatal(err)
	}
	if r, err := kv.Get(ctx, "k"); err != nil || string(r.Kvs[0].Value) != "later" {
		t.Fatalf("got %v, %v", r, err)
	}
	client.SetEndpoints(behind.Endpoints()...)
	for err = nil; err == nil; { // until the connections have moved
		_, err = kv.Get(ctx, "k", clientv3.WithSerializable())
	}
	if !errors.Is(err, ordering.ErrNoGreaterRev) {
		t.Errorf("from the member behind: %v", err)
	}
	client.SetEndpoints(leader.Endpoints()...)
	for ctx.Err() == nil {
		var r *clientv3.GetResponse
		if r, err = kv.Get(ctx, "k", clientv3.WithSerializable()); err == nil && string(r.Kvs[0].Value) == "later" {
			break
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("from the leader: %v", err)
	}
}
