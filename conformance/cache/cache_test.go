package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// What is there at first, and each change of it, for Peek, Get and Snapshot alike.
func TestLocalReads(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	first := testbed.Put(t, c, scope+"a", "1")
	ca := caching(t, c)
	see := func(revision int64, want string) {
		t.Helper()
		sn := snapshot(t, ca, cache.AtLeast(revision))
		r := get(t, ca, scope+"a", cache.Local)
		kv, presence := ca.Peek(scope + "a")
		if pair(r) != want || r.Revision < revision || r.FromServer || sn.Revision() < revision {
			t.Errorf("Get: %s of %d, snapshot of %d; want %s of %d", pair(r), r.Revision, sn.Revision(), want, revision)
		}
		if peeked := pair(cache.Result{KV: kv, Found: presence == cache.Present}); peeked != want || presence == cache.Unknown {
			t.Errorf("Peek: %s, %v; want %s", peeked, presence, want)
		}
		kv, found := sn.Get(scope + "a")
		if got := pair(cache.Result{KV: kv, Found: found}); got != want {
			t.Errorf("Snapshot: %s, want %s", got, want)
		}
	}
	see(first, fmt.Sprintf("in/a=1@%d", first))
	second := testbed.Put(t, c, scope+"a", "2")
	see(second, fmt.Sprintf("in/a=2@%d", second))
	see(testbed.Delete(t, c, scope+"a"), "-")
	again := testbed.Put(t, c, scope+"a", "3")
	see(again, fmt.Sprintf("in/a=3@%d", again))
}

// A key that the cache does not hold is neither there nor not there.
func TestOutOfScope(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, key := range []string{"a", "b", "ba", "c"} {
		testbed.Put(t, c, key, "1")
	}
	for want, config := range map[string]cache.Config{
		"b":        {Key: "b"},
		"b ba":     {Key: "b", Prefix: true},
		"a b ba":   {Key: "a", RangeEnd: "c"},
		"b ba c":   {Key: "b", FromKey: true},
		"a b ba c": {Prefix: true},
	} {
		ca := cachingOf(t, c, config)
		var has []string
		for _, key := range []string{"a", "b", "ba", "c"} {
			_, presence := ca.Peek(key)
			_, err := ca.Get(t.Context(), key, cache.Local)
			if (err == nil) != (presence == cache.Present) || err != nil && (!errors.Is(err, cache.ErrOutOfScope) || presence != cache.Unknown) {
				t.Errorf("%+v, key %s: %v, %v", config, key, presence, err)
			}
			if err == nil {
				has = append(has, key)
			}
		}
		if got := strings.Join(has, " "); got != want || snapshot(t, ca, cache.Local).Len() != len(has) {
			t.Errorf("%+v: has %q, want %q", config, got, want)
		}
	}
	ca := cachingOf(t, c, cache.Config{Prefix: true, KeysOnly: true})
	if r := get(t, ca, "a", cache.Local); !r.Found || len(r.KV.Value) != 0 {
		t.Errorf("keys only: %+v", r)
	}
}

// Bad input is refused with an error that names it.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, config := range []cache.Config{{}, {Key: "a", Prefix: true, FromKey: true}, {Key: "b", RangeEnd: "a"}, {Key: "b", RangeEnd: "b"}} {
		if _, err := cache.New(c, config); !errors.Is(err, etcd.ErrInvalidConfig) || !strings.Contains(err.Error(), "Config: ") {
			t.Errorf("%+v: %v", config, err)
		}
	}
	if _, err := cache.New(nil, cache.Config{Key: "a"}); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no client: %v", err)
	}
	ca := caching(t, c)
	for _, f := range []cache.Freshness{cache.AtLeast(0), cache.AtLeast(-1), cache.Within(0), cache.Within(-1), cache.Within(5)} {
		if _, err := ca.Get(t.Context(), scope, f); !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("Get: %v", err)
		}
		if _, err := ca.Snapshot(t.Context(), f); !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("Snapshot: %v", err)
		}
	}
	var none context.Context
	if _, err := ca.Get(none, scope, cache.Linearizable); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("no context: %v", err)
	}
	if err := ca.Ready(none); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("no context: %v", err)
	}
}

