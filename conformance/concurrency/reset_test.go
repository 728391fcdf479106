package concurrency

import (
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

// The store is set back to a time before a lock was taken: its holder learns of the loss, and
// both its waiters and newcomers get it.
func TestHistoryResetBeforeTheLock(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "x"}); err != nil {
		t.Fatal(err)
	}
	b := testbed.TakeBackup(t, s)
	ctx := testbed.Within(t, time.Minute)
	config := concurrency.Config{TTL: 5 * time.Second}
	co := testbed.Coordinate(t, c, config)
	waiter := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}), config)
	l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	watched(t, c)
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return waiter.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	plain := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiters(t, plain, "m", 2)
	for range 50 { // the history that is lost is longer than that which follows
		if _, err := plain.Put(ctx, etcd.PutRequest{Key: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	b.Restore(t)
	if err := lost(t, l, 10*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("lost: %v", err)
	}
	next, err := testbed.Await(t, waiting)
	if err != nil || next.Requeued() == 0 {
		t.Fatalf("the waiter: %v", err)
	}
	if err := l.Unlock(ctx); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Unlock of the lost one: %v", err)
	}
	again := testbed.Async(func() (*concurrency.Lock, error) { return co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	waiters(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}), "m", 2)
	unlock(t, next)
	l, err = testbed.Await(t, again)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
	noKeys(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}), "m")
}

// It is set back to a time when the holder had its lock already, but nobody waited for it: the
// holder keeps it, and those who wait queue again.
func TestHistoryResetAfterTheLock(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	ctx := testbed.Within(t, time.Minute)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	b := testbed.TakeBackup(t, s)
	own := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiter := testbed.Coordinate(t, own, concurrency.Config{})
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return waiter.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	plain := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiters(t, plain, "m", 2)
	for range 50 {
		if _, err := plain.Put(ctx, etcd.PutRequest{Key: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	b.Restore(t)
	plain = testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiters(t, plain, "m", 2)
	if err := l.Context().Err(); err != nil || keys(t, plain, "m")[0].CreateRevision != l.Token() {
		t.Errorf("the holder: %v", err)
	}
	select {
	case <-waiting:
		t.Fatal("two hold the lock")
	default:
	}
	unlock(t, l)
	next, err := testbed.Await(t, waiting)
	if err != nil || next.Requeued() == 0 {
		t.Fatalf("the waiter: %v", err)
	}
	unlock(t, next)
	noKeys(t, plain, "m")
}
