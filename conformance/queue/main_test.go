package queue

import (
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.Config{Server: testbed.Quick, Watched: []string{"silly.store/etcd/concurrency.", "silly.store/etcd/queue."}, Children: children})
}

// open makes a queue that is closed with the test.
func open(t testing.TB, co *concurrency.Coordinator, config queue.Config) *queue.Queue {
	t.Helper()
	q, err := queue.New(co, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close(testbed.Ending(t)) })
	return q
}

// process is a queue as a separate process would have it.
func process(t testing.TB, config queue.Config) *queue.Queue {
	t.Helper()
	return open(t, testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{}), config)
}

func add(t testing.TB, q *queue.Queue, items ...queue.Item) {
	t.Helper()
	for _, it := range items {
		if err := q.Add(testbed.Within(t, testbed.Patience), it); err != nil {
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
	cl, err := q.Take(testbed.Within(t, testbed.Patience))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func ack(t testing.TB, cl *queue.Claim, ops ...etcd.Op) {
	t.Helper()
	if err := cl.Ack(testbed.Within(t, testbed.Patience), ops...); err != nil {
		t.Errorf("Ack: %v", err)
	}
}

func nack(t testing.TB, cl *queue.Claim, delay time.Duration) {
	t.Helper()
	if err := cl.Nack(testbed.Within(t, testbed.Patience), delay); err != nil {
		t.Errorf("Nack: %v", err)
	}
}

// keys are all keys of a name without it, but for the lanes of writers.
func keys(t testing.TB, c *etcd.Client, name string) (list []string) {
	t.Helper()
	resp, err := c.Get(testbed.Within(t, testbed.Patience), etcd.GetRequest{Key: name + "/", Prefix: true})
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
	testbed.Eventually(t, "the keys to go", func() bool {
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

// put is an operation for Ack.
func put(key, value string) etcd.Op { return etcd.PutRequest{Key: key, Value: []byte(value)} }

// stored is the value of a key; "" if there is none.
func stored(t testing.TB, c *etcd.Client, key string) string {
	t.Helper()
	resp, err := c.Get(testbed.Within(t, testbed.Patience), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	kv, _ := resp.First()
	return string(kv.Value)
}
