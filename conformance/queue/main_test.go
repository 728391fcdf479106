package queue

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
	"silly.store/etcd/queue"
)

// The server that most tests share: a child process, so that it does not run with the race
// detector. A test uses only names that begin with its ownName, and compacts nothing.
var shared *etcdtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
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
	return leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/concurrency.", "silly.store/etcd/queue.")...)
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

// coordinate makes a coordinator that is closed with the test, if it can be.
func coordinate(t testing.TB, c *etcd.Client, config concurrency.Config) *concurrency.Coordinator {
	t.Helper()
	co, err := concurrency.New(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = co.Close(soon(t)) })
	return co
}

// soon is a context for what a test cleans up.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// open makes a queue that is closed with the test.
func open(t testing.TB, co *concurrency.Coordinator, config queue.Config) *queue.Queue {
	t.Helper()
	q, err := queue.New(co, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close(soon(t)) })
	return q
}

// process is a queue as a separate process would have it.
func process(t testing.TB, config queue.Config) *queue.Queue {
	t.Helper()
	return open(t, coordinate(t, connect(t, etcd.Config{}), concurrency.Config{}), config)
}

// within is a context that ends a test's waits long before go test would.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

var runs atomic.Int64

// ownName is the name for one run of one test.
func ownName(t testing.TB) string {
	name := strings.NewReplacer("/", ".", " ", "-").Replace(t.Name())
	return fmt.Sprintf("%s.%d", name, runs.Add(1))
}

func add(t testing.TB, q *queue.Queue, items ...queue.Item) {
	t.Helper()
	for _, it := range items {
		if err := q.Add(within(t, patience), it); err != nil {
			t.Fatal(err)
		}
	}
}

func named(ids ...string) (items []queue.Item) {
	for _, id := range ids {
		items = append(items, queue.Item{ID: id, Value: []byte("value of " + id)})
	}
	return items
}

func take(t testing.TB, q *queue.Queue) *queue.Claim {
	t.Helper()
	cl, err := q.Take(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func ack(t testing.TB, cl *queue.Claim, ops ...etcd.Op) {
	t.Helper()
	if err := cl.Ack(within(t, patience), ops...); err != nil {
		t.Errorf("Ack: %v", err)
	}
}

func nack(t testing.TB, cl *queue.Claim, delay time.Duration) {
	t.Helper()
	if err := cl.Nack(within(t, patience), delay); err != nil {
		t.Errorf("Nack: %v", err)
	}
}

// keys are all keys of a name without it, but for the lanes of writers.
func keys(t testing.TB, c *etcd.Client, name string) (list []string) {
	t.Helper()
	resp, err := c.Get(within(t, patience), etcd.GetRequest{Key: name + "/", Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.KVs {
		if rest := strings.TrimPrefix(kv.Key, name+"/"); !strings.HasPrefix(rest, "l/") {
			list = append(list, rest+"="+string(kv.Value))
		}
	}
	return list
}

// noKeys waits until nothing is left of a queue.
func noKeys(t testing.TB, c *etcd.Client, name string) {
	t.Helper()
	var left []string
	eventually(t, "the keys to go", func() bool {
		left = keys(t, c, name)
		return len(left) == 0
	})
}

// kinds counts the keys of each kind.
func kindsOf(list []string) map[string]int {
	n := make(map[string]int)
	for _, key := range list {
		n[key[:1]]++
	}
	return n
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
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
	case <-time.After(patience):
		panic("it hangs")
	}
}

// put is an operation for Ack.
func put(key, value string) etcd.Op { return etcd.PutRequest{Key: key, Value: []byte(value)} }

// stored is the value of a key; "" if there is none.
func stored(t testing.TB, c *etcd.Client, key string) string {
	t.Helper()
	resp, err := c.Get(within(t, patience), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	kv, _ := resp.First()
	return string(kv.Value)
}
