package grpcresolver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/discovery/grpcresolver"
)

// A connection that is closed at any time leaves no watch, and its Close does
// not wait for a set that is just being handed over.
func TestClosedAnytime(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	plain := testbed.Connect(t, etcd.Config{})
	builder, err := grpcresolver.NewBuilder(c, discovery.WatchConfig{})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writing, conns sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(time.Millisecond)):
				testbed.Put(t, plain, fmt.Sprint(name, "/", rand.N(5)), fmt.Sprintf(`{"Op":0,"Addr":"127.0.0.1:%d"}`, 1+rand.N(3)))
			}
		}
	})
	for range 4 {
		conns.Go(func() {
			for range 50 {
				conn, err := grpc.NewClient("etcd:///"+name, grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(8*time.Millisecond))
				_, _ = call(ctx, conn)
				cancel()
				if _, err := testbed.Await(t, testbed.Async(func() (int, error) { return 0, conn.Close() })); err != nil {
					t.Error(err)
				}
			}
		})
	}
	conns.Wait()
	close(stop)
	writing.Wait()
	testbed.Eventually(t, "the watches to end", func() bool { return c.Stats().Watches == 0 })
}
