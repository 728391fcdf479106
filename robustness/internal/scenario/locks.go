package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// locking configures a load of locks.
type locking struct {
	ttl time.Duration // of the leases; 0 means lockTTL
	// wants are picked at random, each as often as it is listed.
	wants []history.Want
	// contenders is their number for each client; 0 means lockContenders.
	contenders int
	// long is how long every fourth holding may last; the others last up to short.
	long time.Duration
	// alone: each contender also uses a name that nobody else does, so that it locks that
	// again and again.
	alone bool
	// linger: some keys are kept for the next attempt. No hand may delete those: nobody would
	// learn of it in time.
	linger bool
	// mixed adds contenders of the other client.
	mixed bool
	// near leaves out the client that faults of the links don't reach.
	near bool
}

const (
	lockTTL        = 3 * time.Second
	lockContenders = 5
	short          = 8 * time.Millisecond
	// lockPatience is the timeout of attempts without a deliberately short one.
	lockPatience = 20 * time.Second
)

// The names that contenders share.
var (
	mutexes = wants(history.Want{Recipe: history.Mutex}, "m", 3)
	shared  = slices.Concat(
		wants(history.Want{Recipe: history.WriteLock}, "rw", 1), wants(history.Want{Recipe: history.ReadLock}, "rw", 1),
		wants(history.Want{Recipe: history.ReadLock}, "rw", 1),
		wants(history.Want{Recipe: history.Semaphore, Limit: 4}, "sem", 1), wants(history.Want{Recipe: history.Semaphore, Limit: 4}, "sem", 1),
	)
	barriers  = wants(history.Want{Recipe: history.Round, Limit: 3}, "round", 1)
	terms     = slices.Concat(wants(history.Want{Recipe: history.LeaderRun}, "run", 1), wants(history.Want{Recipe: history.LeaderRun}, "run", 1))
	elections = wants(history.Want{Recipe: history.Leadership}, "e", 2)
)

// wants returns n names with a prefix.
func wants(like history.Want, prefix string, n int) []history.Want {
	var all []history.Want
	for i := range n {
		like.Name = fmt.Sprintf("%s%s%d", history.Locks, prefix, i)
		all = append(all, like)
	}
	return all
}

// lockClient is one client of a load of locks.
type lockClient struct {
	name  string
	locks store.Locks
}

// locks starts a load of locks: two clients behind the proxies and one that faults of the
// links don't reach.
func (w *world) locks(l locking) error {
	if l.ttl == 0 {
		l.ttl = lockTTL
	}
	if l.contenders == 0 {
		l.contenders = lockContenders
	}
	w.rec.Change(func(r *history.Run) { r.LockTTL = l.ttl })
	w.locking = nil
	for _, s := range w.stores {
		if err := w.lockClient(w.client, s, l.ttl); err != nil {
			return err
		}
	}
	direct := w.config()
	direct.Endpoints = w.cluster.Endpoints()
	if !l.near {
		if err := w.openFor(w.client, direct, l.ttl); err != nil {
			return err
		}
	}
	for _, other := range store.Names {
		if l.mixed && other != w.client {
			if err := w.openFor(other, direct, l.ttl); err != nil {
				return err
			}
		}
	}
	for _, c := range w.locking {
		for range l.contenders {
			w.contend(c, &l)
		}
	}
	w.observe(l.wants)
	return nil
}

// openFor opens one more client, and its locks.
func (w *world) openFor(name string, config store.Config, ttl time.Duration) error {
	s, err := store.Drivers[name](config)
	if err != nil {
		return err
	}
	w.stores = append(w.stores, s)
	return w.lockClient(name, s, ttl)
}

func (w *world) lockClient(name string, s store.Store, ttl time.Duration) error {
	locks, err := store.OpenLocks(s, ttl)
	if err == nil {
		w.locking = append(w.locking, &lockClient{name, locks})
	}
	return err
}

// contend starts a contender.
func (w *world) contend(c *lockClient, l *locking) {
	x := &contender{
		ctx: w.ctx, client: c, load: l, random: w.random(), process: int(w.process.Add(1)),
		now: w.rec.Now, sleep: w.sleep, value: w.value,
		lock:   func(l history.Lock) { w.rec.Change(func(r *history.Run) { r.Locks = append(r.Locks, l) }) },
		fenced: func(f history.Fenced) { w.rec.Change(func(r *history.Run) { r.Fenced = append(r.Fenced, f) }) },
	}
	w.loads.Go(x.run)
}

// contender asks for one lock after another.
type contender struct {
	ctx     context.Context
	client  *lockClient
	load    *locking
	random  *rand.Rand
	process int

	now    func() int64
	sleep  func(time.Duration) bool // false: it must stop
	value  func() string            // another one each time
	lock   func(history.Lock)
	fenced func(history.Fenced)
}

