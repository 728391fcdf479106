package client

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// Large reads over a slow link fill its buffers. On the same connection each event of a
// watch would wait behind them (pain point 19), not only one that a busy machine delays: so
// the median counts.
func TestWatchBesideLargeReads(t *testing.T) {
	keys := ownKeys(t)
	direct := connect(t, etcd.Config{})
	value := bytes.Repeat([]byte("v"), 1<<20)
	for i := range 8 {
		if _, err := direct.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint(keys, "large/", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	proxy.Set(etcdtest.ToClient, etcdtest.Fault{BytesPerSecond: 10 << 20})
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
	var waits []time.Duration
	for done := 0; done < 3; {
		put(t, direct, keys+"watched", "v")
		began := time.Now()
		if _, err := w.Read(within(t, 30*time.Second)); err != nil {
			t.Fatal(err)
		}
		waits = append(waits, time.Since(began))
		select {
		case <-read:
			done++
		default:
		}
	}
	slices.Sort(waits)
	median := waits[len(waits)/2]
	t.Logf("%d events took %v in the median, %v at most", len(waits), median, waits[len(waits)-1])
	if median > 250*time.Millisecond {
		t.Errorf("events took %v beside large reads", median)
	}
}