// A snapshot never changes; two of them differ by what has happened in between.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, key := range []string{"a/1", "a/2", "b/1", "b/2"} {
		testbed.Put(t, c, scope+key, "1")
	}
	ca := caching(t, c)
	older := snapshot(t, ca, cache.Linearizable)
	testbed.Put(t, c, scope+"a/2", "2")
	testbed.Delete(t, c, scope+"b/1")
	newer := snapshot(t, ca, cache.AtLeast(testbed.Put(t, c, scope+"c", "1")))

	keys := func(seq func(func(etcd.KeyValue) bool)) string {
		var out []string
		for kv := range seq {
			out = append(out, strings.TrimPrefix(kv.Key, scope)+"="+string(kv.Value))
		}
		return strings.Join(out, " ")
	}
	for got, want := range map[string]string{
		keys(older.All("")):                 "a/1=1 a/2=1 b/1=1 b/2=1",
		keys(newer.All("")) + ".":           "a/1=1 a/2=2 b/2=1 c=1.",
		keys(newer.All(scope + "a/")):       "a/1=1 a/2=2",
		keys(newer.All(scope+"x")) + "none": "none",
		keys(newer.From(scope + "a/2")):     "a/2=2 b/2=1 c=1",
		keys(newer.Before(scope + "b/2")):   "a/2=2 a/1=1",
		keys(newer.Before("")):              "c=1 b/2=1 a/2=2 a/1=1",
	} {
		if got != want {
			t.Errorf("pairs %q, want %q", got, want)
		}
	}
	var changes []string
	for ch := range newer.Diff(older) {
		side := func(kv *etcd.KeyValue) string {
			if kv == nil {
				return "-"
			}
			return string(kv.Value)
		}
		kv := ch.New
		if kv == nil {
			kv = ch.Old
		}
		changes = append(changes, strings.TrimPrefix(kv.Key, scope)+" "+side(ch.Old)+">"+side(ch.New))
	}
	if got := strings.Join(changes, ", "); got != "a/2 1>2, b/1 1>-, c ->1" {
		t.Errorf("differences %q", got)
	}
	if older.Len() != 4 || newer.Len() != 4 || older.Epoch() != 1 {
		t.Errorf("%d and %d keys, epoch %d", older.Len(), newer.Len(), older.Epoch())
	}
}

// A write is visible to a reader that asks for its revision, and to a linearizable read
// that begins after it, whether the range changes or other keys do.
func TestReadsOwnWrites(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	ca := caching(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}))
	caught := 0 // up by the cache itself, on a busy machine too
	for i := range 100 {
		value := fmt.Sprint(i)
		revision := testbed.Put(t, c, scope+"a", value)
		if r := get(t, ca, scope+"a", cache.Linearizable); string(r.KV.Value) != value || r.Revision < revision {
			t.Fatalf("Linearizable: %s of %d after the write of %s at %d", pair(r), r.Revision, value, revision)
		}
		revision = testbed.Put(t, c, "out", value)
		if r := get(t, ca, scope+"a", cache.Linearizable); r.Revision < revision {
			t.Fatalf("Linearizable: an answer of %d after a write at %d", r.Revision, revision)
		} else if !r.FromServer {
			caught++
		}
		revision = testbed.Put(t, c, scope+"b", value)
		if r := get(t, ca, scope+"b", cache.AtLeast(revision)); string(r.KV.Value) != value {
			t.Fatalf("AtLeast(%d): %s of %d", revision, pair(r), r.Revision)
		}
	}
	if caught == 0 {
		t.Error("the cache learns nothing of other keys")
	}
	if st := ca.Stats(); st.State != cache.StateLive || st.Err != nil || st.Keys != 2 || st.FreshAt.IsZero() || st.Flights == 0 {
		t.Errorf("%+v", st)
	}
}

