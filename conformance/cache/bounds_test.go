package cache

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// A range that is larger than the cache may be, at first or later: the cache ends, says so, and
// the server answers.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	big := strings.Repeat("x", 10_000)
	for _, key := range []string{"a", "b", "c"} {
		testbed.Put(t, c, scope+key, big)
	}
	make := func(config cache.Config) *cache.Cache {
		config.Key, config.Prefix = scope, true
		ca, err := cache.New(c, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ca.Close() })
		return ca
	}
	check := func(ca *cache.Cache, last int64) {
		t.Helper()
		if _, presence := ca.Peek(scope + "a"); presence != cache.Unknown {
			t.Errorf("Peek: %v", presence)
		}
		if _, err := ca.Snapshot(testbed.Within(t, testbed.Patience), cache.Local); !errors.Is(err, cache.ErrCacheTooLarge) {
			t.Errorf("Snapshot: %v", err)
		}
		for _, f := range []cache.Freshness{cache.Local, cache.Linearizable, cache.AtLeast(last), cache.Within(time.Second), cache.Exact(last)} {
			if r := get(t, ca, scope+"c", f); !r.FromServer || len(r.KV.Value) != len(big) {
				t.Errorf("%v: %d bytes, from the server: %v", f, len(r.KV.Value), r.FromServer)
			}
		}
		if st := ca.Stats(); st.State != cache.StateEnded || !errors.Is(st.Err, cache.ErrCacheTooLarge) || st.Keys != 0 {
			t.Errorf("%+v", st)
		}
	}
	ca := make(cache.Config{MaxBytes: 25_000})
	if err := ca.Ready(testbed.Within(t, testbed.Patience)); !errors.Is(err, cache.ErrCacheTooLarge) {
		t.Errorf("Ready: %v", err)
	}
	check(ca, testbed.Put(t, c, "out", "1"))
	_ = ca.Close()
	if st := ca.Stats(); st.State != cache.StateClosed || st.Err != nil {
		t.Errorf("after Close: %+v", st)
	}

	ca = make(cache.Config{MaxBytes: 35_000})
	if err := ca.Ready(testbed.Within(t, testbed.Patience)); err != nil {
		t.Fatal(err)
	}
	sub := ca.Subscribe("")
	if _, err := sub.Next(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	last := testbed.Put(t, c, scope+"d", big)
	if _, err := sub.Next(testbed.Within(t, testbed.Patience)); !errors.Is(err, cache.ErrCacheTooLarge) {
		t.Errorf("Subscription: %v", err)
	}
	check(ca, last)

	ca = make(cache.Config{MaxBytes: 25_000, NoFallback: true})
	if _, err := ca.Get(testbed.Within(t, testbed.Patience), scope+"a", cache.Linearizable); !errors.Is(err, cache.ErrCacheTooLarge) {
		t.Errorf("Get without a fallback: %v", err)
	}
	_ = ca.Close()
	if _, err := ca.Get(testbed.Within(t, testbed.Patience), scope+"a", cache.Local); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
}

// A value that the cache does not keep is read from the server, also when its revision is
// compacted.
func TestKeepValue(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"large", strings.Repeat("x", 1000))
	testbed.Put(t, c, scope+"small", "1")
	ca := cachingOf(t, c, cache.Config{Key: scope, Prefix: true, KeepValue: func(kv *etcd.KeyValue) bool { return len(kv.Value) < 100 }})
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: testbed.Put(t, c, "out", "1")}); err != nil {
		t.Fatal(err)
	}
	if kv, presence := ca.Peek(scope + "large"); presence != cache.WithoutValue || kv.ModRevision == 0 || kv.Value != nil {
		t.Errorf("%v: %+v", presence, kv)
	}
	if _, presence := ca.Peek(scope + "small"); presence != cache.Present {
		t.Errorf("%v", presence)
	}
	for _, f := range []cache.Freshness{cache.Local, cache.Linearizable} {
		if r := get(t, ca, scope+"large", f); !r.FromServer || len(r.KV.Value) != 1000 {
			t.Errorf("%v: %d bytes", f, len(r.KV.Value))
		}
		if r := get(t, ca, scope+"small", f); f == cache.Local && (r.FromServer || string(r.KV.Value) != "1") {
			t.Errorf("%v: %+v", f, r)
		}
	}
	sn := snapshot(t, ca, cache.Local)
	if !sn.ValueLeftOut(scope+"large") || sn.ValueLeftOut(scope+"small") || sn.ValueLeftOut(scope+"none") {
		t.Error("the snapshot does not know what is left out")
	}
	if st := ca.Stats(); st.ValueReads == 0 || st.ValueReads+st.Fallbacks < 2 || st.Bytes > 1000 {
		t.Errorf("%+v", st)
	}
	testbed.Put(t, c, scope+"large", "now small")
	if r := get(t, ca, scope+"large", cache.Linearizable); string(r.KV.Value) != "now small" {
		t.Errorf("%+v", r)
	}
}

