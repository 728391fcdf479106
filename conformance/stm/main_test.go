package stm

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
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
	return testbed.Connect(t, config), requests
}

// start is connect to a server of the test's own.
func start(t *testing.T) (*etcd.Client, *atomic.Int64) {
	t.Helper()
	return connect(t, etcd.Config{}, etcdtest.Start(t).Endpoints()...)
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
