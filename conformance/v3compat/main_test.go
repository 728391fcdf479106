package v3compat

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
	"silly.store/etcd/v3compat"
)

// The server that most tests share. A test uses only keys that begin with its name,
// and compacts nothing.
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
	return leaktest.Run(m, watched...)
}

// watched is the code that must leave no goroutine behind: this client, client/v3 and
// grpc-go.
var watched = append([]string{"silly.store/etcd/v3compat.", "go.etcd.io/etcd/client/v3", "google.golang.org/grpc"}, leaktest.Ours...)

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

// within is a context for operations that should be fast.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
