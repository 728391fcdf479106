package queue

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/queue"
)

var slow = flag.Bool("slow", false, "TestNothingLost with a million items")

// While the connections of the processes that add and take are cut at random, nothing is lost
// and nothing is acknowledged twice. Each item leaves a key in etcd, which its Ack puts in the
// transaction that removes the item. What client/v3's queue makes of that, package robustness tells.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	r := &run{t: t, items: 2000}
	if *slow {
		r.items = 1_000_000
	}
	s := etcdtest.StartProcess(t, etcdtest.Config{QuotaBytes: 8 << 30, AutoCompactionMode: "revision", AutoCompactionRetention: "100000"})
	r.direct = testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	r.outstanding = make(chan struct{}, 4000)
	ctx, cancel := context.WithTimeout(t.Context(), testbed.Patience)
	if *slow {
		ctx, cancel = context.WithCancel(t.Context())
	}
	defer cancel()
	r.ctx, r.done = context.WithCancel(ctx)
	defer r.done()

	var proxies []*etcdtest.Proxy
	for range 4 {
		p := etcdtest.StartProxy(t, s.Endpoints()[0])
		proxies = append(proxies, p)
		c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}})
		r.start(ctx, open(t, testbed.Coordinate(t, c, concurrency.Config{}), queue.Config{Name: "q", Order: queue.Relaxed}))
	}
	r.cut(proxies)
	r.all.Wait()
	t.Logf("%d items, %d cuts, %d claims lost, %d acknowledgements of unknown outcome", r.items, r.cuts.Load(), r.lost.Load(), r.unknown.Load())
	r.check()
}

// run is a run of TestNothingLost.
type run struct {
	t      *testing.T
	direct *etcd.Client // whose connection is not cut
	items  int64

	ctx         context.Context // ends when every item was acknowledged
	done        context.CancelFunc
	all         sync.WaitGroup
	outstanding chan struct{} // one for each item that is in the queue

	added, acked, lost, unknown, cuts atomic.Int64
}

// start begins a process: what adds items, and what takes them.
func (r *run) start(ctx context.Context, q *queue.Queue) {
	for range 8 {
		r.all.Go(func() { r.produce(ctx, q) })
	}
	for range 16 {
		r.all.Go(func() { r.work(ctx, q) })
	}
}

func (r *run) produce(ctx context.Context, q *queue.Queue) {
	for {
		select {
		case r.outstanding <- struct{}{}:
		case <-r.ctx.Done():
			return
		}
		n := r.added.Add(1)
		if n > r.items {
			return
		}
		if err := q.Add(ctx, queue.Item{ID: fmt.Sprintf("%07d", n), Value: []byte("work")}); err != nil {
			r.fail(err)
			return
		}
	}
}

func (r *run) work(ctx context.Context, q *queue.Queue) {
	for {
		cl, err := q.Take(r.ctx)
		if err != nil {
			if r.ctx.Err() == nil || ctx.Err() != nil {
				r.fail(err)
			}
			return
		}
		key := "done/" + cl.Item.ID
		switch err := cl.Ack(ctx, etcd.PutRequest{Key: key}); {
		case err == nil:
		case errors.Is(err, queue.ErrClaimLost):
			r.lost.Add(1)
			continue
		case etcd.MaybeApplied(err):
			r.unknown.Add(1)
			if testbed.Get(r.t, r.direct, key).Version == 0 {
				continue // the item is free again
			}
		default:
			r.fail(err)
			return
		}
		<-r.outstanding
		if n := r.acked.Add(1); n == r.items {
			r.done()
		} else if n%50_000 == 0 {
			r.t.Logf("%d items after %d cuts", n, r.cuts.Load())
		}
	}
}

// fail ends the run.
func (r *run) fail(err error) {
	r.t.Error(err)
	r.done()
}

// cut cuts the connections of one process after the other.
func (r *run) cut(proxies []*etcdtest.Proxy) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			proxies[rand.IntN(len(proxies))].Reset()
			r.cuts.Add(1)
		case <-r.ctx.Done():
			return
		}
	}
}

// check counts the keys of the items: one for each, put once.
func (r *run) check() {
	found := int64(0)
	all, err := r.direct.Range(testbed.Within(r.t, testbed.Patience), etcd.GetRequest{Key: "done/", Prefix: true})
	if err != nil {
		r.t.Fatal(err)
	}
	for kv, err := range all.All() {
		if err != nil {
			r.t.Fatal(err)
		}
		found++
		if kv.Version != 1 {
			r.t.Errorf("%s was put %d times", kv.Key, kv.Version)
		}
	}
	if found != r.items {
		r.t.Errorf("%d items were acknowledged, want %d", found, r.items)
	}
	left, err := r.direct.Get(testbed.Within(r.t, testbed.Patience), etcd.GetRequest{Key: "q/i/", Prefix: true, CountOnly: true})
	if err != nil {
		r.t.Fatal(err)
	}
	if left.Count != 0 {
		r.t.Errorf("%d items are left", left.Count)
	}
}
