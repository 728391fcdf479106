package concurrency

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
)

// The server that most tests share: a child process, so that it does not run with the race
// detector. A test uses only names that begin with its ownName, and compacts nothing.
var shared *etcdtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(ctlEnv) != "" {
		return ctlMain()
	}
	if endpoints := os.Getenv(childEnv); endpoints != "" {
		return childMain(endpoints)
	}
	var err error
	shared, err = etcdtest.NewProcess(etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.Close() }()
	return leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/concurrency.")...)
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
	return namespaced.View(t, c, config)
}

// coordinate makes a coordinator that is closed with the test, if it can be.
func coordinate(t testing.TB, c *etcd.Client, config concurrency.Config) *concurrency.Coordinator {
	t.Helper()
	co, err := concurrency.New(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = co.Close(ctx)
	})
	return co
}

// fresh is a coordinator of the shared server.
func fresh(t testing.TB) *concurrency.Coordinator {
	t.Helper()
	return coordinate(t, connect(t, etcd.Config{}), concurrency.Config{})
}

// official makes a client/v3 client.
func official(t testing.TB, s *etcdtest.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: s.Endpoints(), Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// within is a context that ends a test's waits long before go test would.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

var runs atomic.Int64

// ownName is the name for one run of one test.
func ownName(t testing.TB) string {
	return fmt.Sprintf("%s.%d", strings.ReplaceAll(t.Name(), "/", "."), runs.Add(1))
}

// keys are all keys of a name, in the order of their creation.
func keys(t testing.TB, c *etcd.Client, name string) []etcd.KeyValue {
	t.Helper()
	resp, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{
		Key: name + "/", Prefix: true, SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Ascend,
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp.KVs
}

// noKeys waits until nothing is left of a name.
func noKeys(t testing.TB, c *etcd.Client, name string) {
	t.Helper()
	eventually(t, "the keys to go", func() bool { return len(keys(t, c, name)) == 0 })
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
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

// result is what a call that runs beside the test has returned.
type result[T any] struct {
	value T
	err   error
}

// async runs f and returns the channel for its result.
func async[T any](f func() (T, error)) <-chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		value, err := f()
		done <- result[T]{value, err}
	}()
	return done
}

// await returns the result of async's f; it waits no longer than a test may hang.
func await[T any](t testing.TB, done <-chan result[T]) (T, error) {
	t.Helper()
	select {
	case r := <-done:
		return r.value, r.err
	case <-time.After(30 * time.Second):
		panic("it hangs")
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func unlock(t testing.TB, l *concurrency.Lock) {
	t.Helper()
	if err := l.Unlock(within(t, 20*time.Second)); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

// waiters waits until n keys are in the queue of a name.
func waiters(t testing.TB, c *etcd.Client, name string, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " keys"), func() bool { return len(keys(t, c, name)) == n })
}

// private starts a server for one test, and a client for it.
func private(t testing.TB) (*etcdtest.Server, *etcd.Client) {
	t.Helper()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	return s, connect(t, etcd.Config{Endpoints: s.Endpoints()})
}

func second[T any](_ T, err error) error { return err }
