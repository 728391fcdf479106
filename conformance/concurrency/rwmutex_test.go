package concurrency

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v3 "go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

// A writer is alone, readers overlap no writer, client/v3's recipe among them.
func TestRWMutexExcludes(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	var readers, writers, together atomic.Int32
	read := func() {
		if r := readers.Add(1); r > 1 {
			together.Store(r)
		}
		if w := writers.Load(); w != 0 {
			t.Errorf("%d writers beside a reader", w)
		}
		readers.Add(-1)
	}
	write := func() {
		if w, r := writers.Add(1), readers.Load(); w != 1 || r != 0 {
			t.Errorf("%d writers, %d readers", w, r)
		}
		writers.Add(-1)
	}
	var all sync.WaitGroup
	for range 2 {
		rw := fresh(t).RWMutex(name)
		for i := range 6 {
			lock, critical := rw.RLock, read
			if i%3 == 0 {
				lock, critical = rw.Lock, write
			}
			all.Go(func() {
				for range 15 {
					l, err := lock(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					critical()
					if err := l.Unlock(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	for i := range 2 {
		s, err := v3.NewSession(testbed.Official(t, testbed.Shared.Endpoints()...))
		if err != nil {
			t.Fatal(err)
		}
		rw := recipe.NewRWMutex(s, name)
		lock, unlock, critical := rw.RLock, rw.RUnlock, read
		if i == 0 {
			lock, unlock, critical = rw.Lock, rw.Unlock, write
		}
		all.Go(func() {
			for range 15 {
				if err := lock(); err != nil {
					t.Error(err)
					return
				}
				critical()
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	noKeys(t, testbed.Connect(t, etcd.Config{}), name)
}

// Strict order: readers behind a waiting writer wait for it, and get in together.
func TestRWMutexOrder(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	rw := fresh(t).RWMutex(name)
	ctx := testbed.Within(t, 20*time.Second)
	one := must[*concurrency.Lock](t)(rw.RLock(ctx))
	two := must[*concurrency.Lock](t)(rw.RLock(ctx)) // beside it
	writing := testbed.Async(func() (*concurrency.Lock, error) { return rw.Lock(ctx) })
	waiters(t, c, name, 3)
	var reading [2]<-chan testbed.Result[*concurrency.Lock]
	for i := range reading {
		reading[i] = testbed.Async(func() (*concurrency.Lock, error) { return rw.RLock(ctx) })
		waiters(t, c, name, 4+i)
	}
	unlock(t, one)
	select {
	case <-writing:
		t.Fatal("the writer is beside a reader")
	case <-reading[0]:
		t.Fatal("a reader has overtaken the writer")
	case <-time.After(100 * time.Millisecond):
	}
	unlock(t, two)
	w, err := testbed.Await(t, writing)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-reading[0]:
		t.Fatal("a reader is beside the writer")
	case <-time.After(100 * time.Millisecond):
	}
	unlock(t, w)
	for _, r := range reading {
		l, err := testbed.Await(t, r)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock(t, l)
	}
}

// A reader whose key is deleted while it waits queues again.
func TestRWMutexKeyDeleted(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := fresh(t)
	rw := co.RWMutex(name)
	ctx := testbed.Within(t, 20*time.Second)
	w := must[*concurrency.Lock](t)(rw.Lock(ctx))
	reading := testbed.Async(func() (*concurrency.Lock, error) { return rw.RLock(ctx) })
	waiters(t, c, name, 2)
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: keys(t, c, name)[1].Key}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "another place", func() bool { return co.Stats().Requeued == 1 && len(keys(t, c, name)) == 2 })
	unlock(t, w)
	l, err := testbed.Await(t, reading)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
	noKeys(t, c, name)
}

// The weights of holders never exceed the limit, and a heavy request is not starved.
func TestSemaphore(t *testing.T) {
	t.Parallel()
	const limit = 5
	name := testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	var held atomic.Int64
	var all sync.WaitGroup
	for range 2 {
		sem := fresh(t).Semaphore(name, limit)
		for i := range 6 {
			weight := 1 + i%limit
			all.Go(func() {
				for range 10 {
					l, err := sem.Acquire(ctx, weight)
					if err != nil {
						t.Error(err)
						return
					}
					if n := held.Add(int64(weight)); n > limit {
						t.Errorf("%d of %d are held", n, limit)
					}
					held.Add(int64(-weight))
					if err := l.Unlock(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	noKeys(t, testbed.Connect(t, etcd.Config{}), name)
}

// Permits that are free are taken at once, in order: nobody overtakes a heavy request.
func TestSemaphoreOrder(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	sem := fresh(t).Semaphore(name, 3)
	ctx := testbed.Within(t, 20*time.Second)
	a := must[*concurrency.Lock](t)(sem.Acquire(ctx, 1))
	b := must[*concurrency.Lock](t)(sem.Acquire(ctx, 1))
	heavy := testbed.Async(func() (*concurrency.Lock, error) { return sem.Acquire(ctx, 3) })
	waiters(t, c, name, 3)
	light := testbed.Async(func() (*concurrency.Lock, error) { return sem.Acquire(ctx, 1) })
	waiters(t, c, name, 4)
	unlock(t, a)
	select {
	case <-heavy:
		t.Fatal("too many permits")
	case <-light:
		t.Fatal("the light request has overtaken the heavy one")
	case <-time.After(100 * time.Millisecond):
	}
	unlock(t, b)
	h, err := testbed.Await(t, heavy)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, h)
	l, err := testbed.Await(t, light)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
}

func TestSemaphoreBadInput(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := fresh(t)
	ctx := testbed.Within(t, 20*time.Second)
	for _, call := range []struct{ limit, weight int }{{0, 1}, {-1, 1}, {3, 0}, {3, -1}, {3, 4}, {math.MaxInt, 1}} {
		if _, err := co.Semaphore(name, call.limit).Acquire(ctx, call.weight); !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("%+v: %v", call, err)
		}
	}
	l := must[*concurrency.Lock](t)(co.Semaphore(name, 3).Acquire(ctx, 2))
	if _, err := co.Semaphore(name, 4).Acquire(ctx, 1); !errors.Is(err, concurrency.ErrConfigMismatch) || !strings.Contains(err.Error(), "4") {
		t.Errorf("another limit: %v", err)
	}
	waiters(t, c, name, 1)
	// The error does not hit the innocent: the first in the queue sets the limit.
	other := must[*concurrency.Lock](t)(co.Semaphore(name, 3).Acquire(ctx, 1))
	unlock(t, l)
	unlock(t, other)
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := co.Semaphore(name, 4).Acquire(short, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	noKeys(t, c, name)
}

// Longer queues than what a mutex watches whole: readers count writers only, and a permit that
// is free is taken by the next, however many wait.
func TestLongQueuesOfReadersAndPermits(t *testing.T) {
	t.Parallel()
	const n = 100
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	co := fresh(t)
	rw, sem := co.RWMutex(name), co.Semaphore(name+"-sem", 2)
	w := must[*concurrency.Lock](t)(rw.Lock(ctx))
	permits := []*concurrency.Lock{must[*concurrency.Lock](t)(sem.Acquire(ctx, 1)), must[*concurrency.Lock](t)(sem.Acquire(ctx, 1))}
	readers, holders := make(chan *concurrency.Lock, n), make(chan *concurrency.Lock, n)
	for range n {
		go func() {
			l, err := rw.RLock(ctx)
			if err != nil {
				t.Error(err)
			}
			readers <- l
		}()
		go func() {
			l, err := sem.Acquire(ctx, 1)
			if err != nil {
				t.Error(err)
			}
			holders <- l
		}()
	}
	waiters(t, c, name, n+1)
	waiters(t, c, name+"-sem", n+2)
	next := func(from <-chan *concurrency.Lock) *concurrency.Lock {
		t.Helper()
		select {
		case l := <-from:
			return l
		case <-time.After(20 * time.Second):
			t.Fatal("nobody gets in")
			return nil
		}
	}
	unlock(t, w)
	var all []*concurrency.Lock
	for range n {
		all = append(all, next(readers))
	}
	for range n {
		unlock(t, permits[0])
		permits = append(permits[1:], next(holders))
	}
	for _, l := range append(all, permits...) {
		unlock(t, l)
	}
	noKeys(t, c, name)
	noKeys(t, c, name+"-sem")
}
