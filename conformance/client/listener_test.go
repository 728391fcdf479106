package client

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Over TLS etcd serves with Go's net/http unless its HTTP endpoints have a separate
// listener, and in plain text with grpc-go. The client must work the same over all
// of them.
func TestListeners(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]etcdtest.Config{
		"TCP":                 {},
		"TLS":                 {TLS: etcdtest.ServerTLS},
		"mutual TLS":          {TLS: etcdtest.MutualTLS},
		"TLS by grpc-go":      {TLS: etcdtest.MutualTLS, GRPCOnly: true},
		"unix socket":         {Unix: true},
		"unix socket, TLS":    {Unix: true, TLS: etcdtest.ServerTLS},
		"few streams":         {MaxConcurrentStreams: 2},
		"few streams, TLS":    {MaxConcurrentStreams: 2, TLS: etcdtest.ServerTLS},
		"TCP by grpc-go only": {GRPCOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.StartProcess(t, config)
			endpoint := s.Endpoints()[0]
			if path, ok := strings.CutPrefix(endpoint, "unix://"); ok && config.TLS != etcdtest.NoTLS {
				endpoint = "unixs://" + path // unix alone is plain text
			}
			listener(t, connect(t, etcd.Config{Endpoints: []string{endpoint}, TLS: s.ClientTLS()}))
		})
	}
}

func listener(t *testing.T, c *etcd.Client) {
	if err := c.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Run("big values both ways", func(t *testing.T) {
		for _, size := range []int{0, 1, 16 << 10, 64<<10 - 1, 64 << 10, 1 << 20} {
			value := bytes.Repeat([]byte{byte(size >> 3), 'x', 0}, size/3+1)[:size]
			key := fmt.Sprint("big", size)
			if _, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: value}); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if kv := stored(t, c, key); !bytes.Equal(kv.Value, value) {
				t.Errorf("stored %d bytes, want %d", len(kv.Value), size)
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		_, err := c.Put(t.Context(), etcd.PutRequest{Key: "k", Lease: 1234})
		wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
		_, err = c.Get(t.Context(), etcd.GetRequest{Key: "k", Revision: 1 << 40})
		wants(t, err, etcd.ErrFutureRevision, etcd.OutcomeRejected)
		_, err = c.Put(t.Context(), etcd.PutRequest{Key: "k", Value: make([]byte, 4<<20)})
		wants(t, err, etcd.ErrRequestTooLarge, etcd.OutcomeRejected)
		if kv := stored(t, c, "k"); kv.Version != 0 {
			t.Errorf("stored %+v", kv)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var calls sync.WaitGroup
		for i := range 32 {
			calls.Go(func() {
				key := fmt.Sprint("many/", i)
				for n := range 10 {
					if _, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: make([]byte, 100*i)}); err != nil {
						t.Error(err)
						return
					}
					resp, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
					if err != nil || len(resp.KVs) != 1 || resp.KVs[0].Version != int64(n+1) || len(resp.KVs[0].Value) != 100*i {
						t.Errorf("%s after %d puts: %+v, %v", key, n+1, resp, err)
						return
					}
				}
			})
		}
		calls.Wait()
	})
	t.Run("transaction and delete", func(t *testing.T) {
		resp := txn(t, c, etcd.TxnRequest{
			If:   []etcd.Compare{etcd.CompareVersion("many/0", etcd.Equal, 10)},
			Then: ops(etcd.DeleteRequest{Key: "many/", Prefix: true, PrevKV: true}),
		})
		if !resp.Succeeded || resp.Responses[0].Delete.Deleted != 32 || len(resp.Responses[0].Delete.PrevKVs) != 32 {
			t.Errorf("response %+v", resp)
		}
	})
	t.Run("range", func(t *testing.T) {
		fill(t, c, "range/", 300, 10_000)
		checkNumbered(t, collect(t, rangeOf(t, c, etcd.GetRequest{Key: "range/", Prefix: true})), "range/", 0, 299)
	})
	t.Run("cancelled calls", func(t *testing.T) {
		var calls sync.WaitGroup
		for i := range 50 {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
				defer cancel()
				_, err := c.Get(ctx, etcd.GetRequest{Key: "range/", Prefix: true, Limit: 50})
				if err != nil {
					wants(t, err, context.DeadlineExceeded, outcomeOf(err))
				}
			})
		}
		calls.Wait()
		if err := c.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
