package concurrency

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	v3 "go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// observing passes what Observe yields on, until its context ends.
func observing(ctx context.Context, e *concurrency.Election) <-chan testbed.Result[concurrency.State] {
	states := make(chan testbed.Result[concurrency.State])
	go func() {
		defer close(states)
		for st, err := range e.Observe(ctx) {
			states <- testbed.Result[concurrency.State]{Value: st, Err: err}
		}
	}()
	return states
}

// Observe says who leads, with which value, and that nobody does, client/v3's leaders among
// them.
func TestObserve(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	ctx, cancel := context.WithCancel(testbed.Within(t, 30*time.Second))
	states := observing(ctx, fresh(t).Election(name, concurrency.ElectionConfig{}))
	next := func() concurrency.State {
		t.Helper()
		return must[concurrency.State](t)(testbed.Await(t, states))
	}
	if st := next(); st.Present || st.Revision == 0 {
		t.Errorf("nobody: %+v", st)
	}
	e := fresh(t).Election(name, concurrency.ElectionConfig{Value: []byte("one")})
	ld := must[*concurrency.Leadership](t)(e.Campaign(ctx))
	is := func(value string, term int64) {
		t.Helper()
		if st := next(); !st.Present || string(st.Value) != value || st.Term != term || st.Revision < st.Term {
			t.Errorf("%+v, want %q of term %d", st, value, term)
		}
	}
	is("one", ld.Term())
	if err := ld.Proclaim(ctx, []byte("two")); err != nil {
		t.Fatal(err)
	}
	is("two", ld.Term())
	s := must[*v3.Session](t)(v3.NewSession(testbed.Official(t, testbed.Shared.Endpoints()...)))
	theirs := v3.NewElection(s, namespaced.Prefix+name)
	won := testbed.Async(func() (int, error) { return 0, theirs.Campaign(ctx, "theirs") })
	waiters(t, testbed.Connect(t, etcd.Config{}), name, 2) // which is no change of the leader
	if err := ld.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Await(t, won); err != nil {
		t.Fatal(err)
	}
	is("theirs", theirs.Rev())
	if err := s.Close(); err != nil { // its lease is revoked
		t.Fatal(err)
	}
	if st := next(); st.Present || st.Leader != "" || st.Value != nil || st.Term != 0 {
		t.Errorf("nobody: %+v", st)
	}
	cancel()
	if _, err := testbed.Await(t, states); !errors.Is(err, context.Canceled) {
		t.Errorf("the end: %v", err)
	}
	if _, more := <-states; more {
		t.Error("something comes after the end")
	}
}

// A slow reader gets the latest state, and with ObserveEvery all.
func TestObserveSlowly(t *testing.T) {
	t.Parallel()
	for _, every := range []bool{false, true} {
		name := testbed.OwnName(t)
		ctx := testbed.Within(t, 30*time.Second)
		co := fresh(t)
		ld := must[*concurrency.Leadership](t)(co.Election(name, concurrency.ElectionConfig{Value: []byte("0")}).Campaign(ctx))
		const n = 50
		var got []string
		for st, err := range fresh(t).Election(name, concurrency.ElectionConfig{ObserveEvery: every}).Observe(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(st.Value))
			if len(got) == 1 {
				for i := range n {
					if err := ld.Proclaim(ctx, []byte(fmt.Sprint(i+1))); err != nil {
						t.Fatal(err)
					}
				}
			}
			if string(st.Value) == fmt.Sprint(n) {
				break
			}
		}
		if every && len(got) != n+1 || !every && len(got) > n/2 {
			t.Errorf("every %v: %d states %v", every, len(got), got)
		}
		for i := 1; i < len(got); i++ {
			var a, b int
			_, _ = fmt.Sscan(got[i-1], &a)
			_, _ = fmt.Sscan(got[i], &b)
			if b <= a {
				t.Errorf("%d after %d", b, a)
			}
		}
	}
}

// Observe survives a compaction of what it has not seen, and names the right leader after it.
func TestObserveCompaction(t *testing.T) {
	t.Parallel()
	s, direct := testbed.Private(t)
	p := etcdtest.StartProxy(t, s.Endpoints()[0])
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}})
	ctx := testbed.Within(t, 60*time.Second)
	e := testbed.Coordinate(t, direct, concurrency.Config{}).Election("e", concurrency.ElectionConfig{Value: []byte("one")})
	ld := must[*concurrency.Leadership](t)(e.Campaign(ctx))
	states := observing(ctx, testbed.Coordinate(t, c, concurrency.Config{}).Election("e", concurrency.ElectionConfig{}))
	if st := must[concurrency.State](t)(testbed.Await(t, states)); st.Term != ld.Term() {
		t.Errorf("%+v", st)
	}
	testbed.Eventually(t, "the watch", func() bool { return c.Stats().Watches == 1 })
	p.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	if err := ld.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	ld = must[*concurrency.Leadership](t)(e.Campaign(ctx))
	resp, err := direct.Put(ctx, etcd.PutRequest{Key: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Compact(ctx, etcd.CompactRequest{Revision: resp.Header.Revision}); err != nil {
		t.Fatal(err)
	}
	p.Heal()
	p.Reset()
	if st := must[concurrency.State](t)(testbed.Await(t, states)); !st.Present || st.Term != ld.Term() {
		t.Errorf("%+v, want term %d", st, ld.Term())
	}
	go func() {
		for range states {
		}
	}()
}

// A watch that moves to another stream is not trusted blindly: waiters read the keys again.
func TestResumedWatch(t *testing.T) {
	t.Parallel()
	s, direct := testbed.Private(t)
	p := etcdtest.StartProxy(t, s.Endpoints()[0])
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}})
	ctx := testbed.Within(t, 30*time.Second)
	l := must[*concurrency.Lock](t)(testbed.Coordinate(t, direct, concurrency.Config{}).Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	co := testbed.Coordinate(t, c, concurrency.Config{})
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	testbed.Eventually(t, "the watch, and the read after it", func() bool { n := c.Stats(); return n.Watches == 1 && n.Attempts == 3 })
	p.Reset()
	testbed.Eventually(t, "another read", func() bool { n := c.Stats(); return n.WatchResumes == 1 && n.Attempts > 3 })
	unlock(t, l)
	next, err := testbed.Await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, next)
}
