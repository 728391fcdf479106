package v3compat

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

// The server that most tests share. A test keeps to keys that begin with its
// name and compacts nothing.
var shared *etcdtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	clientv3.LeaseResponseChSize = 4 // of 16, so that a test fills a channel sooner
	var err error
	shared, err = etcdtest.NewProcess(etcdtest.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.Close() }()
	code := m.Run()
	if left := leftovers(5 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left after all clients were closed:\n%s\n", left)
		return 1
	}
	return code
}

// whose goroutines must not be left: this client's, client/v3's and grpc-go's.
var watched = []string{
	"silly.store/etcd.", "silly.store/etcd/internal/", "silly.store/etcd/v3compat.",
	"go.etcd.io/etcd/client/v3", "google.golang.org/grpc",
}

// leftovers returns the stacks of goroutines that run watched code, if there
// still are any after the wait.
func leftovers(wait time.Duration) string {
	for end := time.Now().Add(wait); ; runtime.Gosched() {
		var left []string
		buf := make([]byte, 4<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if slices.ContainsFunc(watched, func(code string) bool { return strings.Contains(stack, code) }) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
	}
}

// connect makes a client that is closed with the test. Endpoints are the shared
// server's unless the configuration has some.
func connect(t testing.TB, config clientv3.Config) *clientv3.Client {
	t.Helper()
	if config.Endpoints == nil {
		config.Endpoints = shared.Endpoints()
	}
	client, err := v3compat.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// within is a context for what should take no time.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
