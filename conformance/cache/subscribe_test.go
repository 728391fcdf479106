package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// says is an update in a form to compare.
func says(u *cache.Update) string {
	var out []string
	for ch := range u.Changes() {
		side := func(kv *etcd.KeyValue) string {
			if kv == nil {
				return "-"
			}
			return string(kv.Value)
		}
		out = append(out, strings.TrimPrefix(ch.Key(), scope)+" "+side(ch.Old)+">"+side(ch.New))
	}
	return strings.Join(out, ", ")
}

func nextUpdate(t testing.TB, s *cache.Subscription) *cache.Update {
	t.Helper()
	u, err := s.Next(testbed.Within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// What is there, then what changes under the prefix, merged for a reader that is slow.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		testbed.Put(t, c, scope+key, "1")
	}
	ca := caching(t, c)
	sub, none := ca.Subscribe(scope+"a/"), ca.Subscribe(scope+"x")
	if u := nextUpdate(t, sub); !u.First || says(u) != "a/1 ->1, a/2 ->1" || u.Snapshot.Len() != 3 {
		t.Errorf("first %v: %s", u.First, says(u))
	}
	if u := nextUpdate(t, none); !u.First || says(u) != "" {
		t.Errorf("first %v: %s", u.First, says(u))
	}
	testbed.Put(t, c, scope+"b/1", "2")
	testbed.Put(t, c, scope+"a/1", "2")
	testbed.Put(t, c, scope+"a/1", "3")
	testbed.Delete(t, c, scope+"a/2")
	testbed.Put(t, c, scope+"a/3", "1")
	testbed.Delete(t, c, scope+"a/3")
	last := testbed.Put(t, c, scope+"a/2", "4")
	get(t, ca, scope+"a/2", cache.AtLeast(last))
	u := nextUpdate(t, sub)
	for range 2 { // changes may be read again
		if u.First || says(u) != "a/1 1>3, a/2 1>-, a/2 ->4" || u.Snapshot.Revision() < last {
			t.Errorf("first %v, at %d: %s", u.First, u.Snapshot.Revision(), says(u))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if u, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an update without changes: %v, %v", u, err)
	}
	testbed.Delete(t, c, scope+"a/1")
	if u := nextUpdate(t, sub); says(u) != "a/1 3>-" {
		t.Errorf("%s", says(u))
	}
	ended := make(chan error, 1)
	go func() {
		_, err := none.Next(t.Context())
		ended <- err
	}()
	_ = ca.Close()
	if err := <-ended; !errors.Is(err, cache.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// The changes, applied, give the store's state, under cuts and compactions: each is from
// what this reader has seen last.
func TestSubscribersFollowTheStore(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	ca := caching(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}))
	const subscribers = 4
	type view map[string]*etcd.KeyValue
	results := make(chan view, subscribers)
	for i := range subscribers {
		go func() {
			state := make(view)
			for u, err := range ca.Subscribe(scope).All(testbed.Within(t, time.Minute)) {
				if err != nil {
					t.Error(err)
					break
				}
				for ch := range u.Changes() {
					if old := state[ch.Key()]; ch.Old != old {
						t.Errorf("a change of %s from %+v, but %+v was handed on", ch.Key(), ch.Old, old)
					}
					if ch.New == nil {
						delete(state, ch.Key())
					} else {
						state[ch.Key()] = ch.New
					}
				}
				if i > 0 {
					time.Sleep(time.Duration(rand.IntN(20*i)) * time.Millisecond) // a slow reader
				}
				if state[scope+"end"] != nil {
					break
				}
			}
			results <- state
		}()
	}
	for round := range 200 {
		key := fmt.Sprint(scope, rand.IntN(20))
		if rand.IntN(3) == 0 {
			testbed.Delete(t, direct, key)
		} else {
			testbed.Put(t, direct, key, fmt.Sprint(round))
		}
		switch round % 20 {
		case 10:
			proxy.Reset()
		case 19:
			proxy.Silence(true)
			proxy.Reset()
			revision := testbed.Put(t, direct, key, "away")
			if _, err := direct.Compact(t.Context(), etcd.CompactRequest{Revision: revision}); err != nil {
				t.Error(err)
			}
			proxy.Silence(false)
			proxy.Reset()
			get(t, ca, key, cache.AtLeast(revision))
		}
	}
	end := testbed.Put(t, direct, scope+"end", "1")
	resp, err := direct.Get(t.Context(), etcd.GetRequest{Key: scope, Prefix: true, Revision: end})
	if err != nil {
		t.Fatal(err)
	}
	for range subscribers {
		state := <-results
		if len(state) != len(resp.KVs) {
			t.Errorf("%d keys, want %d", len(state), len(resp.KVs))
		}
		for _, kv := range resp.KVs {
			if got := state[kv.Key]; got == nil || got.ModRevision != kv.ModRevision || string(got.Value) != string(kv.Value) {
				t.Errorf("%s is %+v, want %+v", kv.Key, got, kv)
			}
		}
	}
}

// A subscription ends with the cache or its client, for good, and with nothing else.
func TestSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	for name, test := range map[string]struct {
		end  func(*etcd.Client, *cache.Cache)
		want error
	}{
		"cache closed":  {func(_ *etcd.Client, ca *cache.Cache) { _ = ca.Close() }, cache.ErrClosed},
		"client closed": {func(c *etcd.Client, _ *cache.Cache) { _ = namespaced.Whole(c).Close() }, etcd.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
			ca := caching(t, c)
			sub := ca.Subscribe("")
			if u := nextUpdate(t, sub); !u.First {
				t.Error("the first update is not the first")
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := sub.Next(over); !errors.Is(err, context.Canceled) {
				t.Errorf("with an ended context: %v", err)
			}
			key := scope + name
			testbed.Put(t, c, key, "1")
			if u := nextUpdate(t, sub); u.First || says(u) == "" {
				t.Errorf("after an error of ctx: %+v", u)
			}
			test.end(c, ca)
			for range 2 {
				if _, err := sub.Next(testbed.Within(t, 20*time.Second)); !errors.Is(err, test.want) {
					t.Errorf("after the end: %v", err)
				}
			}
		})
	}
}
