package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

const (
	// hot is the prefix of keys that change all the time, idle of those that change with
	// each fault only.
	hot, idle = "w/", "idle/"
	// aged is about how many revisions back exact reads go.
	aged = 60
)

// cached is a cache of a load.
type cached struct {
	w      *world
	number int
	prefix string
	cache  store.Cache
}

func (w *world) cache(s store.Store, prefix string, maxBytes int64) (*cached, error) {
	ca, err := store.OpenCache(s, prefix, maxBytes)
	if err != nil {
		return nil, err
	}
	return &cached{w, int(w.process.Add(1)), prefix, ca}, nil
}

// readCaches starts a load of caches: readers and subscribers of two caches of each client,
// and of caches that come and go. A third client, which faults of the links don't reach,
// writes on.
func (w *world) readCaches() error {
	if err := w.direct(); err != nil {
		return err
	}
	w.churnBy(w.stores[0], 1, 10*time.Millisecond)
	w.churnBy(w.stores[len(w.stores)-1], 2, 6*time.Millisecond)
	for _, s := range w.stores {
		for prefix, readers := range map[string]int{hot: 4, idle: 3} {
			c, err := w.cache(s, prefix, 0)
			if err != nil {
				return err
			}
			w.caches = append(w.caches, c)
			for range readers {
				r := &cacheReader{c, w.random()}
				w.loads.Go(func() { r.run(w.stop) })
			}
			w.subscribe(c, 0, w.ctx.Done())
			w.subscribe(c, 200*time.Millisecond, w.ctx.Done())
		}
		w.briefCaches(s)
	}
	return nil
}

// direct adds a client that is not behind the proxies.
func (w *world) direct() error {
	config := w.config()
	config.Endpoints = w.cluster.Endpoints()
	s, err := store.Drivers[w.client](config)
	if err == nil {
		w.stores = append(w.stores, s)
	}
	return err
}

// briefCaches opens one cache after the other, reads from each before it is ready too, and
// closes it.
func (w *world) briefCaches(s store.Store) {
	random := w.random()
	w.loads.Go(func() {
		for w.sleep(rand.N(50 * time.Millisecond)) {
			c, err := w.cache(s, hot, 0)
			if err != nil {
				w.failed("opening a cache: %v", err)
				return
			}
			over := make(chan struct{})
			w.subscribe(c, 0, over)
			var reading sync.WaitGroup
			for range 2 {
				r := &cacheReader{c, w.random()}
				reading.Go(func() { r.run(over) })
			}
			w.sleep(time.Duration(random.Int64N(int64(400 * time.Millisecond))))
			close(over)
			_ = c.cache.Close() // calls under way fail
			reading.Wait()
		}
	})
}

// cacheReader reads a cache in all ways.
type cacheReader struct {
	c      *cached
	random *rand.Rand
}

func (r *cacheReader) run(over <-chan struct{}) {
	for r.c.w.ctx.Err() == nil {
		select {
		case <-over:
			return
		default:
		}
		if r.random.IntN(3) == 0 {
			r.peeks()
		} else {
			r.read()
		}
		r.c.w.sleepFully(r.c.w.ctx, time.Duration(r.random.Int64N(int64(10*time.Millisecond))))
	}
}

func (r *cacheReader) key() string {
	if r.c.prefix == idle {
		return fmt.Sprintf("%s%d", idle, r.random.IntN(idleKeys+1))
	}
	return fmt.Sprintf("w/%02d", r.random.IntN(20))
}

// peeks reads locally, many times in a row.
func (r *cacheReader) peeks() {
	var all []history.CacheRead
	for range 10 {
		x := history.CacheRead{Cache: r.c.number, Key: r.key(), Began: r.c.w.rec.Now(), Before: r.c.cache.Revision()}
		found, known := r.c.cache.Peek(x.Key)
		x.Revision, x.Ended = r.c.cache.Revision(), r.c.w.rec.Now()
		if found != nil {
			x.Pairs = []history.Event{*found}
		}
		if known && x.Before > 0 && x.Revision > 0 { // else it is loading, or closed
			all = append(all, x)
		}
	}
	r.c.w.rec.Change(func(run *history.Run) { run.Reads = append(run.Reads, all...) })
}