func (c *contender) run() {
	for c.sleep(c.upTo(short)) {
		want := c.load.wants[c.random.IntN(len(c.load.wants))]
		if c.load.alone && c.random.IntN(2) == 0 {
			want = history.Want{Recipe: history.Mutex, Name: fmt.Sprintf("%sown%d", history.Locks, c.process)}
		}
		switch want.Recipe {
		case history.LeaderRun:
			c.lead(want)
			continue
		case history.Semaphore:
			want.Weight = 1 + c.random.IntN(want.Limit)
		case history.Mutex:
			want.Try, want.Linger = c.random.IntN(8) == 0, c.load.linger && c.random.IntN(3) == 0
		case history.WriteLock, history.ReadLock, history.Leadership, history.Round:
		}
		if !c.once(want) {
			c.sleep(c.upTo(40 * time.Millisecond))
		}
	}
}

// upTo returns a random time.
func (c *contender) upTo(d time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(d) + 1))
}

// timeout returns a context with a deadline, every fourth time a deliberately early one: of
// any order of magnitude from a millisecond up.
func (c *contender) timeout(patient, brief time.Duration) (ctx context.Context, cancel context.CancelFunc, deadline int64) {
	d := patient
	if c.random.IntN(4) == 0 {
		for d = time.Millisecond; d < brief && c.random.IntN(8) != 0; d *= 2 {
		}
		d += c.upTo(d)
	}
	ctx, cancel = context.WithTimeout(c.ctx, d)
	return ctx, cancel, c.now() + int64(d)
}

// once makes an attempt and holds what it gets. It returns false if it got nothing.
func (c *contender) once(want history.Want) bool {
	l := history.Lock{Want: want, Client: c.client.name, Process: c.process}
	ctx, cancel, deadline := c.timeout(lockPatience, 1500*time.Millisecond)
	defer cancel()
	l.Asked, l.Deadline = c.now(), deadline
	held, err := c.client.locks.Acquire(ctx, want, c.value())
	now := c.now()
	if err != nil {
		l.Refused, l.Error = now, err.Error()
		if !errors.Is(err, store.ErrUnsupported) {
			c.lock(l)
		}
		return false
	}
	l.Granted = now
	gone := c.follow(&l, held)
	c.work(c.ctx, &l, held)
	c.release(&l, held)
	l.Gone = gone.Load()
	c.lock(l)
	return true
}

// follow notes the key and the token, and when the holding ends for its holder. It stops
// when l is released.
func (c *contender) follow(l *history.Lock, held store.Lock) *atomic.Int64 {
	l.Key, l.Token = held.Key(), held.Token()
	gone := new(atomic.Int64)
	context.AfterFunc(held.Context(), func() { gone.CompareAndSwap(0, c.now()) })
	return gone
}

// work holds for a while, and writes what only the holder may write.
func (c *contender) work(ctx context.Context, l *history.Lock, held store.Lock) {
	d := c.upTo(short)
	if c.load.long > 0 && c.random.IntN(4) == 0 {
		d = c.upTo(c.load.long)
	}
	c.write(l, held)
	c.pause(ctx, held, d)
	for n := c.random.IntN(7); l.Recipe == history.Leadership && n > 0; n-- {
		proclaiming, cancel, _ := c.timeout(patience, 20*time.Millisecond)
		_ = held.Proclaim(proclaiming, c.value()) // observers tell
		cancel()
	}
	if c.random.IntN(2) == 0 {
		c.write(l, held) // also after a loss: it must be refused
	}
}

// pause waits for d, or until the holder must stop.
func (c *contender) pause(ctx context.Context, held store.Lock, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-held.Context().Done():
	case <-ctx.Done():
	}
}

// write writes under the lock's protection.
func (c *contender) write(l *history.Lock, held store.Lock) {
	if l.Token == 0 || l.Recipe == history.ReadLock || l.Recipe == history.Semaphore || l.Recipe == history.Round {
		return // there is no order of tokens
	}
	ctx, cancel, _ := c.timeout(patience, 100*time.Millisecond)
	defer cancel()
	f := history.Fenced{Name: l.Name, Client: l.Client, Token: l.Token, Value: c.value(), Began: c.now()}
	a, err := held.Write(ctx, history.Fences+l.Name, f.Value)
	f.Ended, f.Revision = c.now(), a.Revision
	switch {
	case err == nil:
	case errors.Is(err, store.ErrLost):
		f.Fate, f.Error = history.NotApplied, err.Error()
	default:
		f.Fate, f.Error = history.Unknown, err.Error()
	}
	c.fenced(f)
}

