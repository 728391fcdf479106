package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// queueing configures a load of queues.
type queueing struct {
	ttl     time.Duration // of the leases
	long    time.Duration // the longest work; most of it is short
	workers int           // of each client
}

// jobClient is one client's end of a queue.
type jobClient struct {
	name  string
	store store.Store
	jobs  store.Jobs
}

const (
	queueName = history.Queues + "q"
	// backlog is about how many items wait.
	backlog = 30
)

// queues starts a load of queues: producers and workers of the clients behind the proxies, and
// of one that faults of the links don't reach.
func (w *world) queues(l queueing) error {
	w.rec.Change(func(r *history.Run) { r.LockTTL = l.ttl })
	direct := w.config()
	direct.Endpoints = w.cluster.Endpoints()
	s, err := store.Drivers[w.client](direct)
	if err != nil {
		return err
	}
	w.stores = append(w.stores, s)
	w.jobs = nil
	waiting := new(atomic.Int64)
	for _, s := range w.stores {
		jobs, err := store.OpenJobs(s, queueName, l.ttl)
		if err != nil {
			return err
		}
		c := jobClient{w.client, s, jobs}
		w.jobs = append(w.jobs, c)
		w.worker(c, &l, waiting).start(w, (*worker).produce)
		for range l.workers {
			w.worker(c, &l, waiting).start(w, (*worker).consume)
		}
	}
	return nil
}

func (w *world) worker(c jobClient, l *queueing, waiting *atomic.Int64) *worker {
	return &worker{
		w: w, client: c, load: l, random: w.random(), process: int(w.process.Add(1)), waiting: waiting,
	}
}

// worker adds items, or takes them.
type worker struct {
	w       *world
	client  jobClient
	load    *queueing
	random  *rand.Rand
	process int
	waiting *atomic.Int64 // items that nobody has taken, about
}

func (x *worker) start(w *world, run func(*worker)) { w.loads.Go(func() { run(x) }) }

func (x *worker) upTo(d time.Duration) time.Duration {
	return time.Duration(x.random.Int64N(int64(d) + 1))
}

// timeout returns a context with a deadline, every eighth time an early one.
func (x *worker) timeout(d time.Duration) (context.Context, context.CancelFunc) {
	if x.random.IntN(8) == 0 {
		d = time.Millisecond + x.upTo(30*time.Millisecond)
	}
	return context.WithTimeout(x.w.ctx, d)
}

// produce adds items, but not many more than are taken.
func (x *worker) produce() {
	for x.w.sleep(x.upTo(5 * time.Millisecond)) {
		if x.waiting.Load() > backlog {
			continue
		}
		x.add()
	}
}

func (x *worker) add() {
	a := history.Added{Queue: queueName, Client: x.client.name, ID: x.w.value(), Began: x.w.rec.Now()}
	ctx, cancel := x.timeout(patience)
	defer cancel()
	err := x.client.jobs.Add(ctx, a.ID)
	a.Ended, a.Fate = x.w.rec.Now(), x.client.store.Fate(err)
	if err != nil {
		a.Error = err.Error()
	} else {
		x.waiting.Add(1)
	}
	x.w.rec.Change(func(r *history.Run) { r.Added = append(r.Added, a) })
}

// consume takes items until the load ends.
func (x *worker) consume() {
	for x.w.sleep(x.upTo(3 * time.Millisecond)) {
		ctx, cancel := x.timeout(time.Second)
		job, err := x.client.jobs.Take(ctx)
		cancel()
		if err == nil {
			x.waiting.Add(-1)
			x.work(job)
		}
	}
}

// work works on an item, and acknowledges it or gives it back.
func (x *worker) work(job store.Job) {
	c := history.Claimed{
		Queue: queueName, Client: x.client.name, ID: job.ID(), Process: x.process,
		Key: job.Key(), Token: job.Token(), Taken: x.w.rec.Now(),
	}
	var gone atomic.Int64
	stop := context.AfterFunc(job.Context(), func() { gone.CompareAndSwap(0, x.w.rec.Now()) })
	d := x.upTo(short)
	if x.random.IntN(4) == 0 {
		d = x.upTo(x.load.long)
	}
	x.w.sleepFully(x.w.ctx, d) // also when the claim is over: then it must be refused
	ctx, cancel := x.timeout(patience)
	defer cancel()
	c.Settled, c.Back = x.w.rec.Now(), c.Token != 0 && x.random.IntN(6) == 0
	var err error
	if c.Back {
		err = job.Back(ctx, x.upTo(50*time.Millisecond))
	} else {
		c.Effect = x.w.value()
		err = job.Done(ctx, effectKey(&c), c.Effect)
	}
	stop()
	c.Ended, c.Gone, c.Fate = x.w.rec.Now(), gone.Load(), x.client.store.Fate(err)
	if err != nil {
		c.Error = err.Error()
	}
	if c.Back || err != nil {
		x.waiting.Add(1) // about: it is free again, or acknowledged nevertheless
	}
	x.w.rec.Change(func(r *history.Run) { r.Claimed = append(r.Claimed, c) })
	for holds(err, c.Fate) && x.w.ctx.Err() == nil {
		x.w.sleepFully(x.w.ctx, x.upTo(short)) // a refusal may come at once
		c.Fate, err = x.again(job, c)
	}
}

