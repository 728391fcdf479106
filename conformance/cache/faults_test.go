package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// await testbed.Patience until the cache says what it should of itself.
func await(t testing.TB, ca *cache.Cache, what string, is func(cache.Stats) bool) cache.Stats {
	t.Helper()
	ctx := testbed.Within(t, testbed.Patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for st := ca.Stats(); ; st = ca.Stats() {
		if is(st) {
			return st
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the cache is not %s: %+v", what, st)
		}
	}
}

func isStale(st cache.Stats) bool {
	return st.State == cache.StateStale && st.Err != nil && !st.Since.IsZero()
}

func isLive(st cache.Stats) bool {
	return st.State == cache.StateLive && st.Err == nil && st.Since.IsZero()
}

// current testbed.Patience until the cache is live, has a revision, and has answered a linearizable read
// itself, which proves it fresh. On a busy machine the server answers some in its place.
func current(t testing.TB, ca *cache.Cache, revision int64) cache.Stats {
	t.Helper()
	st := await(t, ca, fmt.Sprint("live at ", revision), func(st cache.Stats) bool { return isLive(st) && st.Revision >= revision })
	for ctx := testbed.Within(t, testbed.Patience); ; {
		r := get(t, ca, scope+"a", cache.Linearizable)
		switch {
		case !r.FromServer:
			return st
		case ctx.Err() != nil:
			t.Fatalf("the server answers all reads: %+v", ca.Stats())
		}
	}
}

// fails checks that reads which need the store end with their context.
func fails(t testing.TB, ca *cache.Cache, all ...cache.Freshness) {
	t.Helper()
	for _, f := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if r, err := ca.Get(ctx, scope+"a", f); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %s, %v", f, pair(r), err)
		}
		cancel()
	}
}

// failsSaying checks that such reads say what keeps the cache from getting on, of which it knows.
func failsSaying(t testing.TB, ca *cache.Cache) {
	t.Helper()
	get := func(ctx context.Context, f cache.Freshness) error { _, err := ca.Get(ctx, scope+"a", f); return err }
	snapshot := func(ctx context.Context, f cache.Freshness) error { _, err := ca.Snapshot(ctx, f); return err }
	later := cache.AtLeast(ca.Stats().Revision + 1)
	for _, read := range []func(context.Context) error{
		func(ctx context.Context) error { return get(ctx, cache.Linearizable) },
		func(ctx context.Context) error { return snapshot(ctx, cache.Linearizable) },
		func(ctx context.Context) error { return get(ctx, later) },
		func(ctx context.Context) error { return snapshot(ctx, later) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := read(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "; the cache makes no progress: etcd: Watch") {
			t.Errorf("without a member: %v", err)
		}
	}
}

// While no member is there, the cache serves what it has, and says that it is stale, since
// when and why. When they are back it goes on, without reading its range again.
func TestAllMembersRestart(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	direct := testbed.Connect(t, etcd.Config{Endpoints: cluster.Endpoints()})
	last := testbed.Put(t, direct, scope+"a", "1")
	ca := caching(t, testbed.Connect(t, etcd.Config{Endpoints: cluster.Endpoints()}))
	current(t, ca, last)
	held := snapshot(t, ca, cache.Local)
	for _, m := range cluster.Members() {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	down := await(t, ca, "stale", isStale)
	if r := get(t, ca, scope+"a", cache.AtLeast(last)); string(r.KV.Value) != "1" || r.FromServer {
		t.Errorf("while no member is there: %+v", r)
	}
	if _, presence := ca.Peek(scope + "a"); presence != cache.Present {
		t.Errorf("Peek, while no member is there: %v", presence)
	}
	fails(t, ca, cache.Linearizable, cache.AtLeast(last+1), cache.Within(time.Millisecond))
	failsSaying(t, ca)
	for _, m := range cluster.Members() {
		if err := m.Launch(); err != nil {
			t.Fatal(err)
		}
	}
	later := testbed.Put(t, direct, scope+"a", "2")
	if r := get(t, ca, scope+"a", cache.AtLeast(later)); string(r.KV.Value) != "2" {
		t.Errorf("afterwards: %+v", r)
	}
	if up := current(t, ca, later); up.Epoch != down.Epoch || up.Resyncs != 0 {
		t.Errorf("%+v", up)
	}
	if kv, _ := held.Get(scope + "a"); string(kv.Value) != "1" {
		t.Errorf("the snapshot has changed: %s", kv.Value)
	}
}

// A compaction while the watch is away: readers keep the old state, and then see the new one
// at once; a subscriber gets the differences, deletions too.
func TestCompactionWhileAway(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	for _, key := range []string{"a", "b", "c"} {
		testbed.Put(t, direct, scope+key, "1")
	}
	ca := caching(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}))
	sub := ca.Subscribe("")
	next := func() (out string) {
		u, err := sub.Next(testbed.Within(t, testbed.Patience))
		if err != nil {
			t.Fatal(err)
		}
		for ch := range u.Changes() {
			out += fmt.Sprintf("%s %v>%v ", ch.Key(), ch.Old != nil, ch.New != nil)
		}
		return out
	}
	next()
	current(t, ca, 1)
	before := ca.Stats()
	proxy.Silence(true)
	proxy.Reset()
	await(t, ca, "stale", isStale)
	testbed.Delete(t, direct, scope+"a")
	testbed.Put(t, direct, scope+"b", "2")
	testbed.Delete(t, direct, scope+"c")
	last := testbed.Put(t, direct, scope+"c", "again")
	if _, err := direct.Compact(t.Context(), etcd.CompactRequest{Revision: last}); err != nil {
		t.Fatal(err)
	}
	if sn := snapshot(t, ca, cache.Local); sn.Len() != 3 || sn.Revision() != before.Revision {
		t.Errorf("while it is away: %d keys of %d", sn.Len(), sn.Revision())
	}
	proxy.Silence(false)
	proxy.Reset()
	if got := next(); got != "in/a true>false in/b true>true in/c true>false in/c false>true " {
		t.Errorf("the subscriber has seen: %s", got)
	}
	if r := get(t, ca, scope+"c", cache.AtLeast(last)); string(r.KV.Value) != "again" {
		t.Errorf("afterwards: %+v", r)
	}
	if st := current(t, ca, last); st.Resyncs != 1 || st.Epoch != before.Epoch || st.Keys != 2 {
		t.Errorf("%+v", st)
	}
}