// fresh returns a random freshness.
func (r *cacheReader) fresh() history.Fresh {
	switch r.random.IntN(8) {
	case 0, 1, 2:
		return history.Fresh{Freshness: history.Linearizable}
	case 3:
		return history.Fresh{Freshness: history.AtLeast, Least: r.c.w.oracle.now()}
	case 4, 5:
		return history.Fresh{Freshness: history.Within, Age: 5*time.Millisecond + time.Duration(r.random.Int64N(int64(500*time.Millisecond)))}
	case 6:
		return history.Fresh{Freshness: history.AtRevision, Least: max(r.c.w.oracle.now()-r.random.Int64N(aged), 2)}
	}
	return history.Fresh{Freshness: history.Local}
}

// read reads a key or the whole range; each eighth call has little time.
func (r *cacheReader) read() {
	w := r.c.w
	bound := patience
	if r.random.IntN(8) == 0 {
		bound = time.Duration(1+r.random.IntN(30)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(w.ctx, bound)
	defer cancel()
	deadline, _ := ctx.Deadline()
	x := history.CacheRead{
		Cache: r.c.number, Fresh: r.fresh(), Key: r.key(), Prefix: r.random.IntN(4) == 0,
		Began: w.rec.Now(), Deadline: w.rec.At(deadline),
	}
	var a store.CacheAnswer
	var err error
	if x.Prefix {
		x.Key = r.c.prefix
		a, err = r.c.cache.All(ctx, x.Fresh)
	} else {
		a, err = r.c.cache.Get(ctx, x.Key, x.Fresh)
	}
	x.Ended, x.Revision, x.FromServer, x.Pairs = w.rec.Now(), a.Revision, a.FromServer, a.Pairs
	if err != nil {
		x.Error = err.Error()
	}
	w.rec.Change(func(run *history.Run) { run.Reads = append(run.Reads, x) })
}

// subscribe reads a subscription until it is over, or else to the last state. It pauses after
// each update.
func (w *world) subscribe(c *cached, pause time.Duration, over <-chan struct{}) {
	log := &history.Subscriber{Cache: c.number, Prefix: c.prefix}
	w.rec.Change(func(r *history.Run) { r.Subscribers = append(r.Subscribers, log) })
	sub := c.cache.Subscribe("")
	w.watches.Go(func() {
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		go func() {
			select {
			case <-over:
			case <-w.final:
			case <-ctx.Done():
			}
			cancel()
		}()
		for ctx.Err() == nil {
			if w.nextUpdate(ctx, log, sub) != nil {
				break
			}
			w.sleepFully(ctx, pause)
		}
		select {
		case <-over:
		case <-w.final:
			w.lastUpdates(log, sub)
		}
	})
}

func (w *world) nextUpdate(ctx context.Context, log *history.Subscriber, sub store.Subscription) error {
	u, err := sub.Next(ctx)
	if err == nil {
		u.At = w.rec.Now()
		log.Updates = append(log.Updates, u)
	}
	return err
}

// lastUpdates reads a subscription up to the last change of its keys.
func (w *world) lastUpdates(log *history.Subscriber, sub store.Subscription) {
	log.Final = w.oracle.last(w.finalRevision, func(e *history.Event) bool { return strings.HasPrefix(e.Key, log.Prefix) })
	ctx, cancel := context.WithTimeout(w.ctx, settle/4)
	defer cancel()
	for n := len(log.Updates); n == 0 || log.Updates[n-1].Revision < log.Final; n = len(log.Updates) {
		if err := w.nextUpdate(ctx, log, sub); err != nil {
			log.Error = err.Error()
			return
		}
	}
}
