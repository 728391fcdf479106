// Package namespaced has the tests of the folders beside it run inside a namespace: with
// ETCDTEST_NAMESPACE=prefix in the environment, the clients that tests are given are views,
// and their neighbours must stay as they were. "make test-namespace" does that.
package namespaced

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
)

// Prefix is what the keys of all tests begin with; empty: they run as ever.
var Prefix = os.Getenv("ETCDTEST_NAMESPACE")

// View returns the view of c, which was made with config, in which a test runs: c itself
// without Prefix. When the test is over, the view's neighbours are compared with what they
// were before.
func View(t testing.TB, c *etcd.Client, config etcd.Config) *etcd.Client {
	t.Helper()
	if Prefix == "" {
		return c
	}
	kvs := settle(config)
	t.Cleanup(func() { compare(t, config, kvs) })
	view := c.Namespace(Prefix)
	wholes.Store(view, c)
	t.Cleanup(func() { wholes.Delete(view) })
	return view
}

// wholes has the client of each view.
var wholes sync.Map // of *etcd.Client by *etcd.Client

// Whole returns the client that a test must close to close c, which View has returned: the
// Close of a view does nothing.
func Whole(c *etcd.Client) *etcd.Client {
	if whole, ok := wholes.Load(c); ok {
		return whole.(*etcd.Client)
	}
	return c
}

// Neighbours are keys before, around and behind a prefix.
func Neighbours(prefix string) []string {
	last := len(prefix) - 1
	return slices.DeleteFunc([]string{
		"\x00", prefix[:last] + "\x00", prefix[:last] + string([]byte{prefix[last] - 1}), prefix[:last] + string([]byte{prefix[last] - 1, 0xff, 'k'}),
		prefix, // the key that is the prefix is not in the view
		prefix[:last] + string([]byte{prefix[last] + 1}), prefix[:last] + string([]byte{prefix[last] + 1, 0}), prefix[:last] + "\xff", "\xff\xff",
	}, func(key string) bool { return len(key) > len(prefix) && strings.HasPrefix(key, prefix) })
}

var value = []byte("neighbour")

// aside calls f with a separate client, so that a test's client is as unused as ever. A
// cluster that cannot be reached, or asks for credentials, has no neighbours.
func aside(config etcd.Config, f func(ctx context.Context, c *etcd.Client) error) error {
	c, err := etcd.New(etcd.Config{Endpoints: config.Endpoints, TLS: config.TLS, Retry: -1})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return f(ctx, c)
}

// settle gives a cluster the neighbours that it does not have, and returns all of them. It
// asks each time: a server may have the address of one that has ended.
func settle(config etcd.Config) (kvs []etcd.KeyValue) {
	_ = aside(config, func(ctx context.Context, c *etcd.Client) error {
		for _, key := range Neighbours(Prefix) {
			resp, err := c.Txn(ctx, etcd.TxnRequest{
				If:   []etcd.Compare{etcd.Missing(key)},
				Then: []etcd.Op{etcd.PutRequest{Key: key, Value: value}, etcd.GetRequest{Key: key}},
				Else: []etcd.Op{etcd.GetRequest{Key: key, CountOnly: true}, etcd.GetRequest{Key: key}},
			})
			if err != nil {
				return err
			}
			kvs = append(kvs, resp.Responses[1].Get.KVs...)
		}
		return nil
	})
	return kvs
}

func compare(t testing.TB, config etcd.Config, kvs []etcd.KeyValue) {
	t.Helper()
	_ = aside(config, func(ctx context.Context, c *etcd.Client) error {
		for _, want := range kvs {
			got, err := c.Get(ctx, etcd.GetRequest{Key: want.Key})
			if err != nil {
				return err // the test has ended its server
			}
			if kv, ok := got.First(); !ok || kv.Version != 1 || kv.ModRevision != want.ModRevision || string(kv.Value) != string(value) {
				if then, err := c.Get(ctx, etcd.GetRequest{Key: want.Key, Revision: want.ModRevision}); err != nil || len(then.KVs) == 0 {
					return err // the test has given the server another store, in which it never was
				}
				t.Errorf("a neighbour of the namespace was touched: %q was %+v and is %+v", want.Key, want, kv)
			}
		}
		return nil
	})
}
