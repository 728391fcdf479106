package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/peertest"
)

// A context says of its calls how writes are retried.
func TestWithRetryWrites(t *testing.T) {
	put := func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err }
	writes := map[string]func(context.Context, *Client) error{
		"Put": put,
		"Delete": func(ctx context.Context, c *Client) error {
			_, err := c.Delete(ctx, DeleteRequest{Key: "k"})
			return err
		},
		"Txn": func(ctx context.Context, c *Client) error {
			_, err := c.Txn(ctx, TxnRequest{Then: []Op{PutRequest{Key: "k"}}})
			return err
		},
		"Batch": func(ctx context.Context, c *Client) error { return c.Batch(ctx, PutRequest{Key: "k"}).Err() },
	}
	for name, write := range writes {
		for _, coalesce := range []Coalesce{CoalesceReads, CoalesceAll} {
			for _, test := range []struct {
				config, ctx RetryWrites
				again       bool
			}{
				{SafeOnly, AtLeastOnce, true},
				{AtLeastOnce, SafeOnly, false},
				{AtLeastOnce, AtLeastOnce, true},
				{AtLeastOnce, RetryWrites(7), false},
			} {
				synctest.Test(t, func(t *testing.T) {
					c, m := scriptedBy(t, Config{RetryWrites: test.config, Coalesce: coalesce}, lost, lost, ok)
					err := write(WithRetryWrites(t.Context(), test.ctx), c)
					calls := 1
					if test.again {
						calls = 3
					}
					if n := m.Counts().Calls; n != calls || (err == nil) != test.again || MaybeApplied(err) == test.again {
						t.Errorf("%s, %v, the client %v, the context %v: %d calls, %v", name, coalesce, test.config, test.ctx, n, err)
					}
				})
			}
		}
	}

	// Other calls are retried as the client says.
	synctest.Test(t, func(t *testing.T) {
		c, m := scriptedBy(t, Config{}, lost, ok)
		_ = WithRetryWrites(t.Context(), AtLeastOnce)
		if err := put(t.Context(), c); !MaybeApplied(err) || m.Counts().Calls != 1 {
			t.Errorf("%v, %+v", err, m.Counts())
		}
	})
	c, _ := scriptedBy(t, Config{}, ok)
	//lint:ignore SA1012 it is what is tested
	if err := put(WithRetryWrites(nil, AtLeastOnce), c); !errors.Is(err, ErrInvalidRequest) {
		t.Errorf("a nil context: %v", err)
	}
}

// A write that is retried otherwise shares no request with the client's others: it does
// not queue with them.
func TestRetriedWritesShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := peertest.NewCluster("a:1")
		m := cluster.Member("a:1")
		m.Answer(silence)
		c := scripted(t, cluster, Config{Coalesce: CoalesceAll})
		ctx, cancel := context.WithCancel(t.Context())
		var puts sync.WaitGroup
		defer puts.Wait()
		defer cancel()
		put := func(ctx context.Context, key string) {
			puts.Go(func() { _, _ = c.Put(ctx, PutRequest{Key: key}) })
		}
		for i := range 500 {
			put(ctx, fmt.Sprint(i))
		}
		synctest.Wait()
		sent := m.Counts().Calls
		put(ctx, "waits")
		synctest.Wait()
		if n := m.Counts().Calls; n != sent {
			t.Fatalf("500 writes do not fill the window: %d of them were sent, and then %d", sent, n)
		}
		put(WithRetryWrites(ctx, SafeOnly), "as the others")
		synctest.Wait()
		if n := m.Counts().Calls; n != sent {
			t.Errorf("a write that is retried like the others was sent alone")
		}
		put(WithRetryWrites(ctx, AtLeastOnce), "by itself")
		synctest.Wait()
		if n := m.Counts().Calls; n != sent+1 {
			t.Errorf("a write that is retried otherwise was not sent: %d calls, then %d", sent, n)
		}
	})
}
