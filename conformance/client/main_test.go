package client

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

var slow = flag.Bool("slow", false, "what is scaled down otherwise takes its minutes: examples that wait, cuts by the ten thousand, many leases, a slow reader (make test-slow)")

func TestMain(m *testing.M) {
	flag.Parse()
	testbed.Main(m, testbed.Config{Children: map[string]func(context.Context, []string) error{"outage": outageClient, "paused": pausedClient}})
}

// What the tests of this folder use by the hundred.
var (
	connect    = testbed.Connect
	within     = testbed.Within
	put        = testbed.Put
	eventually = testbed.Eventually
)

// private starts a server for one test, and a client for it.
func private(t testing.TB, server etcdtest.Config, config etcd.Config) (*etcdtest.Server, *etcd.Client) {
	t.Helper()
	s := etcdtest.StartProcess(t, server)
	config.Endpoints = s.Endpoints()
	config.TLS = s.ClientTLS()
	return s, connect(t, config)
}

var runs atomic.Int64

// ownKeys is a prefix for the keys of one run of one test.
func ownKeys(t testing.TB) string {
	return fmt.Sprintf("%s.%d/", t.Name(), runs.Add(1))
}

func get(t testing.TB, c *etcd.Client, req etcd.GetRequest) *etcd.GetResponse {
	t.Helper()
	resp, err := c.Get(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// stored returns the current pair; its Version is 0 if there is none.
func stored(t testing.TB, c *etcd.Client, key string) etcd.KeyValue {
	t.Helper()
	if kvs := get(t, c, etcd.GetRequest{Key: key}).KVs; len(kvs) > 0 {
		return kvs[0]
	}
	return etcd.KeyValue{}
}

// keysOf joins the keys without their prefix.
func keysOf(kvs []etcd.KeyValue, prefix string) string {
	names := make([]string, len(kvs))
	for i, kv := range kvs {
		names[i] = strings.TrimPrefix(kv.Key, prefix)
	}
	return strings.Join(names, " ")
}

// refused checks the properties of every request that the client itself refuses.
func refused(t testing.TB, err, sentinel error, text string) {
	t.Helper()
	e := wants(t, err, sentinel, etcd.OutcomeNotSent)
	if !strings.Contains(err.Error(), text) {
		t.Errorf("the error does not say %q: %v", text, err)
	}
	if e != nil && e.Attempts != 0 {
		t.Errorf("%d attempts were made: %v", e.Attempts, err)
	}
}

// wants checks the sentinel and the outcome of an error.
func wants(t testing.TB, err, sentinel error, outcome etcd.Outcome) *etcd.Error {
	t.Helper()
	var e *etcd.Error
	if !errors.As(err, &e) {
		t.Errorf("error %v (%T), want an *etcd.Error that is %v", err, err, sentinel)
		return nil
	}
	if !errors.Is(err, sentinel) {
		t.Errorf("error %v, want one that is %v", err, sentinel)
	}
	if e.Outcome != outcome {
		t.Errorf("outcome %v, want %v: %v", e.Outcome, outcome, err)
	}
	return e
}

// async runs f and returns the channel for its error.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// await returns the result of async's f; it waits no longer than a test may hang.
func await(t testing.TB, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
		return nil
	}
}
