package scenario

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

var cacheJudged = []string{"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C9"}

// cacheScenarios are the scenarios of faults under caches.
var cacheScenarios = []Scenario{
	{
		Number: 51, Name: "cache-cuts", About: "connections are reset at a random byte of requests and answers; caches", Quick: true,
		Judged: cacheJudged, OursOnly: true, Time: 20 * time.Second, Least: history.Amount{Faults: 40, Reads: 20_000},
		run: underCaches(cycle{name: "cut", harmless: true, gap: 80 * time.Millisecond, inject: eachWay(4096)}),
	},
	{
		Number: 52, Name: "cache-stall", About: "traffic is held back both ways and arrives late; caches",
		Judged: cacheJudged, OursOnly: true, Time: 25 * time.Second, Least: history.Amount{Faults: 2, Reads: 20_000},
		run: underCaches(cycle{name: "stalled", gap: 3 * time.Second, hold: 3 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})}),
	},
	{
		Number: 53, Name: "cache-lost-answers", About: "requests arrive, answers are lost; caches",
		Judged: cacheJudged, OursOnly: true, Time: 25 * time.Second, Least: history.Amount{Faults: 3, Reads: 20_000},
		run: underCaches(cycle{name: "answers lost", gap: 2 * time.Second, hold: 1500 * time.Millisecond, inject: link(etcdtest.ToClient, etcdtest.Fault{Discard: true})}),
	},
	{
		Number: 54, Name: "cache-compaction", About: "connections are held back, and reset when the history has been compacted meanwhile; caches",
		Judged: cacheJudged, OursOnly: true, Time: 25 * time.Second, Least: history.Amount{Faults: 3, Reads: 20_000},
		run: underCaches(cycle{name: "compacted", gap: 2 * time.Second, hold: time.Second, inject: compactBehind}),
	},
	{
		Number: 55, Name: "cache-minority", About: "a member is cut off from the others but still reachable for clients; caches",
		Judged: cacheJudged, OursOnly: true, Time: 30 * time.Second, Least: history.Amount{Faults: 3, Reads: 20_000},
		Cluster: etcdtest.ClusterConfig{PeerProxies: true},
		run:     underCaches(cycle{name: "member cut off", oneMember: true, gap: 3 * time.Second, hold: 3 * time.Second, inject: isolate(inTurn)}),
	},
	{
		Number: 56, Name: "cache-restart", About: "all members are killed and started again; caches",
		Judged: cacheJudged, OursOnly: true, Time: 30 * time.Second, Least: history.Amount{Faults: 2, Reads: 20_000},
		run: underCaches(cycle{name: "all members killed", gap: 4 * time.Second, hold: time.Second, inject: killAll}),
	},
	{
		Number: 57, Name: "cache-suspended", About: "members are suspended in turn, and go on; caches",
		Judged: cacheJudged, OursOnly: true, Time: 30 * time.Second, Least: history.Amount{Faults: 2, Reads: 20_000},
		run: underCaches(cycle{name: "member suspended", oneMember: true, gap: 3 * time.Second, hold: 4 * time.Second, inject: hang(inTurn)}),
	},
	{
		Number: 58, Name: "cache-slow", About: "one subscriber stops, and a cache is too small; connections are reset; caches of large values",
		Judged: []string{"C1", "C2", "C6", "C7", "C8", "C9"}, OursOnly: true, Time: 25 * time.Second, Least: history.Amount{Faults: 3, Reads: 3_000},
		run: slowSubscriber,
	},
}

// idleKeys is how many keys there are that change with each fault.
const idleKeys = 3

// underCaches is a load of caches with a recurring fault.
func underCaches(c cycle) func(*world) error {
	return func(w *world) error {
		if err := w.beforeCaches(); err != nil {
			return err
		}
		if err := w.readCaches(); err != nil {
			return err
		}
		return w.cycles(caughtUp(c))
	}
}

// beforeCaches notes what there is before a load of caches, once the oracles watch.
func (w *world) beforeCaches() error {
	revision, err := w.insistAdmin(check.Own + "begin")
	if err == nil {
		err = w.oracle.reach(w.ctx, revision)
	}
	w.cachesBefore = w.cacheTraces()
	return err
}

// caughtUp has the end of each fault wait until the caches have what is written then.
func caughtUp(c cycle) cycle {
	inject := c.inject
	c.inject = func(w *world, n int) (func() error, error) {
		heal, err := inject(w, n)
		return func() error {
			if err := heal(); err != nil {
				return err
			}
			return w.catchUp(c.name, n)
		}, err
	}
	return c
}

// catchUp writes to each range, and records when the caches have that.
func (w *world) catchUp(after string, n int) error {
	wanted := make(map[string]int64)
	for _, c := range w.caches {
		if wanted[c.prefix] > 0 {
			continue
		}
		revision, err := w.insistAdmin(fmt.Sprintf("%s%d", c.prefix, n%idleKeys))
		if err != nil {
			return err
		}
		wanted[c.prefix] = revision
	}
	began := w.rec.Now()
	left := w.caches
	for limit := time.Now().Add(10 * time.Second); len(left) > 0; w.sleepFully(w.ctx, 2*time.Millisecond) {
		var still []*cached
		for _, c := range left {
			x := history.Catch{Cache: c.number, After: after, Began: began, Ended: w.rec.Now(), Wanted: wanted[c.prefix], Revision: c.cache.Revision()}
			if x.Revision < x.Wanted && time.Now().Before(limit) && w.ctx.Err() == nil {
				still = append(still, c)
				continue
			}
			w.rec.Change(func(r *history.Run) { r.Catches = append(r.Catches, x) })
		}
		left = still
	}
	return nil
}

