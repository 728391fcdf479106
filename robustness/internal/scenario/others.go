package scenario

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// otherScenarios are the scenarios of maintenance, large reads and leaks.
var otherScenarios = []Scenario{
	{
		Number: 30, Name: "defragment", About: "members with a large database are defragmented in turn; mixed calls",
		Judged: []string{"I1", "I2", "I8"}, Time: 40 * time.Second, Least: history.Amount{Faults: 4, Calls: 5_000, Batches: 20},
		run: defragment,
	},
	{
		Number: 31, Name: "cut-ranges", About: "ranges of many keys are cut midway, with writers and compactions", Quick: true,
		Judged: []string{"I1"}, Time: 40 * time.Second, Least: history.Amount{Faults: 50},
		run: cutRanges,
	},
	{
		Number: 33, Name: "open-close", About: "clients with calls, watches and leases are opened and closed under faults", Quick: true, Alone: true,
		Judged: []string{"I10"}, Time: 45 * time.Second, Least: history.Amount{Faults: 75},
		run: openClose,
	},
}

// defragment fills the database and then defragments one member after another.
func defragment(w *world) error {
	const keys, size = 1000, 100 << 10
	var fill sync.WaitGroup
	errs := make(chan error, 10)
	for i := range 10 {
		fill.Go(func() {
			for k := i; k < keys; k += 10 {
				if _, err := w.admin.Put(w.ctx, fmt.Sprintf("~fill/%d", k), store.Pad(fmt.Sprint("fill", k), size)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	fill.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	w.mixed()
	return w.cycles(cycle{name: "defragmented", oneMember: true, gap: 3 * time.Second, inject: func(w *world, n int) (func() error, error) {
		members := w.cluster.Members()
		ctx, cancel := context.WithTimeout(w.ctx, settle)
		defer cancel()
		_, err := w.admin.Defragment(ctx, members[n%len(members)].Endpoints()[0])
		return func() error { return nil }, err
	}})
}

// cutRanges reads many keys while answers are cut and the keys are written.
func cutRanges(w *world) error {
	const keys, size = 600, 10 << 10
	key := func(i int) string { return fmt.Sprintf("r/%04d", i) }
	c := &caller{w: w, s: w.stores[0], random: w.random(), process: int(w.process.Add(1))}
	for i := 0; i < keys; i += 100 {
		var some []string
		for j := i; j < i+100; j++ {
			some = append(some, key(j))
		}
		c.many(some, "r/", size)
	}
	w.loads.Go(func() {
		for w.sleep(10 * time.Millisecond) {
			c.many([]string{key(c.random.IntN(keys))}, "r/", size)
		}
	})
	for i := range 3 {
		s := w.stores[i%len(w.stores)]
		w.loads.Go(func() {
			for w.sleep(20 * time.Millisecond) {
				w.scan(s, "r/")
			}
		})
	}
	return w.cycles(cycle{name: "range cut", gap: 150 * time.Millisecond, inject: func(w *world, n int) (func() error, error) {
		if n%20 == 19 {
			if err := w.compact(w.oracle.now() - 500); err != nil {
				return nil, err
			}
		}
		return cutWithin(etcdtest.ToClient, 8<<20)(w, n)
	}})
}

// scan reads and records a range.
func (w *world) scan(s store.Store, prefix string) {
	ctx, cancel := context.WithTimeout(w.ctx, 4*patience)
	defer cancel()
	x := history.Scan{Prefix: prefix, Began: w.rec.Now()}
	revision, err := s.Scan(ctx, prefix, func(e history.Event) { x.Pairs = append(x.Pairs, e) })
	x.Ended, x.Revision = w.rec.Now(), revision
	if err != nil {
		x.Error = err.Error()
	}
	w.rec.Change(func(r *history.Run) { r.Scans = append(r.Scans, x) })
}

// openClose opens clients, uses them while connections are cut and stalled, and
// closes them meanwhile.
func openClose(w *world) error {
	for _, s := range w.stores {
		if err := s.Close(); err != nil {
			return err
		}
	}
	w.stores = nil
	revision, err := w.mark(w.ctx)
	if err == nil {
		err = w.oracle.reach(w.ctx, revision) // all watchers of the harness exist
	}
	if err != nil {
		return err
	}
	before := w.holds()
	faults := []func(*world, int) (func() error, error){
		reset, cutWithin(etcdtest.BothWays, 2000), link(etcdtest.BothWays, etcdtest.Fault{Stall: true}),
		link(etcdtest.ToClient, etcdtest.Fault{Discard: true}), link(etcdtest.BothWays, etcdtest.Fault{Delay: 20 * time.Millisecond}),
	}
	pprof.Do(w.ctx, tested, func(context.Context) {
		for n := 0; err == nil && !w.over(); n++ {
			err = w.closeUnder(faults[n%len(faults)], n)
		}
	})
	w.left(before)
	if err == nil {
		err = w.ctx.Err()
	}
	return err
}

// closeUnder opens and closes a few clients under a fault.
func (w *world) closeUnder(fault func(*world, int) (func() error, error), n int) error {
	defer w.rec.Fault(history.Fault{Name: "closed under a fault"})()
	heal, err := fault(w, n)
	if err != nil {
		return err
	}
	random := w.random()
	var open sync.WaitGroup
	for range 4 {
		life := time.Duration(random.Int64N(int64(100 * time.Millisecond)))
		open.Go(func() { w.brief(life) })
	}
	open.Wait()
	return heal()
}

// brief opens a client, uses it and closes it after life.
func (w *world) brief(life time.Duration) {
	s, err := store.Drivers[w.client](w.config())
	if err != nil {
		w.failed("opening a client: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	var uses sync.WaitGroup
	uses.Go(func() { _, _ = s.Put(ctx, check.Own+"brief", "x", 0) })
	uses.Go(func() {
		if watch, err := s.Watch(ctx, history.Filter{Key: check.Own, Prefix: true}, 0); err == nil {
			_, _ = watch.Next(ctx)
		}
	})
	uses.Go(func() { _, _ = s.Grant(ctx, 2*time.Second) })
	w.sleep(life)
	began := time.Now()
	_ = s.Close()
	w.rec.Sample("close", time.Since(began))
	cancel()
	uses.Wait()
}

// holding is the clients' resource use in this process and on the servers.
type holding struct{ goroutines, descriptors, watchers float64 }

// holds measures the current resource use.
func (w *world) holds() holding {
	h := holding{goroutines: testedGoroutines(), descriptors: descriptors()}
	for _, m := range w.cluster.Members() {
		n, err := m.Metric(w.ctx, "etcd_debugging_mvcc_watcher_total")
		if err != nil {
			w.failed("%v", err)
		}
		h.watchers += n
	}
	return h
}

// left waits until the resource use is back to before, and records it.
func (w *world) left(before holding) {
	end := time.Now().Add(settle / 4)
	after := w.holds()
	for after != before && time.Now().Before(end) {
		w.sleep(100 * time.Millisecond)
		after = w.holds()
	}
	w.rec.Change(func(r *history.Run) {
		for _, u := range []struct {
			what          string
			before, after float64
		}{
			{"goroutines", before.goroutines, after.goroutines},
			{"descriptors", before.descriptors, after.descriptors},
			{"the servers' watchers", before.watchers, after.watchers},
		} {
			r.Usage = append(r.Usage, history.Usage{What: u.what, Invariant: "I10", Before: u.before, After: u.after, Most: u.before})
		}
	})
}

// tested labels the goroutines of the tested clients, to distinguish them from
// those of the oracles and of the harness.
var tested = pprof.Labels("client", "tested")

// testedGoroutines counts the labelled goroutines.
func testedGoroutines() float64 {
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return -1
	}
	sum, n := 0, 0
	for line := range strings.Lines(profile.String()) {
		if count, _, ok := strings.Cut(line, " @ "); ok {
			n, _ = strconv.Atoi(count)
		}
		if strings.HasPrefix(line, "# labels:") && strings.Contains(line, "tested") {
			sum += n
		}
	}
	return float64(sum)
}

// descriptors counts the open files of this process; 0 if it can't.
func descriptors() float64 {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return float64(len(files))
}

// heap returns the size of the heap after a collection.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
