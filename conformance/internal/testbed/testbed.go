// Package testbed is what the tests of this module share: a server, clients that are closed
// with the test, names per test, bounded waits, backups of a server's data and child processes.
package testbed

import (
	"context"
	"errors"
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
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/internal/leaktest"
)

// Shared is the server that most tests of a package share. It is a child process, so that
// it neither runs with the race detector nor counts as the tests' memory. A test uses only
// keys that begin with its [OwnName], and compacts nothing.
var Shared *etcdtest.Server

// Quick is the configuration of a server that elects itself in some 100 ms.
var Quick = etcdtest.Config{Heartbeat: 10 * time.Millisecond}

// Config says what the tests of a package need.
type Config struct {
	// Server is the configuration of Shared.
	Server etcdtest.Config
	// Others are further servers to share, started with the same configuration.
	Others []**etcdtest.Server
	// Watched is code that must have ended after the last test, apart from leaktest.Ours.
	Watched []string
	// Children are what the test binary does as a child process, by name, see [StartChild].
	Children map[string]func(ctx context.Context, endpoints []string) error
}

// Main runs the tests of a package and exits.
func Main(m *testing.M, c Config) { os.Exit(run(m, c)) }

func run(m *testing.M, c Config) int {
	if name := os.Getenv(childEnv); name != "" {
		return runChild(c.Children[name])
	}
	for _, s := range append(c.Others, &Shared) {
		var err error
		if *s, err = etcdtest.NewProcess(c.Server); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = (*s).Close() }()
	}
	return leaktest.Run(m, append(c.Watched, leaktest.Ours...)...)
}

// Connect makes a client that is closed with the test. Its endpoints are Shared's unless the
// configuration says where to find some.
func Connect(t testing.TB, config etcd.Config) *etcd.Client {
	t.Helper()
	if config.Endpoints == nil && config.DiscoverySRV == "" {
		config.Endpoints = Shared.Endpoints()
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

// Faulty makes a client whose requests can get faults.
func Faulty(t testing.TB, config etcd.Config) (*etcd.Client, *onefault.Faults) {
	t.Helper()
	f := WithFaults(t, &config)
	return Connect(t, config), f
}

// WithFaults sets a configuration up for a client whose requests can get faults.
func WithFaults(t testing.TB, config *etcd.Config) *onefault.Faults {
	t.Helper()
	f := onefault.New(t)
	config.DialContext = f.Dial
	config.RetrySleep, config.Timeout = time.Millisecond, 500*time.Millisecond
	return f
}

// Detour is two ways to a server, one of them through a proxy: a request whose answer never
// comes can be made again on the other.
func Detour(t testing.TB, server string) []string {
	t.Helper()
	return []string{server, etcdtest.StartProxy(t, server).Endpoint()}
}

// FaultyDetour is Faulty with a Detour to the shared server.
func FaultyDetour(t testing.TB) (*etcd.Client, *onefault.Faults) {
	t.Helper()
	return Faulty(t, etcd.Config{Endpoints: Detour(t, Shared.Endpoints()[0])})
}

// Private starts a quick server for one test, and a client for it.
func Private(t testing.TB) (*etcdtest.Server, *etcd.Client) {
	t.Helper()
	s := etcdtest.StartProcess(t, Quick)
	return s, Connect(t, etcd.Config{Endpoints: s.Endpoints()})
}

// Coordinate makes a coordinator that is closed with the test, if it can be.
func Coordinate(t testing.TB, c *etcd.Client, config concurrency.Config) *concurrency.Coordinator {
	t.Helper()
	co, err := concurrency.New(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = co.Close(Ending(t)) }) // a test may have cut it off
	return co
}

// Writer makes a Writer of the client, with its own coordinator. Both are closed with the
// test, which must not have cut them off.
func Writer(t testing.TB, c *etcd.Client) *idempotent.Writer {
	t.Helper()
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := idempotent.NewWriter(t.Context(), co, idempotent.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := Ending(t)
		if err := errors.Join(w.Close(ctx), co.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return w
}

// Official makes a client/v3 client that is closed with the test.
func Official(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var names atomic.Int64

// OwnName is a name for one run of one test; it has neither slashes nor spaces.
func OwnName(t testing.TB) string {
	return fmt.Sprintf("%s.%d", strings.NewReplacer("/", ".", " ", "-").Replace(t.Name()), names.Add(1))
}

// Put stores a pair and returns its revision.
func Put(t testing.TB, c *etcd.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// Delete deletes a key and returns the revision.
func Delete(t testing.TB, c *etcd.Client, key string) int64 {
	t.Helper()
	resp, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// Get reads a key; Version is 0 if there is none.
func Get(t testing.TB, c *etcd.Client, key string) etcd.KeyValue {
	t.Helper()
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	kv, _ := resp.First()
	return kv
}
