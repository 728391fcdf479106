package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
)

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.Config{Server: testbed.Quick, Watched: []string{"silly.store/etcd/concurrency.", "silly.store/etcd/discovery."}})
}

// register registers an instance until the test ends, or its coordinator does.
func register(t testing.TB, co *concurrency.Coordinator, i discovery.Instance) *discovery.Registration {
	t.Helper()
	reg, err := discovery.Register(testbed.Within(t, 20*time.Second), co, i)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// watching is a watcher that has read the service.
func watching(t testing.TB, c *etcd.Client, config discovery.WatchConfig) *discovery.Watcher {
	t.Helper()
	w, err := discovery.Watch(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if err := w.Ready(testbed.Within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	return w
}

// ids are those of instances, in their order.
func ids(list []discovery.Instance) string {
	var out []string
	for _, i := range list {
		out = append(out, i.ID)
	}
	return strings.Join(out, " ")
}

// shows waits until the watcher shows the instances.
func shows(t testing.TB, w *discovery.Watcher, want string) {
	t.Helper()
	until(t, w, "the instances "+want, func(s discovery.Set) bool { return ids(s.Instances) == want })
}

// until waits for a set for which f holds.
func until(t testing.TB, w *discovery.Watcher, what string, f func(discovery.Set) bool) discovery.Set {
	t.Helper()
	var last discovery.Set
	for set, err := range w.All(testbed.Within(t, 30*time.Second)) {
		if err != nil {
			t.Fatalf("waited in vain for %s: %v; the last set has %s", what, err, ids(last.Instances))
		}
		if last = set; f(set) {
			return set
		}
	}
	return last
}

// get returns a key, and false if there is none.
func get(t testing.TB, c *etcd.Client, key string) (etcd.KeyValue, bool) {
	t.Helper()
	resp, err := c.Get(testbed.Within(t, 20*time.Second), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return resp.First()
}

// put stores a pair.
func put(t testing.TB, c *etcd.Client, req etcd.PutRequest) {
	t.Helper()
	if _, err := c.Put(testbed.Within(t, 20*time.Second), req); err != nil {
		t.Fatal(err)
	}
}

// state waits until the registration is in one of the phases.
func state(t testing.TB, reg *discovery.Registration, phases ...discovery.Phase) discovery.State {
	t.Helper()
	testbed.Eventually(t, fmt.Sprint(phases), func() bool { return slices.Contains(phases, reg.State().Phase) })
	return reg.State()
}

// closeNow closes a registration and waits for that.
func closeNow(t testing.TB, reg *discovery.Registration) {
	t.Helper()
	if err := reg.Close(testbed.Within(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
}
