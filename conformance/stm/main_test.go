package stm

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/stm.")...))
}

// connect returns a client of the endpoints, and a count of its requests.
func connect(t *testing.T, config etcd.Config, endpoints ...string) (*etcd.Client, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	config.Endpoints = endpoints
	config.Hooks.Attempt = hookOf(requests)
	c, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return namespaced.View(t, c, config), requests
}

// start is connect to a server of the test's own.
func start(t *testing.T) (*etcd.Client, *atomic.Int64) {
	t.Helper()
	return connect(t, etcd.Config{}, etcdtest.Start(t).Endpoints()...)
}

func store(t *testing.T, c *etcd.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func erase(t *testing.T, c *etcd.Client, key string) {
	t.Helper()
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: key}); err != nil {
		t.Fatal(err)
	}
}

// stored returns the keys below prefix as "key=value".
func stored(t *testing.T, c *etcd.Client, prefix string) (list []string) {
	t.Helper()
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: prefix, Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	return texts(resp.KVs)
}

func texts(kvs []etcd.KeyValue) (list []string) {
	for _, kv := range kvs {
		list = append(list, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return list
}
