package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
)

// A cache that is closed at any time, while it loads and while readers wait for it, ends them
// and leaves no watch.
//
// Regression: they could get etcd.ErrClosed, the client's.
func TestClosedAnytime(t *testing.T) {
	t.Parallel()
	_, c := testbed.Private(t)
	name := testbed.OwnName(t)
	for i := range 20 {
		testbed.Put(t, c, fmt.Sprint(name, "/", i), "v")
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(time.Millisecond)):
				testbed.Put(t, c, fmt.Sprint(name, "/", rand.N(20)), "v")
			}
		}
	})
	for range 200 {
		ca, err := cache.New(c, cache.Config{Key: name, Prefix: true, NoFallback: rand.N(2) == 0})
		if err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				sub := ca.Subscribe("")
				for {
					ctx, cancel := testbed.Impatient(t, 3*time.Millisecond)
					var err error
					switch rand.N(4) {
					case 0:
						_, err = sub.Next(ctx)
					case 1:
						err = ca.Ready(ctx)
					case 2:
						_, err = ca.Get(ctx, name+"/1", cache.Linearizable)
					case 3:
						_, err = ca.Snapshot(ctx, cache.Linearizable)
					}
					cancel()
					if errors.Is(err, cache.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
				}
			})
		}
		<-time.After(rand.N(8 * time.Millisecond))
		_ = ca.Close()
		readers.Wait()
		if n := c.Stats().Watches; n > 0 {
			t.Fatalf("%d watches after Close", n)
		}
	}
	close(stop)
	writing.Wait()
}
