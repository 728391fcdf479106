package concurrency

import (
	"fmt"
	"os"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

func TestMain(m *testing.M) {
	if os.Getenv(ctlEnv) != "" {
		os.Exit(ctlMain())
	}
	testbed.Main(m, testbed.Config{Server: testbed.Quick, Watched: []string{"silly.store/etcd/concurrency."}, Children: children})
}

// fresh is a coordinator of the shared server.
func fresh(t testing.TB) *concurrency.Coordinator {
	t.Helper()
	return testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{})
}

// keys are all keys of a name, in the order of their creation.
func keys(t testing.TB, c *etcd.Client, name string) []etcd.KeyValue {
	t.Helper()
	resp, err := c.Get(testbed.Within(t, 20*time.Second), etcd.GetRequest{
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
	testbed.Eventually(t, "the keys to go", func() bool { return len(keys(t, c, name)) == 0 })
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
	if err := l.Unlock(testbed.Within(t, 20*time.Second)); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

// waiters waits until n keys are in the queue of a name.
func waiters(t testing.TB, c *etcd.Client, name string, n int) {
	t.Helper()
	testbed.Eventually(t, fmt.Sprint(n, " keys"), func() bool { return len(keys(t, c, name)) == n })
}

func second[T any](_ T, err error) error { return err }