// release ends the holding.
func (c *contender) release(l *history.Lock, held store.Lock) {
	l.Lost = held.Lost()
	ctx, cancel, until := c.timeout(patience, 50*time.Millisecond)
	defer cancel()
	l.Released, l.Until = c.now(), until
	err := held.Release(ctx)
	l.Freed = c.now()
	if err != nil {
		l.ReleaseError = err.Error()
	}
}

// lead runs a function while it leads.
func (c *contender) lead(want history.Want) {
	ctx, cancel := context.WithTimeout(c.ctx, 500*time.Millisecond+c.upTo(3*time.Second))
	defer cancel()
	stop := context.AfterFunc(c.stopping(), cancel)
	defer stop()
	_ = c.client.locks.Run(ctx, want.Name, c.value(), func(ctx context.Context, held store.Lock) error {
		l := history.Lock{Want: want, Client: c.client.name, Process: c.process, Granted: c.now()}
		l.Asked = l.Granted
		gone := c.follow(&l, held)
		if c.random.IntN(2) == 0 {
			defer time.AfterFunc(c.upTo(short), cancel).Stop()
		}
		c.work(ctx, &l, held)
		if ctx.Err() != nil { // it needs a moment to stop
			c.sleep(c.upTo(100 * time.Millisecond))
		}
		l.Lost = held.Lost()
		l.Released = c.now()
		l.Freed, l.Gone = l.Released, gone.Load()
		c.lock(l)
		return nil
	}) // its error is that of ctx, or the client's, and there is no more to it
}

// stopping is a context that ends when the contender must stop.
func (c *contender) stopping() context.Context {
	ctx, cancel := context.WithCancel(c.ctx)
	go func() {
		defer cancel()
		for c.sleep(20 * time.Millisecond) {
		}
	}()
	return ctx
}

// observe has every client observe every election.
func (w *world) observe(all []history.Want) {
	ctx, cancel := context.WithCancel(w.ctx)
	w.unobserve = cancel
	seen := make(map[string]bool)
	for _, want := range all {
		if seen[want.Name] || want.Recipe != history.Leadership && want.Recipe != history.LeaderRun {
			continue
		}
		seen[want.Name] = true
		for _, c := range w.locking {
			w.observing.Go(func() {
				for ctx.Err() == nil {
					w.observer(ctx, c, want.Name)
					w.sleepFully(ctx, 100*time.Millisecond)
				}
			})
		}
	}
}

// observer observes an election until ctx ends or the client gives up.
func (w *world) observer(ctx context.Context, c *lockClient, name string) {
	o := history.Observed{Name: name, Client: c.name}
	err := c.locks.Observe(ctx, name, func(l history.Leader) {
		l.At = w.rec.Now()
		o.States = append(o.States, l)
	})
	if o.Final = ctx.Err() != nil; !o.Final && err != nil {
		o.Error = err.Error()
	}
	w.rec.Change(func(r *history.Run) { r.Leaders = append(r.Leaders, o) })
}

// settleLocks looks for keys that are left over when every contender has stopped: first
// while the sessions live, then when they are closed.
func (w *world) settleLocks(ctx context.Context) {
	if w.locking == nil {
		return
	}
	bound := 2 * time.Second
	w.rec.Change(func(r *history.Run) {
		if w.scenario.LeasesMayEnd {
			bound += r.LockTTL + r.LockTTL/2
		}
	})
	for _, c := range w.locking {
		if c.name != store.Names[0] && c.name != w.client { // the other client's leavings don't count
			_ = c.locks.Close(ctx) // then its leases expire
		}
	}
	w.leftOver(ctx, "the releases", bound, history.Locks)
	w.sleepFully(ctx, time.Second) // for observers
	w.unobserve()
	w.observing.Wait()
	for _, c := range w.locking {
		_ = c.locks.Close(ctx) // what is left over tells
	}
	w.leftOver(ctx, "the sessions were closed", 0, history.Locks, history.Sessions)
	w.locking = nil
}

// sleepFully waits for d although the loads have stopped.
func (w *world) sleepFully(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// leftOver waits until there are no keys with the prefixes, for as long as they may take.
func (w *world) leftOver(ctx context.Context, after string, bound time.Duration, prefixes ...string) {
	rest := history.Rest{After: after, Began: w.rec.Now(), Bound: int64(bound)}
	for {
		rest.Keys = nil
		for _, prefix := range prefixes {
			r, err := w.admin.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
			if err != nil {
				w.failed("looking for keys that are left over: %v", err)
				return
			}
			for _, kv := range r.Kvs {
				rest.Keys = append(rest.Keys, string(kv.Key))
			}
		}
		if len(rest.Keys) == 0 || w.rec.Now()-rest.Began >= rest.Bound {
			break
		}
		w.sleepFully(ctx, 20*time.Millisecond)
	}
	w.rec.Change(func(r *history.Run) { r.Rests = append(r.Rests, rest) })
}
