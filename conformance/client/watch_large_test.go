package client

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Responses that are too large for a stream are requested again in a suitable form.
// Those with many small events come whole, because etcd's cost to fragment them
// grows with the square of their number; others come in fragments. Every event
// arrives once, and another watch on the stream notices nothing.
func TestWatchLargeResponses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ revisions, keys, size int }{
		"small events": {720, 128, 150},
		"large events": {30, 1, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := private(t, etcdtest.Config{}, etcd.Config{})
			first := put(t, c, "first", "") + 1
			value := make([]byte, test.size)
			for i := range test.revisions {
				var then []etcd.Op
				for k := range test.keys {
					then = append(then, etcd.PutRequest{Key: fmt.Sprintf("k/%04d/%03d", i, k), Value: value})
				}
				if _, err := c.Txn(t.Context(), etcd.TxnRequest{Then: then}); err != nil {
					t.Fatal(err)
				}
			}
			beside := watch(t, c, etcd.WatchRequest{Key: "beside"})
			began := time.Now()
			w := watch(t, c, etcd.WatchRequest{Key: "k/", Prefix: true, Revision: first})
			ctx := within(t, 20*time.Second) // in fragments it takes 40 s
			seen := 0
			for seen < test.revisions*test.keys {
				resp, err := w.Read(ctx)
				if err != nil {
					t.Fatalf("after %d events: %v", seen, err)
				}
				for _, ev := range resp.Events {
					want := fmt.Sprintf("k/%04d/%03d", seen/test.keys, seen%test.keys)
					if ev.KV.Key != want || len(ev.KV.Value) != test.size || ev.KV.ModRevision != first+int64(seen/test.keys) {
						t.Fatalf("event %d is %s of revision %d, want %s", seen, ev.KV.Key, ev.KV.ModRevision, want)
					}
					seen++
				}
				if seen%test.keys != 0 {
					t.Fatalf("a response ends inside a revision, after %d events", seen)
				}
			}
			t.Logf("%d events in %v", seen, time.Since(began).Round(time.Millisecond))
			put(t, c, "beside", "1")
			if got := text(read(t, beside).Events[0], ""); got != "PUT beside=1" {
				t.Errorf("event %s", got)
			}
		})
	}
}

// A response that exceeds even the client's own limit ends the watch with that
// error.
func TestWatchResponseTooLarge(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	small := connect(t, etcd.Config{Endpoints: s.Endpoints(), MaxResponseBytes: 64 << 10})
	w := watch(t, small, etcd.WatchRequest{Key: "k"})
	put(t, c, "k", string(make([]byte, 100<<10)))
	if err := endOf(t, w); !errors.Is(err, etcd.ErrResponseTooLarge) {
		t.Errorf("the watch ended with %v, want ErrResponseTooLarge", err)
	}
}
