package client

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Large reads over a narrow way fill its buffers. A watch that shared their
// connection would wait behind them (pain point 19).
func TestWatchBesideLargeReads(t *testing.T) {
	keys := ownKeys(t)
	direct := connect(t, etcd.Config{})
	value := bytes.Repeat([]byte("v"), 1<<20)
	for i := range 8 {
		if _, err := direct.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint(keys, "large/", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	proxy := etcdtest.StartProxy(t, shared.Endpoints()[0])
	proxy.Set(etcdtest.ToClient, etcdtest.Fault{BytesPerSecond: 20 << 20})
	c := connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	w, err := c.Watch(t.Context(), etcd.WatchRequest{Key: keys + "watched"})
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	read := make(chan struct{}, 1000)
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				_, err := c.Get(ctx, etcd.GetRequest{Key: keys + "large/", Prefix: true})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				read <- struct{}{}
			}
		})
	}
	var largest time.Duration
	for done := 0; done < 3; {
		began := time.Now()
		put(t, direct, keys+"watched", "v")
		if _, err := w.Read(within(t, 30*time.Second)); err != nil {
			t.Fatal(err)
		}
		largest = max(largest, time.Since(began))
		select {
		case <-read:
			done++
		default:
		}
	}
	t.Logf("an event took %v at most", largest)
	if largest > 300*time.Millisecond {
		t.Errorf("an event took %v beside large reads", largest)
	}
}