// A revision that does not exist yet is an error, after one request.
func TestFutureRevision(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	last := testbed.Put(t, c, scope+"a", "1")
	ca := caching(t, c)
	before := ca.Stats().Flights
	if _, err := ca.Get(testbed.Within(t, 10*time.Second), scope+"a", cache.AtLeast(last+1)); !errors.Is(err, etcd.ErrFutureRevision) {
		t.Errorf("Get: %v", err)
	}
	if _, err := ca.Snapshot(testbed.Within(t, 10*time.Second), cache.AtLeast(last+1)); !errors.Is(err, etcd.ErrFutureRevision) {
		t.Errorf("Snapshot: %v", err)
	}
	if n := ca.Stats().Flights - before; n != 2 {
		t.Errorf("%d requests", n)
	}
}

// Callers share requests.
func TestLinearizableIsShared(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "1")
	ca := caching(t, c)
	before := ca.Stats().Flights
	const readers, each = 64, 50
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for range each {
				if _, err := ca.Get(testbed.Within(t, 30*time.Second), scope+"a", cache.Linearizable); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := ca.Stats().Flights - before; n > readers*each/4 {
		t.Errorf("%d requests for %d reads", n, readers*each)
	}
}

// Within makes a request only when nothing proves that the cache is fresh enough.
func TestWithin(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "1")
	ca := caching(t, c)
	flights := func() int64 { return ca.Stats().Flights }
	began := flights()
	get(t, ca, scope+"a", cache.Within(time.Hour))
	if n := flights() - began; n != 1 {
		t.Errorf("%d requests, of a cache of which nothing is known", n)
	}
	for range 10 {
		get(t, ca, scope+"a", cache.Within(time.Hour))
	}
	if n := flights() - began; n != 1 {
		t.Errorf("%d requests, want one in an hour", n)
	}
	await(t, ca, "a millisecond old", func(st cache.Stats) bool { return time.Since(st.FreshAt) > time.Millisecond })
	get(t, ca, scope+"a", cache.Within(time.Millisecond))
	if n := flights() - began; n != 2 {
		t.Errorf("%d requests, want another one after a millisecond", n)
	}
}

// In a partition local reads go on and say so; those that need the store fail with their
// context. Afterwards everything is as before.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	ca := caching(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}))
	last := testbed.Put(t, direct, scope+"a", "1")
	current(t, ca, last)
	proxy.Silence(true)
	proxy.Reset()
	later := testbed.Put(t, direct, scope+"a", "2")
	fails(t, ca, cache.Linearizable, cache.AtLeast(later), cache.Within(time.Millisecond))
	for _, f := range []cache.Freshness{cache.Local, cache.AtLeast(last), cache.Within(time.Hour)} {
		if r := get(t, ca, scope+"a", f); string(r.KV.Value) != "1" {
			t.Errorf("%+v: %s", f, pair(r))
		}
	}
	if st := ca.Stats(); !isStale(st) || st.FreshAt.IsZero() {
		t.Errorf("%+v", st)
	}
	proxy.Silence(false)
	proxy.Reset()
	if r := get(t, ca, scope+"a", cache.AtLeast(later)); string(r.KV.Value) != "2" {
		t.Errorf("after the partition: %s", pair(r))
	}
	current(t, ca, later)
}

// A cache that has not read anything testbed.Patience, and says why.
func TestNotReady(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	proxy.Silence(true)
	ca, err := cache.New(testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}, DialTimeout: 50 * time.Millisecond}), cache.Config{Key: scope, Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ca.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := ca.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready: %v", err)
	}
	if _, presence := ca.Peek(scope + "a"); presence != cache.Unknown || ca.Stats().State != cache.StateLoading {
		t.Errorf("%v, state %v", presence, ca.Stats().State)
	}
	proxy.Silence(false)
	proxy.Reset()
	if r := get(t, ca, scope+"a", cache.Local); r.Found || r.Revision == 0 {
		t.Errorf("%+v", r)
	}
}

