package idempotent

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/leaktest"
)

var slow = flag.Bool("slow", false, "run the long variants")

// The server that most tests share: a child process, so that it does not run with the race
// detector. A test uses only names that begin with its ownName, and compacts nothing.
var shared *etcdtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	shared, err = etcdtest.NewProcess(etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.Close() }()
	return leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/idempotent.", "silly.store/etcd/concurrency.")...)
}

// connect makes a client that is closed with the test, of the shared server unless the
// configuration has endpoints.
func connect(t testing.TB, config etcd.Config) *etcd.Client {
	t.Helper()
	if config.Endpoints == nil {
		config.Endpoints = shared.Endpoints()
	}
	c, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// faulty makes a client whose requests can get faults.
func faulty(t testing.TB) (*etcd.Client, *onefault.Faults) {
	t.Helper()
	f := onefault.New(t)
	return connect(t, etcd.Config{DialContext: f.Dial, RetrySleep: time.Millisecond, Timeout: 500 * time.Millisecond}), f
}

// open makes a Writer of the client, with its own coordinator. Both are closed with the
// test.
func open(t testing.TB, c *etcd.Client, config idempotent.Config) (*idempotent.Writer, *concurrency.Coordinator) {
	t.Helper()
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := idempotent.NewWriter(within(t), co, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = w.Close(ctx) // a test may have cut it off
		_ = co.Close(ctx)
	})
	return w, co
}

// within is a context that ends a test's waits long before go test would.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

var runs atomic.Int64

// ownName is the name for one run of one test.
func ownName(t testing.TB) string {
	return fmt.Sprintf("%s.%d", strings.NewReplacer("/", ".", " ", "-").Replace(t.Name()), runs.Add(1))
}

// putOf is a transaction that puts a key: the key's version tells how often it was applied.
func putOf(key string) etcd.TxnRequest {
	return etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte("v")}}}
}

// get reads a key; the zero KeyValue if there is none.
func get(t testing.TB, c *etcd.Client, key string) etcd.KeyValue {
	t.Helper()
	resp, err := c.Get(within(t), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	kv, _ := resp.First()
	return kv
}

// count returns how many keys are below a prefix.
func count(t testing.TB, c *etcd.Client, prefix string) int64 {
	t.Helper()
	resp, err := c.Get(within(t), etcd.GetRequest{Key: prefix, Prefix: true, CountOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Count
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// outcome is what a call has returned.
type outcome struct {
	result *idempotent.Result
	err    error
}

// async runs f and returns the channel for its outcome.
func async(f func() (*idempotent.Result, error)) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		result, err := f()
		done <- outcome{result, err}
	}()
	return done
}
