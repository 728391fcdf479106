package v3compat

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/v3compat"
)

func TestMain(m *testing.M) {
	clientv3.LeaseResponseChSize = 4 // of 16, so that a test fills a channel sooner
	testbed.Main(m, testbed.Config{Watched: watched})
}

// watched is the code that must leave no goroutine behind, beside this client: client/v3
// and grpc-go.
var watched = []string{"silly.store/etcd/v3compat.", "go.etcd.io/etcd/client/v3", "google.golang.org/grpc"}

// connect makes a client that is closed with the test. Endpoints are the shared
// server's unless the configuration has some.
func connect(t testing.TB, config clientv3.Config) *clientv3.Client {
	t.Helper()
	if config.Endpoints == nil {
		config.Endpoints = testbed.Shared.Endpoints()
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