// holds reports whether a claim whose settling has failed with err is as it was: a worker that
// left it so would keep the item from the others for as long as its session lives.
func holds(err error, fate history.Fate) bool {
	return err != nil && !errors.Is(err, store.ErrLost) && fate == history.NotApplied
}

// again settles a claim that a failure has left as it was.
func (x *worker) again(job store.Job, c history.Claimed) (history.Fate, error) {
	ctx, cancel := context.WithTimeout(x.w.ctx, patience)
	defer cancel()
	c.Effect, c.Back, c.Error = x.w.value(), false, ""
	c.Taken = x.w.rec.Now()
	c.Settled = c.Taken
	err := job.Done(ctx, effectKey(&c), c.Effect)
	c.Ended, c.Fate = x.w.rec.Now(), x.client.store.Fate(err)
	if err != nil {
		c.Error = err.Error()
	}
	x.w.rec.Change(func(r *history.Run) { r.Claimed = append(r.Claimed, c) })
	return c.Fate, err
}

func effectKey(c *history.Claimed) string { return history.Effects + c.Queue + "/" + c.ID }

// settleQueues has the workers take what is left, and looks for what they don't get.
func (w *world) settleQueues(ctx context.Context) {
	if w.jobs == nil {
		return
	}
	bound := 3 * time.Second
	if w.scenario.LeasesMayEnd {
		w.rec.Change(func(r *history.Run) { bound += 2 * r.LockTTL })
	}
	taking, cancel := context.WithTimeout(ctx, bound)
	for _, c := range w.jobs {
		w.observing.Go(func() {
			x := w.worker(c, &queueing{}, new(atomic.Int64))
			for taking.Err() == nil {
				job, err := c.jobs.Take(taking)
				if err == nil {
					x.again(job, history.Claimed{
						Queue: queueName, Client: c.name, ID: job.ID(), Process: x.process, Key: job.Key(), Token: job.Token(),
					})
				}
			}
		})
	}
	rest := history.Rest{After: "the load", Began: w.rec.Now(), Bound: int64(bound)}
	for taking.Err() == nil {
		keys, err := w.itemKeys(ctx)
		if err != nil {
			w.failed("looking for items that are left over: %v", err)
		}
		if rest.Keys = keys; err != nil || len(keys) == 0 {
			break
		}
		w.sleepFully(taking, 20*time.Millisecond)
	}
	w.sleepFully(taking, time.Second) // client/v3's calls that were given up bring what they have deleted
	cancel()
	w.observing.Wait()
	w.rec.Change(func(r *history.Run) { r.Drained = append(r.Drained, rest) })
	for _, c := range w.jobs {
		if err := c.jobs.Close(ctx); err != nil {
			w.failed("closing a queue: %v", err)
		}
	}
	w.jobs = nil
}

// itemKeys are the keys of the queue but for those of writers.
func (w *world) itemKeys(ctx context.Context) (keys []string, err error) {
	r, err := w.admin.Get(ctx, queueName+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	for _, kv := range r.Kvs {
		if key := string(kv.Key); !strings.HasPrefix(key, queueName+"/l/") {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// revokeUnder revokes the lease of one of the keys with a prefix.
func revokeUnder(prefix string) func(*world, int) (func() error, error) {
	return func(w *world, _ int) (func() error, error) {
		nothing := func() error { return nil }
		r, err := w.admin.Get(w.ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return nothing, err
		}
		var leases []int64
		for _, kv := range r.Kvs {
			if kv.Lease != 0 {
				leases = append(leases, kv.Lease)
			}
		}
		if len(leases) == 0 {
			return nothing, nil
		}
		lease := leases[rand.IntN(len(leases))]
		for _, kv := range r.Kvs {
			if kv.Lease == lease {
				w.hand(string(kv.Key))
			}
		}
		if _, err := w.admin.Revoke(w.ctx, clientv3.LeaseID(lease)); err != nil {
			w.rec.Sample("revoked in vain", time.Nanosecond) // its client was quicker
		}
		return nothing, nil
	}
}

// deleteUnder deletes one of the keys with a prefix.
func deleteUnder(prefix string) func(*world, int) (func() error, error) {
	return func(w *world, _ int) (func() error, error) {
		nothing := func() error { return nil }
		r, err := w.admin.Get(w.ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil || len(r.Kvs) == 0 {
			return nothing, err
		}
		key := string(r.Kvs[rand.IntN(len(r.Kvs))].Key)
		w.hand(key)
		_, err = w.admin.Delete(w.ctx, key)
		return nothing, err
	}
}

// underQueues is a load of queues with a recurring fault.
func underQueues(l queueing, c cycle) func(*world) error {
	return func(w *world) error {
		if err := w.queues(l); err != nil {
			return err
		}
		return w.cycles(c)
	}
}

var claimKeys = fmt.Sprintf("%s/c/", queueName)
