package concurrency

import (
	"flag"
	"slices"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

var slow = flag.Bool("slow", false, "run TestLockDoesNotDecay for ten minutes")

// The history of a lock that is taken again and again has as few keys as contenders: etcd walks
// over each key that a range had since the last compaction, so that names of which each is
// used once would make every cycle slower than the one before.
func TestCyclesReuseTheirKeys(t *testing.T) {
	t.Parallel()
	const contenders = 4
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, time.Minute)
	m := testbed.Coordinate(t, c, concurrency.Config{}).Mutex(name, concurrency.MutexConfig{})
	first := must[*concurrency.Lock](t)(m.Lock(ctx))
	var all sync.WaitGroup
	for range contenders - 1 {
		all.Go(func() {
			for range 50 {
				l, err := m.Lock(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if err := l.Unlock(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	unlock(t, first)
	all.Wait()
	last := must[*concurrency.Lock](t)(m.Lock(ctx))
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: name + "/", Prefix: true, NoDelete: true, Revision: first.Token()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	seen, puts := make(map[string]bool), 0
	for at := int64(0); at < last.Token(); {
		resp, err := w.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			seen[ev.KV.Key], at = true, ev.KV.ModRevision
			puts++
		}
	}
	if len(seen) > contenders || puts != 2+(contenders-1)*50 {
		t.Errorf("%d keys, %d puts", len(seen), puts)
	}
	unlock(t, last)
}

// After ten minutes of cycles without a compaction a cycle takes no longer than 1.2 times what one
// of a name without a history takes, in turns. Without -slow there are a thousand cycles, and
// those of a busy machine may take twice as long.
func TestLockDoesNotDecay(t *testing.T) {
	t.Parallel()
	_, c := testbed.Private(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	ctx := testbed.Within(t, 15*time.Minute)
	cycle := func(m *concurrency.Mutex) time.Duration {
		began := time.Now()
		unlock(t, must[*concurrency.Lock](t)(m.Lock(ctx)))
		return time.Since(began)
	}
	old, most := co.Mutex("old", concurrency.MutexConfig{}), 2.0
	if *slow {
		most = 1.2
	}
	for n, began := 0, time.Now(); n < 1000 || *slow && time.Since(began) < 10*time.Minute; n++ {
		cycle(old)
	}
	fresh := co.Mutex("fresh", concurrency.MutexConfig{})
	var ofOld, ofFresh []time.Duration
	for range 200 {
		ofOld, ofFresh = append(ofOld, cycle(old)), append(ofFresh, cycle(fresh))
	}
	slices.Sort(ofOld)
	slices.Sort(ofFresh)
	last, first := ofOld[len(ofOld)/2], ofFresh[len(ofFresh)/2]
	t.Logf("a cycle takes %v, and %v of a name without a history", last, first)
	if float64(last) > most*float64(first) {
		t.Errorf("a cycle takes %v, and %v of a name without a history", last, first)
	}
}
