package client

import (
	"fmt"
	"sync"
	"testing"

	"silly.store/etcd"
)

// TestCoalescedReads: many callers that read at once get what each would have read
// alone, no two share memory, and what they got stays as it is.
func TestCoalescedReads(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	const keys, callers, rounds = 20, 100, 20
	for i := range keys {
		put(t, c, fmt.Sprint(p, i), fmt.Sprint("value ", i))
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			kept := make(map[int]etcd.KeyValue)
			for round := range rounds {
				i := (caller*7 + round) % (keys + 1) // the last one does not exist
				key := fmt.Sprint(p, i)
				resp, err := c.Get(t.Context(), etcd.GetRequest{Key: key, Serializable: caller%4 == 0})
				if err != nil {
					t.Error(err)
					return
				}
				if h := resp.Header; h.ClusterID == 0 || h.MemberID == 0 || h.Revision == 0 || h.RaftTerm == 0 {
					t.Errorf("header %+v", h)
				}
				kv, found := resp.First()
				if found != (i < keys) || found && (kv.Key != key || string(kv.Value) != fmt.Sprint("value ", i)) {
					t.Errorf("%s: %+v", key, resp.KVs)
				}
				if round%2 == 0 {
					clear(kv.Value) // it is ours
				} else if found {
					kept[i] = kv
				}
			}
			for i, kv := range kept {
				if kv.Key != fmt.Sprint(p, i) || string(kv.Value) != fmt.Sprint("value ", i) {
					t.Errorf("%d has become %q, %q", i, kv.Key, kv.Value)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Batches == 0 || s.BatchedCalls < 2*s.Batches || s.CallsWaiting != 0 {
		t.Errorf("%d batches of %d calls, %d wait", s.Batches, s.BatchedCalls, s.CallsWaiting)
	}
}