// A panic of Config.KeepValue or OnMutation ends the cache with an error that names it. Get
// asks the server then.
func TestFunctionsMayPanic(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "1")
	for name, config := range map[string]cache.Config{
		"KeepValue":  {KeepValue: func(kv *etcd.KeyValue) bool { return string(kv.Value) == "1" || panics() }},
		"OnMutation": {OnMutation: func(string) { panics() }},
	} {
		t.Run(name, func(t *testing.T) {
			config.Key, config.Prefix = scope, true
			ca := cachingOf(t, c, config)
			sub := ca.Subscribe("")
			if _, err := sub.Next(testbed.Within(t, 30*time.Second)); err != nil {
				t.Fatal(err)
			}
			if name == "OnMutation" {
				kv, _ := ca.Peek(scope + "a")
				kv.Value[0] = '0'
			}
			testbed.Put(t, c, scope+"a", "2")
			_, err := sub.Next(testbed.Within(t, 30*time.Second))
			if !errors.Is(err, cache.ErrPanicked) || !strings.Contains(err.Error(), "Config."+name+" panicked at bounds_test.go:") {
				t.Errorf("got %v", err)
			}
			if st := ca.Stats(); st.State != cache.StateEnded {
				t.Errorf("%+v", st)
			}
			if r := get(t, ca, scope+"a", cache.Linearizable); !r.FromServer || string(r.KV.Value) != "2" {
				t.Errorf("%+v", r)
			}
			testbed.Put(t, c, scope+"a", "1")
		})
	}
}

func panics() bool { panic("oh") }

// States of the past: those of the cache, those of the server, those that are gone or do not
// exist yet.
func TestExact(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	before := testbed.Put(t, c, scope+"a", "before")
	first := testbed.Put(t, c, scope+"a", "first")
	ca := caching(t, c)
	testbed.Put(t, c, "out", "1")
	second := testbed.Put(t, c, scope+"a", "second")
	snapshot(t, ca, cache.AtLeast(second))
	gone := testbed.Delete(t, c, scope+"a")
	for revision, want := range map[int64]string{before: "before", first: "first", first + 1: "first", second: "second", gone: ""} {
		r := get(t, ca, scope+"a", cache.Exact(revision))
		if string(r.KV.Value) != want || r.Revision != revision || r.FromServer != (revision == before) {
			t.Errorf("at %d: %q of %d, from the server: %v; want %q", revision, r.KV.Value, r.Revision, r.FromServer, want)
		}
	}
	sn := snapshot(t, ca, cache.Exact(first))
	if kv, _ := sn.Get(scope + "a"); string(kv.Value) != "first" || sn.Revision() != first {
		t.Errorf("a snapshot of %d: %s", sn.Revision(), kv.Value)
	}
	if _, err := ca.Snapshot(testbed.Within(t, testbed.Patience), cache.Exact(before)); !errors.Is(err, etcd.ErrCompacted) {
		t.Errorf("a snapshot before the cache: %v", err)
	}
	if _, err := ca.Get(testbed.Within(t, testbed.Patience), scope+"a", cache.Exact(gone+100)); !errors.Is(err, etcd.ErrFutureRevision) {
		t.Errorf("the future: %v", err)
	}
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: gone}); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Get(testbed.Within(t, testbed.Patience), scope+"a", cache.Exact(before)); !errors.Is(err, etcd.ErrCompacted) {
		t.Errorf("what is compacted: %v", err)
	}
	if r := get(t, ca, scope+"a", cache.Exact(second)); string(r.KV.Value) != "second" {
		t.Errorf("what the cache has kept: %+v", r)
	}
}

// A cache that has not read anything asks the server, and is not ready before it has caught
// up with what the server has said.
func TestNotReadyFallsBack(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	last := testbed.Put(t, direct, scope+"a", "1")
	protect(t, direct)
	allow(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "root", Password: rootPassword}), etcd.RoleGrantPermissionRequest{Key: scope + "a"})
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "reader", Password: "pw"})
	// The reader may read one key and not the range, so that its cache stays as it is.
	ca, err := cache.New(c, cache.Config{Key: scope, Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ca.Close() }()
	for _, f := range []cache.Freshness{cache.Local, cache.Linearizable, cache.AtLeast(last), cache.Within(time.Second), cache.Exact(last)} {
		if r := get(t, ca, scope+"a", f); !r.FromServer || string(r.KV.Value) != "1" || r.Revision < last {
			t.Errorf("%v: %+v", f, r)
		}
	}
	if _, err := ca.Get(testbed.Within(t, testbed.Patience), scope+"a", cache.AtLeast(last+1000)); !errors.Is(err, etcd.ErrFutureRevision) {
		t.Errorf("the future: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := ca.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Ready: %v", err)
	}
	if st := ca.Stats(); st.State != cache.StateLoading || !errors.Is(st.Err, etcd.ErrPermissionDenied) || st.Fallbacks != 6 {
		t.Errorf("%+v", st)
	}
}

// Who writes into a value is found.
func TestOnMutation(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, key := range []string{"read", "replaced", "closed", "clean"} {
		testbed.Put(t, c, scope+key, "value")
	}
	found := make(chan string, 10)
	ca := cachingOf(t, c, cache.Config{Key: scope, Prefix: true, OnMutation: func(key string) { found <- key }})
	spoil := func(key string) {
		kv, _ := ca.Peek(scope + key)
		kv.Value[0] = 'V'
	}
	expect := func(key string) {
		t.Helper()
		select {
		case got := <-found:
			if got != scope+key {
				t.Errorf("%s, want %s", got, key)
			}
		case <-time.After(testbed.Patience):
			t.Errorf("nobody has found what was done to %s", key)
		}
	}
	spoil("read")
	ca.Peek(scope + "read")
	expect("read")
	spoil("replaced")
	testbed.Put(t, c, scope+"replaced", "again")
	expect("replaced")
	spoil("closed")
	testbed.Put(t, c, scope+"clean", "again")
	_ = ca.Close()
	expect("closed")
	if len(found) > 0 {
		t.Errorf("%s too", <-found)
	}
}
