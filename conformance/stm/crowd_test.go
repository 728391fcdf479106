package stm

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/stm"
)

// increment adds 1 to the number in a key.
func increment(tx *stm.Tx, key string) error {
	kv, _, err := tx.Get(key)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(kv.Value)) // a missing key is 0
	return tx.Put(etcd.PutRequest{Key: key, Value: []byte(strconv.Itoa(n + 1))})
}

func number(t *testing.T, c *etcd.Client, key string) int64 {
	t.Helper()
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	kv, _ := resp.First()
	n, _ := strconv.ParseInt(string(kv.Value), 10, 64)
	return n
}

// heated has callers run f, each several times, and waits.
func heated(callers, each int, f func()) {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				f()
			}
		})
	}
	all.Wait()
}

// TestTogether: transactions of one client over one key share requests, and each counts.
// Alone they don't: then each has a version of the key. The versions are what has been shared;
// how many requests have met a conflict before that is the machine's.
func TestTogether(t *testing.T) {
	t.Parallel()
	const callers, each = 16, 10
	for _, alone := range []bool{false, true} {
		c, requests := start(t)
		heated(callers, each, func() {
			_, err := stm.Run(t.Context(), c, stm.Config{Alone: alone}, func(tx *stm.Tx) error { return increment(tx, "n") })
			if err != nil {
				t.Error(err)
			}
		})
		sent := requests.Load()
		if n := number(t, c, "n"); n != callers*each {
			t.Errorf("alone %v: %d, want %d", alone, n, callers*each)
		}
		if alone && sent < callers*each {
			t.Errorf("alone: %d requests", sent)
		}
		if v := version(t, c, "n"); (v == callers*each) != alone {
			t.Errorf("alone %v: version %d", alone, v)
		}
	}
}

