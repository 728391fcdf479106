package client

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// A read never joins a request that was already sent: the server may have answered
// that request before a later write.
func TestCoalescedReadJoinsNoSentRequest(t *testing.T) {
	t.Parallel()
	writer := connect(t, etcd.Config{})
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		key := ownKeys(t)
		put(t, writer, key, "before")
		w.hold(etcdtest.ToClient, reading(t, w.Client, key))
		early := make([]getter, 8)
		for i := range early {
			early[i].req.Key = key
			early[i].done = w.queue(early[i].call(t, w.Client))
		}
		if !w.together() {
			continue
		}
		w.sent()
		put(t, writer, key, "after")
		late := make([]getter, 8)
		for i := range late {
			late[i].req.Key = key
			late[i].done = async(late[i].call(t, w.Client))
		}
		// Whether they wait or have been sent together meanwhile.
		w.until("the late reads to be made", func() bool {
			return w.made() >= len(w.fillers)+len(early)+len(late)
		})
		w.release()
		succeed(t, w.fillers...)
		for i := range early {
			succeed(t, early[i].done, late[i].done)
			if kv, _ := late[i].resp.First(); string(kv.Value) != "after" {
				t.Errorf("a read from after the put found %q", kv.Value)
			}
			if h, before := late[i].resp.Header, early[i].resp.Header; h.Revision <= before.Revision && string(early[i].resp.KVs[0].Value) == "before" {
				t.Errorf("its header is %+v, before the put it was %+v", h, before)
			}
		}
	}
}

// Every read that starts after another client's successful write finds it, even
// while requests are in flight over a slow link.
func TestCoalescedReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	const keys, readers, lasting = 4, 64, time.Second
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Delay: time.Millisecond, Jitter: time.Millisecond})
	c, writer := connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), connect(t, etcd.Config{})
	p := ownKeys(t)
	var (
		callers sync.WaitGroup
		stored  [keys]atomic.Int64 // acknowledged writes
		reads   atomic.Int64
		end     = time.Now().Add(lasting)
		enough  = int64(20) // requests that are shared
	)
	goesOn := func() bool { return !t.Failed() && (time.Now().Before(end) || c.Stats().Batches < enough) }
	for k := range keys {
		put(t, writer, fmt.Sprint(p, k), "0")
		callers.Go(func() {
			for n := int64(1); goesOn(); n++ {
				put(t, writer, fmt.Sprint(p, k), fmt.Sprint(n))
				stored[k].Store(n)
			}
		})
	}
	for reader := range readers {
		callers.Go(func() {
			for n := reader; goesOn(); n++ {
				k := n % keys
				least := stored[k].Load()
				kvs := get(t, c, etcd.GetRequest{Key: fmt.Sprint(p, k)}).KVs
				if found, err := strconv.ParseInt(string(kvs[0].Value), 10, 64); err != nil || found < least {
					t.Errorf("found %d, %v, when %d had been stored", found, err, least)
				}
				reads.Add(1)
			}
		})
	}
	callers.Wait()
	s := c.Stats()
	t.Logf("%d reads, %d of them in %d requests", reads.Load(), s.BatchedCalls, s.Batches)
}
