package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// watchScenarios are the scenarios of faults under watches.
var watchScenarios = []Scenario{
	{
		Number: 16, Name: "compaction", About: "a compaction every 100 ms; watches begin up to 100 revisions back and ahead", Quick: true,
		Judged: []string{"I3", "I4"}, Time: 40 * time.Second, Least: history.Amount{Faults: 20, Events: 50_000, Batches: 20},
		run: compactions,
	},
	{
		Number: 17, Name: "cut-before-first", About: "connections are reset before the first event of watches from now, while writers race", Quick: true,
		Judged: []string{"I1", "I2", "I3", "I4"}, Time: 40 * time.Second, Least: history.Amount{Faults: 200, Calls: 5_000, Events: 5_000, Batches: 20},
		run: func(w *world) error {
			w.mixed()
			filters := w.churn(4, 5*time.Millisecond)
			w.watchers(30, watching{filters: filters, life: 500 * time.Millisecond})
			return w.cycles(cycle{name: "reset", gap: 100 * time.Millisecond, inject: reset})
		},
	},
	{
		Number: 18, Name: "many-watches", About: "10,000 watches over two clients lose their connections at once",
		Judged: []string{"I3", "I4"}, Time: 40 * time.Second, Least: history.Amount{Faults: 4, Events: 10_000},
		run: manyWatches,
	},
	{
		Number: 19, Name: "fragments", About: "revisions too large for one message are cut midway", Quick: true,
		Judged: []string{"I3", "I4"}, Time: 40 * time.Second, Least: history.Amount{Faults: 50, Events: 2_000},
		Cluster: etcdtest.ClusterConfig{Config: etcdtest.Config{MaxRequestBytes: 32 << 10}},
		run:     fragments,
	},
	{
		Number: 20, Name: "future", About: "watches from future revisions, while members are restarted",
		Judged: []string{"I1", "I2", "I3", "I4"}, Time: 40 * time.Second, Least: history.Amount{Faults: 3, Calls: 10_000, Events: 5_000, Batches: 20},
		run: func(w *world) error {
			w.mixed()
			filters := w.churn(2, 10*time.Millisecond)
			w.watchers(30, watching{filters: filters, back: -20, ahead: 2_000, life: 3 * time.Second})
			return w.cycles(cycle{name: "member restarted", gap: 2 * time.Second, hold: 500 * time.Millisecond, inject: terminate(inTurn)})
		},
	},
	{
		Number: 21, Name: "slow-reader", About: "one reader is far too slow, the others are not; connections are reset",
		Judged: []string{"I3", "I4", "I9"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Events: 10_000},
		run: slowReader,
	},
	{
		Number: 22, Name: "beside-bulk", About: "watches during ten concurrent reads of 10 MB, over TLS",
		Judged: []string{"I3", "I4"}, Time: 25 * time.Second, Least: history.Amount{Faults: 3, Events: 2_000},
		Cluster: etcdtest.ClusterConfig{Config: etcdtest.Config{TLS: etcdtest.ServerTLS}},
		run:     besideBulk,
	},
	{
		Number: 23, Name: "idle-progress", About: "progress of idle keys, across compactions and resets",
		Judged: []string{"I3", "I4"}, Time: 40 * time.Second, Least: history.Amount{Faults: 6},
		Cluster: etcdtest.ClusterConfig{Config: etcdtest.Config{WatchProgressInterval: time.Second}},
		run:     idleProgress,
	},
}

// compactions keeps compacting up to a moment ago; each second is reported as one
// fault.
func compactions(w *world) error {
	w.mixed()
	w.watchers(30, watching{filters: keyFilters, back: 100, ahead: 100, life: 2 * time.Second})
	w.watchers(15, watching{filters: keyFilters})
	return w.cycles(cycle{name: "compacted", gap: 100 * time.Millisecond, inject: func(w *world, n int) (func() error, error) {
		if n%10 == 9 {
			w.proxies[n/10%len(w.proxies)].Reset()
		}
		return func() error { return nil }, w.compact(w.oracle.now() - 50)
	}})
}

// compact compacts once the oracles have seen the compacted revisions.
func (w *world) compact(revision int64) error {
	if revision < 2 {
		return nil
	}
	if err := w.oracle.reach(w.ctx, revision); err != nil {
		return err
	}
	if _, err := w.admin.Compact(w.ctx, revision); err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	w.rec.Change(func(r *history.Run) { r.Compacted = max(r.Compacted, revision) })
	return nil
}

// manyWatches measures the time from a reset until each watch has delivered an event
// written right after it, and then a few more.
func manyWatches(w *world) error {
	const n, more = 10_000, 40
	w.churn(1, 30*time.Millisecond)
	began := time.Now()
	slots := w.watchers(n, watching{filters: []history.Filter{{Key: "all"}}})
	if err := w.allReach(slots, 1); err != nil {
		return err
	}
	w.rec.Sample("10,000 watches created", time.Since(began))
	c := &caller{w: w, s: w.stores[0], random: w.random(), process: int(w.process.Add(1))}
	return w.cycles(cycle{name: "all watches reset", gap: 2 * time.Second, inject: func(w *world, _ int) (func() error, error) {
		began := time.Now()
		for _, p := range w.proxies {
			p.Reset()
		}
		return func() error {
			revision, err := c.insist("all")
			if err == nil {
				err = w.allReach(slots, revision)
			}
			if err != nil {
				return err
			}
			w.rec.Sample("10,000 watches resumed", time.Since(began))
			for range more {
				if revision, err = c.insist("all"); err != nil {
					return err
				}
			}
			return w.allReach(slots, revision)
		}, nil
	}})
}