// TestTogetherWithOthers: two clients, each with a crowd, a third that puts without reading
// and one that deletes: no increment between two of the others' changes is lost.
func TestTogetherWithOthers(t *testing.T) {
	t.Parallel()
	const callers, each = 6, 60
	s := etcdtest.Start(t)
	var all sync.WaitGroup
	for range 2 {
		c, _ := connect(t, etcd.Config{}, s.Endpoints()...)
		all.Go(func() {
			heated(callers, each, func() {
				_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
					return errors.Join(increment(tx, "a"), increment(tx, "b"))
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
	other, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	all.Wait()
	for _, key := range []string{"a", "b"} {
		if n := number(t, other, key); n != 2*callers*each {
			t.Errorf("%s is %d, want %d", key, n, 2*callers*each)
		}
	}
}

// TestTogetherErrors: an error of one function is returned to its caller alone, after what it
// has read was confirmed; its writes are dropped.
func TestTogetherErrors(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	odd := errors.New("odd")
	var failed, done atomic.Int64
	heated(8, 50, func() {
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
			if err := increment(tx, "n"); err != nil {
				return err
			}
			kv, _, err := tx.Get("n")
			if err == nil && len(kv.Value)%2 == 0 {
				err = errors.Join(tx.Put(etcd.PutRequest{Key: "bad"}), odd)
			}
			if err == nil && string(kv.Value) == "9" {
				return nil
			}
			return err
		})
		switch {
		case errors.Is(err, odd):
			failed.Add(1)
		case err != nil:
			t.Error(err)
		default:
			done.Add(1)
		}
	})
	if n := number(t, c, "n"); n != 9 || done.Load() != 9 || failed.Load() != 8*50-9 {
		t.Errorf("%d; %d have succeeded, %d failed", n, done.Load(), failed.Load())
	}
	if got := stored(t, c, "bad"); got != nil {
		t.Error(got)
	}
}

// TestTogetherMixed: what a batch can't carry runs alone, beside batches of the same keys.
func TestTogetherMixed(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	kinds := []func(tx *stm.Tx) error{
		func(tx *stm.Tx) error { return nil },
		func(tx *stm.Tx) error { _, err := tx.Range("x/"); return err },
		func(tx *stm.Tx) error { return tx.Delete("x/gone") },
		func(tx *stm.Tx) error { return tx.Put(etcd.PutRequest{Key: "x/leased", Lease: lease.ID}) },
		func(tx *stm.Tx) error { return tx.Put(etcd.PutRequest{Key: "x/blind"}) },
	}
	var next atomic.Int64
	const callers, each = 10, 30
	heated(callers, each, func() {
		extra := kinds[next.Add(1)%int64(len(kinds))]
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
			if err := increment(tx, "n"); err != nil {
				return err
			}
			return extra(tx)
		})
		if err != nil {
			t.Error(err)
		}
	})
	if n := number(t, c, "n"); n != callers*each {
		t.Errorf("%d, want %d", n, callers*each)
	}
	// A put without a read is not hidden by another one.
	if v := version(t, c, "x/blind"); v != callers*each/int64(len(kinds)) {
		t.Errorf("%d blind puts are stored", v)
	}
}

// hot makes a key one that transactions of the client come together over, for as long as the
// test lasts.
func hot(t *testing.T, c *etcd.Client, key string) {
	t.Helper()
	started, release := make(chan struct{}), make(chan struct{})
	holding := make(chan error, 1)
	go func() { // keeps the crowd
		_, err := stm.Run(context.WithoutCancel(t.Context()), c, stm.Config{}, func(*stm.Tx) error { close(started); <-release; return nil })
		holding <- err
	}()
	<-started
	t.Cleanup(func() {
		close(release)
		if err := <-holding; err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		first := true
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
			err := increment(tx, key)
			if first {
				first = false
				testbed.Put(t, c, key, "0")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowFunction: a function that takes long, or that runs a transaction over the same keys
// itself, holds up neither those that have run nor those that come.
func TestSlowFunction(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	hot(t, c, "n")
	before := number(t, c, "n")
	slow, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(slow); <-release })
	var all sync.WaitGroup
	all.Go(func() {
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
			err := increment(tx, "n")
			once()
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-slow
	heated(4, 3, func() {
		if _, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error { return increment(tx, "n") }); err != nil {
			t.Error(err)
		}
	})
	close(release)
	all.Wait()
	if n := number(t, c, "n") - before; n != 13 {
		t.Errorf("%d were added, want 13", n)
	}
}

// TestLeavingABatch: a caller whose context ends while the commit is in flight gets an error
// at once that says it may have been applied; the others go on.
func TestLeavingABatch(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, _ := connect(t, etcd.Config{}, proxy.Endpoint())
	direct, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	hot(t, c, "n")
	before := number(t, direct, "n")
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	proxy.Set(etcdtest.ToClient, etcdtest.Fault{Stall: true})
	var left, applied atomic.Int64
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			mine := t.Context()
			if i%2 == 0 {
				mine = ctx
			}
			_, err := stm.Run(mine, c, stm.Config{}, func(tx *stm.Tx) error { return increment(tx, "n") })
			switch {
			case err == nil:
				applied.Add(1)
			case !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			case etcd.MaybeApplied(err):
				left.Add(1)
			}
			if i%2 == 0 {
				return
			}
			if err != nil {
				t.Errorf("one that stays: %v", err)
			}
		})
	}
	<-ctx.Done()
	proxy.Heal()
	all.Wait()
	if n := number(t, direct, "n") - before; n < applied.Load() || n > applied.Load()+left.Load() {
		t.Errorf("%d were added; %d were reported, and %d of unknown outcome", n, applied.Load(), left.Load())
	}
}

// TestTogetherAfterRange: what an attempt knows from the range of an earlier one is compared
// as well.
func TestTogetherAfterRange(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	hot(t, c, "r/n")
	other, runs := 0, 0
	_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
		runs++
		if runs == 1 {
			_, err := tx.Range("r/")
			testbed.Put(t, c, "r/n", "100")
			return errors.Join(err, tx.Put(etcd.PutRequest{Key: "z"}))
		}
		err := increment(tx, "r/n")
		if runs == 2 {
			other = 200
			testbed.Put(t, c, "r/n", "200")
		}
		return err
	})
	if err != nil || number(t, c, "r/n") != int64(other+1) {
		t.Errorf("%d after %d runs, %v", number(t, c, "r/n"), runs, err)
	}
}
