package v3compat

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

// A Watcher that code makes from the client has client/v3's own loop, on top of our
// watches.
func TestNewWatcher(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		w := clientv3.NewWatcher(client)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := store(t, c, "a", "0")
		ch := w.Watch(ctx, "a", clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
		if resp := next(t, ch); !resp.Created || resp.Header.Revision != first {
			t.Errorf("%+v: %v", resp, resp.Err())
		}
		other := w.Watch(t.Context(), "", clientv3.WithPrefix(), clientv3.WithFilterPut())
		all := w.Watch(t.Context(), "a", clientv3.WithFromKey(), clientv3.WithRev(first))
		store(t, c, "a", "1")
		store(t, c, "b", "2")
		last := erase(t, c, "a")
		if got := seen(t, ch, "", 2); got != "PUT a=1 (was 0), DELETE a (was 1)" {
			t.Error(got)
		}
		if got := seen(t, other, "", 1); got != "DELETE a" {
			t.Error(got)
		}
		if got := seen(t, all, "", 4); got != "PUT a=0, PUT a=1, PUT b=2, DELETE a" {
			t.Error(got)
		}
		if err := w.RequestProgress(t.Context()); err != nil {
			t.Error(err)
		}
		for _, ch := range []clientv3.WatchChan{ch, other, all} {
			if resp := next(t, ch); !resp.IsProgressNotify() || resp.Header.Revision != last {
				t.Errorf("%+v", resp)
			}
		}
		cancel()
		isClosed(t, ch)

		if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: last}); err != nil {
			t.Fatal(err)
		}
		old := w.Watch(t.Context(), "a", clientv3.WithRev(first))
		if resp := next(t, old); resp.Err() != rpctypes.ErrCompacted || resp.CompactRevision != last {
			t.Errorf("%+v", resp)
		}
		isClosed(t, old)
		empty := w.Watch(t.Context(), "b", clientv3.WithRange("a"))
		if resp := next(t, empty); !resp.Canceled || resp.Err() == nil {
			t.Errorf("%+v", resp)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The same for a Lease.
func TestNewLease(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, _ *etcd.Client) {
		l := clientv3.NewLease(client)
		// client/v3 waits half a second after each cut, and those of the first seconds come
		// more often than that.
		lease, err := l.Grant(within(t, 20*time.Second), 8)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := l.KeepAlive(t.Context(), lease.ID)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // about a TTL
			renewed(t, ch, lease.ID)
		}
		if _, err := l.KeepAliveOnce(within(t, 20*time.Second), lease.ID); err != nil {
			t.Error(err)
		}
		for { // a retried Revoke may find the lease already gone
			_, err := l.Revoke(within(t, 20*time.Second), lease.ID)
			if err == nil || err == rpctypes.ErrLeaseNotFound {
				break
			}
		}
		drained(t, ch)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
