package concurrency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v3 "go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/conformance/namespaced"
)

// One candidate leads at a time, with growing terms, client/v3's among them.
func TestElection(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	var leaders atomic.Int32
	var last atomic.Int64
	lead := func(term int64) {
		if n := leaders.Add(1); n != 1 {
			t.Errorf("%d lead", n)
		}
		if before := last.Swap(term); before >= term {
			t.Errorf("term %d after %d", term, before)
		}
		leaders.Add(-1)
	}
	var all sync.WaitGroup
	for range 4 {
		co := fresh(t)
		e := co.Election(name, concurrency.ElectionConfig{Value: []byte("ours")})
		all.Go(func() {
			for range 10 {
				ld, err := e.Campaign(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				lead(ld.Term())
				if err := ld.Resign(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		s, err := v3.NewSession(testbed.Official(t, testbed.Shared.Endpoints()...))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			e := v3.NewElection(s, namespaced.Prefix+name)
			for range 10 {
				if err := e.Campaign(ctx, "theirs"); err != nil {
					t.Error(err)
					return
				}
				lead(e.Rev())
				if err := e.Resign(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	noKeys(t, testbed.Connect(t, etcd.Config{}), name)
}

func TestLeadership(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	ctx := testbed.Within(t, 20*time.Second)
	e := co.Election(name, concurrency.ElectionConfig{Value: []byte("one")})
	if st, err := e.Leader(ctx); err != nil || st.Present || st.Revision == 0 {
		t.Errorf("nobody: %+v, %v", st, err)
	}
	ld := must[*concurrency.Leadership](t)(e.Campaign(ctx))
	is := func(value string) {
		t.Helper()
		st, err := e.Leader(ctx)
		if err != nil || !st.Present || string(st.Value) != value || st.Term != ld.Term() || st.Leader != ld.Key() {
			t.Errorf("%+v, %v; want %q of term %d", st, err, value, ld.Term())
		}
	}
	is("one")
	for _, value := range []string{"two", "three", ""} {
		if err := ld.Proclaim(ctx, []byte(value)); err != nil {
			t.Fatal(err)
		}
		is(value)
	}
	if resp, err := ld.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: name + "-x"}}}); err != nil || !resp.Succeeded {
		t.Errorf("a Txn: %v, %v", resp, err)
	}
	if err := ld.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Resign":   ld.Resign(ctx),
		"Proclaim": ld.Proclaim(ctx, nil),
		"Txn":      second(ld.Txn(ctx, etcd.TxnRequest{})),
		"zero":     new(concurrency.Leadership).Proclaim(ctx, nil),
	} {
		if !errors.Is(err, concurrency.ErrNotLeader) {
			t.Errorf("%s afterwards: %v", what, err)
		}
	}
	// A key that is deleted by hand.
	ld = must[*concurrency.Leadership](t)(e.Campaign(ctx))
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: ld.Key()}); err != nil {
		t.Fatal(err)
	}
	if err := ld.Proclaim(ctx, []byte("x")); !errors.Is(err, concurrency.ErrNotLeader) || !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Proclaim of a deleted key: %v", err)
	}
	if ld.Context().Err() == nil {
		t.Error("the context goes on")
	}
	if kvs := keys(t, c, name); len(kvs) != 0 {
		t.Errorf("keys %v", kvs)
	}
	// A lease that is revoked by hand.
	ld = must[*concurrency.Leadership](t)(e.Campaign(ctx))
	other := testbed.Connect(t, etcd.Config{})
	if _, err := other.Revoke(ctx, etcd.RevokeRequest{ID: keys(t, c, name)[0].Lease}); err != nil {
		t.Fatal(err)
	}
	if err := ld.Proclaim(ctx, []byte("x")); !errors.Is(err, concurrency.ErrNotLeader) {
		t.Errorf("Proclaim without a lease: %v", err)
	}
}

// Whatever becomes of the request that proclaims, Proclaim succeeds with one effect, the key
// keeps its lease, and a late copy undoes no later proclamation.
func TestProclaimFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			ctx := testbed.Within(t, 20*time.Second)
			ld := must[*concurrency.Leadership](t)(co.Election(name, concurrency.ElectionConfig{}).Campaign(ctx))
			hit := f.Arm(k, name)
			if err := ld.Proclaim(ctx, []byte("one")); err != nil {
				t.Fatal(err)
			}
			<-hit
			kv := keys(t, plain, name)[0]
			if string(kv.Value) != "one" || kv.Version != 2 || kv.Lease == 0 {
				t.Errorf("after the first: %+v", kv)
			}
			if k != onefault.Late {
				return
			}
			if err := ld.Proclaim(ctx, []byte("two")); err != nil {
				t.Fatal(err)
			}
			f.Deliver(t)
			if kv := keys(t, plain, name)[0]; string(kv.Value) != "two" {
				t.Errorf("after the late copy: %+v", kv)
			}
		})
	}
}

