package idempotent

import (
	"context"
	"flag"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/idempotent"
)

var slow = flag.Bool("slow", false, "run the long variants")

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.Config{Server: testbed.Quick, Watched: []string{"silly.store/etcd/idempotent.", "silly.store/etcd/concurrency."}})
}

// open makes a Writer of the client, with its own coordinator. Both are closed with the
// test.
func open(t testing.TB, c *etcd.Client, config idempotent.Config) (*idempotent.Writer, *concurrency.Coordinator) {
	t.Helper()
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := idempotent.NewWriter(testbed.Within(t, testbed.Patience), co, config)
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

// putOf is a transaction that puts a key: the key's version tells how often it was applied.
func putOf(key string) etcd.TxnRequest {
	return etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte("v")}}}
}

// count returns how many keys are below a prefix.
func count(t testing.TB, c *etcd.Client, prefix string) int64 {
	t.Helper()
	resp, err := c.Get(testbed.Within(t, testbed.Patience), etcd.GetRequest{Key: prefix, Prefix: true, CountOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Count
}
