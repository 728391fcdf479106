package discovery

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/discovery"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
)

// The server that most tests share. A test uses only services that begin with its ownName.
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
	return leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/concurrency.", "silly.store/etcd/discovery.")...)
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
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// faulty sets a configuration up for a client whose requests can get faults.
func faulty(t testing.TB, config *etcd.Config) *onefault.Faults {
	t.Helper()
	f := onefault.New(t)
	config.DialContext = f.Dial
	config.RetrySleep, config.Timeout = time.Millisecond, 500*time.Millisecond
	return f
}

// coordinate makes a coordinator that is closed with the test, if it can be.
func coordinate(t testing.TB, c *etcd.Client, config concurrency.Config) *concurrency.Coordinator {
	t.Helper()
	co, err := concurrency.New(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = co.Close(ctx)
	})
	return co
}

// official makes a client/v3 client.
func official(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
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

// ownName is the service for one run of one test.
func ownName(t testing.TB) string {
	return fmt.Sprintf("%s.%d", strings.ReplaceAll(t.Name(), "/", "."), runs.Add(1))
}

// register registers an instance until the test ends, or its coordinator does.
func register(t testing.TB, co *concurrency.Coordinator, i discovery.Instance) *discovery.Registration {
	t.Helper()
	reg, err := discovery.Register(within(t, 20*time.Second), co, i)
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
	if err := w.Ready(within(t, 20*time.Second)); err != nil {
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
	for set, err := range w.All(within(t, 30*time.Second)) {
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
	resp, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return resp.First()
}

// put stores a pair.
func put(t testing.TB, c *etcd.Client, req etcd.PutRequest) {
	t.Helper()
	if _, err := c.Put(within(t, 20*time.Second), req); err != nil {
		t.Fatal(err)
	}
}

// state waits until the registration is in one of the phases.
func state(t testing.TB, reg *discovery.Registration, phases ...discovery.Phase) discovery.State {
	t.Helper()
	eventually(t, fmt.Sprint(phases), func() bool { return slices.Contains(phases, reg.State().Phase) })
	return reg.State()
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

// closeNow closes a registration and waits for that.
func closeNow(t testing.TB, reg *discovery.Registration) {
	t.Helper()
	if err := reg.Close(within(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
}