// When the watch is silent but the store answers, linearizable reads are made of the
// server; after some of these at once. They come back to the cache later.
func TestFallback(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	m := new(mute)
	client := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: m.dial})
	if err := client.Ready(t.Context()); err != nil { // the first connection is that of calls
		t.Fatal(err)
	}
	ca := caching(t, client)
	get(t, ca, scope+"a", cache.Linearizable)
	m.set(true)
	defer m.set(false)
	for i := range 10 {
		revision := testbed.Put(t, direct, scope+"a", fmt.Sprint(i))
		for _, f := range []cache.Freshness{cache.Linearizable, cache.AtLeast(revision)} {
			if r := get(t, ca, scope+"a", f); string(r.KV.Value) != fmt.Sprint(i) || !r.FromServer || r.Revision < revision {
				t.Errorf("%d: %s of %d, from the server: %v", i, pair(r), r.Revision, r.FromServer)
			}
		}
	}
	st := ca.Stats()
	if st.Fallbacks != 20 || st.Flights > 10 {
		t.Errorf("%d fallbacks, %d flights", st.Fallbacks, st.Flights)
	}
	m.set(false)
	if sn := snapshot(t, ca, cache.Linearizable); sn.Len() != 1 {
		t.Errorf("%d keys", sn.Len())
	}
}

// A restored store is a new epoch. No linearizable read is answered from the old one,
// also while the cache has not been told.
func TestReset(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, direct, scope+"a", "kept")
	b := testbed.TakeBackup(t, s)
	testbed.NewHistory(t, direct)
	client := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	ca := caching(t, client)
	var lost int64
	for range 5 {
		lost = testbed.Put(t, direct, scope+"a", "lost")
	}
	if r := get(t, ca, scope+"a", cache.AtLeast(lost)); string(r.KV.Value) != "lost" {
		t.Fatalf("%s", pair(r))
	}
	b.Restore(t)
	for range 300 { // the watch is between two members
		if r := get(t, ca, scope+"a", cache.Linearizable); string(r.KV.Value) != "kept" {
			t.Fatalf("a linearizable read of the old history: %s of %d, from the server: %v", pair(r), r.Revision, r.FromServer)
		}
	}
	if sn := snapshot(t, ca, cache.Linearizable); sn.Epoch() != 2 || sn.Revision() >= lost {
		t.Errorf("a snapshot of epoch %d at %d", sn.Epoch(), sn.Revision())
	}
	if st := ca.Stats(); st.Epoch != 2 || st.Resyncs == 0 {
		t.Errorf("%+v", st)
	}
}

// Close wakes those who wait. What they hold stays.
func TestClose(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "1")
	ca := caching(t, c)
	sn := snapshot(t, ca, cache.Local)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	proxy.Silence(true)
	waiting, err := cache.New(testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), cache.Config{Key: scope, Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- waiting.Ready(testbed.Within(t, 30*time.Second)) }()
	for _, closing := range []*cache.Cache{ca, waiting, ca} {
		if err := closing.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; !errors.Is(err, cache.ErrClosed) {
		t.Errorf("Ready: %v", err)
	}
	for _, f := range []cache.Freshness{cache.Local, cache.Linearizable, cache.AtLeast(1)} {
		if _, err := ca.Get(t.Context(), scope+"a", f); !errors.Is(err, cache.ErrClosed) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if _, presence := ca.Peek(scope + "a"); presence != cache.Unknown || ca.Stats().State != cache.StateClosed {
		t.Errorf("%v, state %v", presence, ca.Stats().State)
	}
	if kv, found := sn.Get(scope + "a"); !found || string(kv.Value) != "1" {
		t.Error("the snapshot is gone")
	}
}

// When the client is closed, local reads go on.
func TestClientCloses(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	last := testbed.Put(t, c, scope+"a", "1")
	ca := caching(t, c)
	_ = c.Close()
	if r := get(t, ca, scope+"a", cache.AtLeast(last)); string(r.KV.Value) != "1" {
		t.Errorf("%s", pair(r))
	}
	for _, f := range []cache.Freshness{cache.Linearizable, cache.AtLeast(last + 1)} {
		if _, err := ca.Get(testbed.Within(t, 10*time.Second), scope+"a", f); !errors.Is(err, etcd.ErrClosed) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if err := ca.Close(); err != nil {
		t.Error(err)
	}
}
