package v3compat

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/mirror"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// overBothWays runs a test with an ordinary client, and with one whose connections
// are reset every few milliseconds throughout the test. c is a client that is not
// affected.
func overBothWays(t *testing.T, test func(t *testing.T, client *clientv3.Client, c *etcd.Client)) {
	t.Helper()
	t.Run("ordinary", func(t *testing.T) {
		t.Parallel()
		s := etcdtest.Start(t)
		test(t, connect(t, clientv3.Config{Endpoints: s.Endpoints()}), ours(t, s.Endpoints()))
	})
	t.Run("cut", func(t *testing.T) {
		t.Parallel()
		s := etcdtest.Start(t)
		proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
		client := connect(t, clientv3.Config{Endpoints: []string{proxy.Endpoint()}})
		stop := cutOften(proxy)
		defer func() {
			if n := stop(); n == 0 {
				t.Error("no connection was cut")
			}
		}()
		test(t, client, ours(t, s.Endpoints()))
	})
}

// cutOften resets all connections as soon as there are any, and then again and again
// until stop, which returns how many connections it has reset. Each pause is longer than
// the one before, from 50 ms on: on a busy machine a server needs 200 ms for a page, and
// regular cuts would meet every one of a call's 100 retries.
func cutOften(proxy *etcdtest.Proxy) (stop func() int) {
	done := make(chan struct{})
	var cutter sync.WaitGroup
	cut := 0
	cutter.Go(func() {
		for pause := time.Millisecond; ; {
			select {
			case <-time.After(pause):
			case <-done:
				return
			}
			if cut += proxy.Reset(); cut > 0 {
				pause = max(50*time.Millisecond, pause*9/8)
			}
		}
	})
	return func() int {
		close(done)
		cutter.Wait()
		return cut
	}
}

// A mirror of a prefix equals the prefix, even while it changes.
func TestMirror(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		const keys, changes = 2500, 200 // mirror reads 1000 at a time
		want := make(map[string]string)
		for i := 0; i < keys; i += 100 {
			var puts []etcd.Op
			for j := range 100 {
				key := fmt.Sprintf("m/%05d", i+j)
				puts, want[key] = append(puts, etcd.PutRequest{Key: key, Value: []byte("0")}), "0"
			}
			if _, err := c.Txn(t.Context(), etcd.TxnRequest{Then: puts}); err != nil {
				t.Fatal(err)
			}
		}
		store(t, c, "other", "0")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		syncer := mirror.NewSyncer(client, "m/", 0)
		pages, failed := syncer.SyncBase(ctx)
		got := make(map[string]string)
		for page := range pages {
			for _, kv := range page.Kvs {
				got[string(kv.Key)] = string(kv.Value)
			}
		}
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("the base has %d keys of %d", len(got), len(want))
		}

		updates := syncer.SyncUpdates(ctx)
		for i := range changes {
			key := fmt.Sprintf("m/%05d", i)
			if i%3 == 0 {
				erase(t, c, key)
				delete(want, key)
			} else {
				store(t, c, key, "1")
				want[key] = "1"
			}
		}
		last := store(t, c, "m/end", "")
		want["m/end"] = ""
		for revision := int64(0); revision < last; {
			resp := next(t, updates)
			if err := resp.Err(); err != nil {
				t.Fatal(err)
			}
			for _, ev := range resp.Events {
				if ev.Kv.ModRevision <= revision {
					t.Fatalf("revision %d after %d", ev.Kv.ModRevision, revision)
				}
				revision = ev.Kv.ModRevision
				if ev.Type == clientv3.EventTypeDelete {
					delete(got, string(ev.Kv.Key))
				} else {
					got[string(ev.Kv.Key)] = string(ev.Kv.Value)
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Error("the mirror is not the prefix")
		}
		cancel()
		isClosed(t, updates)
	})
}