// A proclamation that was given up does not undo the next one, whether it was applied before
// it or not.
func TestProclaimGivenUp(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		c, f := testbed.Faulty(t, etcd.Config{})
		co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
		ld := must[*concurrency.Leadership](t)(co.Election(name, concurrency.ElectionConfig{}).Campaign(testbed.Within(t, 20*time.Second)))
		hit := f.Arm(onefault.Stall, name)
		ctx, cancel := context.WithCancel(t.Context())
		proclaiming := testbed.Async(func() (int, error) { return 0, ld.Proclaim(ctx, []byte("one")) })
		<-hit
		cancel()
		if _, err := testbed.Await(t, proclaiming); !errors.Is(err, context.Canceled) || !etcd.MaybeApplied(err) {
			t.Errorf("given up: %v", err)
		}
		f.Sever()
		if before {
			f.Deliver(t)
		}
		if err := ld.Proclaim(testbed.Within(t, 20*time.Second), []byte("two")); err != nil {
			t.Fatal(err)
		}
		if !before {
			f.Deliver(t)
		}
		if kv := keys(t, plain, name)[0]; string(kv.Value) != "two" {
			t.Errorf("%+v", kv)
		}
	}
}

// Run calls its function on one instance at a time, resigns only after it has returned, and
// campaigns again after a loss.
func TestRun(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx, cancel := context.WithCancel(testbed.Within(t, 60*time.Second))
	started, stopping, leave := make(chan *concurrency.Leadership), make(chan error), make(chan struct{})
	var results []<-chan testbed.Result[int]
	for range 3 {
		e := fresh(t).Election(name, concurrency.ElectionConfig{})
		results = append(results, testbed.Async(func() (int, error) {
			return 0, e.Run(ctx, func(ctx context.Context, ld *concurrency.Leadership) error {
				started <- ld
				<-ctx.Done()
				stopping <- context.Cause(ctx)
				<-leave
				return nil
			})
		}))
	}
	ld := <-started
	waiters(t, c, name, 3)
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: ld.Key()}); err != nil {
		t.Fatal(err)
	}
	if err := <-stopping; !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("the context of one whose key is deleted: %v", err)
	}
	next := <-started // which Run cannot prevent
	leave <- struct{}{}
	waiters(t, c, name, 3) // the first campaigns again
	// With the end of ctx the function is waited for before the key goes.
	cancel()
	if err := <-stopping; !errors.Is(err, context.Canceled) {
		t.Errorf("the context of one that is to stop: %v", err)
	}
	waiters(t, c, name, 1)
	if kvs := keys(t, c, name); kvs[0].Key != next.Key() || next.Context().Err() != nil {
		t.Errorf("the key of a running leader: %v, %v", kvs, next.Context().Err())
	}
	leave <- struct{}{}
	for _, r := range results {
		if _, err := testbed.Await(t, r); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
	noKeys(t, c, name)
}

// Run ends with its function, and with its error unless it is to restart.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	co, c, name := fresh(t), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	boom := errors.New("boom")
	for _, restart := range []bool{false, true} {
		calls := 0
		err := co.Election(name, concurrency.ElectionConfig{Restart: restart}).Run(ctx, func(context.Context, *concurrency.Leadership) error {
			if calls++; calls < 3 {
				return boom
			}
			return nil
		})
		if restart && (err != nil || calls != 3) || !restart && (!errors.Is(err, boom) || calls != 1) {
			t.Errorf("restart %v: %d calls, %v", restart, calls, err)
		}
	}
	if err := co.Election(name, concurrency.ElectionConfig{}).Run(ctx, nil); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("no function: %v", err)
	}
	var none context.Context
	if err := co.Election(name, concurrency.ElectionConfig{}).Run(none, func(context.Context, *concurrency.Leadership) error { return nil }); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("no context: %v", err)
	}
	noKeys(t, c, name)
}

// Once applies its operations once, however many call it, and every caller gets the
// value.
func TestOnce(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	var calls atomic.Int32
	boom := errors.New("boom")
	once := func(co *concurrency.Coordinator) ([]byte, error) {
		return co.Once(ctx, name, func(context.Context) ([]byte, []etcd.Op, error) {
			if calls.Add(1) == 1 {
				return nil, nil, boom
			}
			return []byte("v"), []etcd.Op{etcd.PutRequest{Key: name + "-x"}}, nil
		})
	}
	if _, err := once(fresh(t)); !errors.Is(err, boom) {
		t.Errorf("a function that fails: %v", err)
	}
	var results []<-chan testbed.Result[[]byte]
	for range 4 {
		co := fresh(t)
		results = append(results, testbed.Async(func() ([]byte, error) { return once(co) }))
	}
	for _, r := range results {
		if v, err := testbed.Await(t, r); err != nil || string(v) != "v" {
			t.Errorf("%q, %v", v, err)
		}
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
	resp, err := c.Get(ctx, etcd.GetRequest{Key: name + "-x"})
	if err != nil || len(resp.KVs) != 1 || resp.KVs[0].Version != 1 {
		t.Errorf("the effect: %v, %v", resp, err)
	}
	noKeys(t, c, name)
}

// The same with each fault of the request that finishes.
func TestOnceFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			v, err := co.Once(testbed.Within(t, 20*time.Second), name, func(context.Context) ([]byte, []etcd.Op, error) {
				f.Arm(k, name+".done")
				return []byte("v"), []etcd.Op{etcd.PutRequest{Key: name + "-x"}}, nil
			})
			if err != nil || string(v) != "v" {
				t.Fatalf("%q, %v", v, err)
			}
			if k == onefault.Late {
				f.Deliver(t)
			}
			resp, err := plain.Get(t.Context(), etcd.GetRequest{Key: name + "-x"})
			if err != nil || len(resp.KVs) != 1 || resp.KVs[0].Version != 1 {
				t.Errorf("the effect: %v, %v", resp, err)
			}
		})
	}
}