// insist retries a put until it succeeds and returns its revision.
func (c *caller) insist(key string) (int64, error) {
	for end := time.Now().Add(settle); ; {
		x := history.Call{Kind: history.Put, Key: key, Patient: true}
		c.make(&x, patience)
		switch {
		case x.Fate == history.Done:
			return x.Revision, nil
		case time.Now().After(end):
			return 0, errors.New(x.Error)
		}
	}
}

// allReach waits until all watches have delivered up to a revision.
func (w *world) allReach(slots []*watchSlot, revision int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(settle)
	for {
		missing := 0
		for _, s := range slots {
			if s.at.Load() < revision {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("%d of %d watches have not reached revision %d", missing, len(slots), revision)
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
}

// fragments writes keys one by one and deletes all at once: with the previous values
// that exceeds the size of one server message, so the server cuts it for watches that ask
// for that. Most watches see only the deletions: then most bytes are theirs, and most cuts
// come between two pieces.
func fragments(w *world) error {
	const keys, size, callers = 60, 20 << 10, 4
	var all []*caller
	for range callers {
		all = append(all, &caller{w: w, s: w.stores[0], random: w.random(), process: int(w.process.Add(1))})
	}
	w.loads.Go(func() {
		for w.sleep(20 * time.Millisecond) {
			var puts sync.WaitGroup
			for n, c := range all {
				puts.Go(func() {
					for i := n; i < keys && !w.stopped(); i += callers {
						c.many([]string{fmt.Sprintf("f/%02d", i)}, "f/", size)
					}
				})
			}
			puts.Wait()
			all[0].many(nil, "f/", 0)
		}
	})
	whole := history.Filter{Key: "f/", Prefix: true, PrevKV: true, Fragment: true}
	deletions := whole
	deletions.NoPut = true
	w.watchers(8, watching{filters: []history.Filter{deletions}})
	w.watchers(2, watching{filters: []history.Filter{whole}})
	w.watchers(4, watching{filters: []history.Filter{whole, deletions}, back: 100, life: 2 * time.Second})
	return w.cycles(cycle{name: "answer cut", gap: 150 * time.Millisecond, inject: cutWithin(etcdtest.ToClient, 4<<20)})
}

// slowReader measures the memory in use while one reader is slow.
func slowReader(w *world) error {
	before := heap()
	c := &caller{w: w, s: w.stores[0], random: w.random(), process: int(w.process.Add(1))}
	const size = 10 << 10
	w.loads.Go(func() {
		for i := 0; w.sleep(4 * time.Millisecond); i++ {
			c.many([]string{fmt.Sprintf("s/%d", i%10)}, "s/", size)
		}
	})
	all := []history.Filter{{Key: "s/", Prefix: true}}
	w.watchers(4, watching{filters: all, slow: 150 * time.Millisecond})
	w.watchers(4, watching{filters: all})
	err := w.cycles(cycle{name: "reset", gap: 5 * time.Second, inject: reset})
	after := heap()
	// Four buffers of 4 MiB, the messages in flight, and the harness's own records.
	w.rec.Change(func(r *history.Run) {
		r.Usage = append(r.Usage, history.Usage{What: "heap bytes", Invariant: "I9", Before: before, After: after, Most: before + 64<<20})
	})
	return err
}

// besideBulk reads 100 MB at once while watches run; each read counts as a fault. A
// watch's delay counts from the moment an oracle first sees the event.
func besideBulk(w *world) error {
	const keys, size = 100, 100 << 10
	for i := range keys {
		if _, err := w.admin.Put(w.ctx, fmt.Sprintf("~bulk/%03d", i), store.Pad(fmt.Sprint("bulk", i), size)); err != nil {
			return err
		}
	}
	filters := w.churn(2, 10*time.Millisecond)
	w.watchers(8, watching{filters: filters})
	return w.cycles(cycle{name: "bulk reads", gap: 2 * time.Second, inject: func(w *world, _ int) (func() error, error) {
		ctx, cancel := context.WithTimeout(w.ctx, settle)
		var reads sync.WaitGroup
		errs := make(chan error, 10)
		for i := range 10 {
			reads.Go(func() {
				began := time.Now()
				n, err := w.stores[i%len(w.stores)].ReadAll(ctx, "~bulk/")
				if err == nil && n != keys*size {
					err = fmt.Errorf("read %d bytes, want %d", n, keys*size)
				}
				if err != nil {
					errs <- err
					return
				}
				w.rec.Sample("read of 10 MB", time.Since(began))
			})
		}
		return func() error {
			reads.Wait()
			cancel()
			select {
			case err := <-errs:
				return err
			default:
				return nil
			}
		}, nil
	}})
}

// idleProgress opens watches on keys without writers, next to writers of other keys
// and compactions: progress must carry them past the compactions.
func idleProgress(w *world) error {
	filters := w.churn(2, 20*time.Millisecond)
	idle := []history.Filter{{Key: "idle", Progress: true}, {Key: "idle/", Prefix: true, Progress: true}}
	w.watchers(20, watching{filters: idle})
	w.watchers(5, watching{filters: filters})
	return w.cycles(cycle{name: "compacted and reset", gap: 3 * time.Second, inject: func(w *world, n int) (func() error, error) {
		if err := w.compact(w.oracle.now() - 400); err != nil {
			return nil, err
		}
		return reset(w, n)
	}})
}