// insistAdmin puts a key until that succeeds.
func (w *world) insistAdmin(key string) (int64, error) {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	for {
		r, err := w.admin.Put(ctx, key, w.value())
		if err == nil {
			return r.Header.Revision, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("writing after a fault: %w", err)
		}
	}
}

// compactBehind holds the links back, and compacts what the clients miss.
func compactBehind(w *world, n int) (func() error, error) {
	heal, err := link(etcdtest.BothWays, etcdtest.Fault{Stall: true})(w, n)
	return func() error {
		err := w.compact(w.oracle.now() - 10)
		for _, p := range w.proxies {
			p.Reset()
		}
		return errors.Join(err, heal())
	}, err
}

// killAll ends all members like a crash and starts them again.
func killAll(w *world, _ int) (func() error, error) {
	members := w.cluster.Members()
	var errs []error
	for _, m := range members {
		errs = append(errs, m.Kill())
	}
	return func() error {
		var errs []error
		for _, m := range members {
			errs = append(errs, m.Launch())
		}
		ctx, cancel := context.WithTimeout(w.ctx, settle)
		defer cancel()
		for _, m := range members {
			errs = append(errs, m.Ready(ctx))
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

const (
	// smallCache is the bound of a cache that is too small, retained that of what is kept for
	// subscribers, with what comes between two looks at it.
	smallCache = 200 << 10
	retained   = 72 << 20
)

// slowSubscriber keeps replacing large values, while one subscriber of each cache has stopped.
func slowSubscriber(w *world) error {
	const keys, size = 10, 32 << 10
	if err := w.beforeCaches(); err != nil {
		return err
	}
	if err := w.direct(); err != nil {
		return err
	}
	before := heap()
	c := &caller{w: w, s: w.stores[len(w.stores)-1], random: w.random(), process: int(w.process.Add(1))}
	w.loads.Go(func() {
		for i := 0; w.sleep(2 * time.Millisecond); i++ {
			c.many([]string{fmt.Sprintf("w/%02d", i%keys)}, hot, size)
		}
	})
	var small []*cached
	for _, s := range w.stores[:2] {
		full, err := w.largeAndSmall(s)
		if err != nil {
			return err
		}
		small = append(small, full)
	}
	err := w.cycles(caughtUp(cycle{name: "reset", gap: 2 * time.Second, inject: func(w *world, n int) (func() error, error) {
		for _, c := range w.caches {
			w.usageOf("bytes kept for subscribers", float64(c.cache.Stats().Retained), retained)
		}
		return reset(w, n)
	}}))
	// For each of two caches: what is kept, the last states, and messages in flight.
	w.usageOf("heap bytes", heap(), before+2*(retained+24<<20))
	for _, c := range small {
		s := c.cache.Stats()
		if !s.Ended {
			w.failed("a cache of %d bytes has not ended", smallCache)
		}
		w.usageOf("bytes of a cache that was too small", float64(s.Bytes), smallCache)
	}
	w.caches = append(w.caches, small...)
	return err
}

// largeAndSmall makes two caches with readers: one with two subscribers, one of which has stopped,
// and one that is too small, which it returns.
func (w *world) largeAndSmall(s store.Store) (*cached, error) {
	large, err := w.cache(s, hot, 0)
	if err != nil {
		return nil, err
	}
	w.caches = append(w.caches, large)
	w.subscribe(large, 0, w.ctx.Done())
	w.subscribe(large, time.Hour, w.ctx.Done())
	full, err := w.cache(s, hot, smallCache)
	if err != nil {
		return nil, err
	}
	for _, c := range []*cached{large, full} {
		for range 2 {
			r := &cacheReader{c, w.random()}
			w.loads.Go(func() { r.run(w.stop) })
		}
	}
	return full, nil
}

func (w *world) usageOf(what string, is, most float64) {
	w.rec.Change(func(r *history.Run) {
		r.Usage = append(r.Usage, history.Usage{What: what, Invariant: "C8", After: is, Most: most})
	})
}

// settleCaches closes the caches, and looks for what they leave behind.
func (w *world) settleCaches() {
	if w.caches == nil {
		return
	}
	for _, c := range w.caches {
		if err := c.cache.Close(); err != nil {
			w.failed("closing a cache: %v", err)
		}
	}
	w.caches = nil
	before, after := w.cachesBefore, w.cacheTraces()
	for end := time.Now().Add(settle / 6); after != before && time.Now().Before(end); after = w.cacheTraces() {
		w.sleepFully(w.ctx, 50*time.Millisecond)
	}
	w.rec.Change(func(r *history.Run) {
		r.Usage = append(r.Usage,
			history.Usage{What: "goroutines of caches", Invariant: "C9", Before: before.goroutines, After: after.goroutines, Most: before.goroutines},
			history.Usage{What: "the servers' watchers", Invariant: "C9", Before: before.watchers, After: after.watchers, Most: before.watchers},
		)
	})
}

// cacheTraces is what caches hold now.
func (w *world) cacheTraces() holding {
	h := w.holds()
	return holding{goroutines: goroutinesIn("silly.store/etcd/cache."), watchers: h.watchers}
}

// goroutinesIn counts the goroutines that have a function of a package on their stack.
func goroutinesIn(functions string) float64 {
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return -1
	}
	sum, n := 0, 0
	for line := range strings.Lines(profile.String()) {
		if count, _, ok := strings.Cut(line, " @ "); ok {
			n, _ = strconv.Atoi(count)
		}
		if strings.Contains(line, functions) {
			sum, n = sum+n, 0
		}
	}
	return float64(sum)
}
