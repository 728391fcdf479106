package concurrency

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
)

// saved is a copy of a server's store.
type saved struct {
	s   *etcdtest.Server
	dir string
}

// save copies the store.
func save(t testing.TB, s *etcdtest.Server) *saved {
	t.Helper()
	b := &saved{s, t.TempDir()}
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.dir, os.DirFS(s.DataDir())); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	return b
}

// restore sets the history back to the copy.
func (b *saved) restore(t testing.TB) {
	t.Helper()
	if err := b.s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.s.DataDir(), "member")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.s.DataDir(), os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Restart(); err != nil {
		t.Fatal(err)
	}
}

// The store is set back to a time before a lock was taken: its holder is told, who waits for it
// gets it, and so do newcomers.
func TestHistoryResetBeforeTheLock(t *testing.T) {
	t.Parallel()
	s, c := private(t)
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "x"}); err != nil {
		t.Fatal(err)
	}
	b := save(t, s)
	ctx := within(t, time.Minute)
	config := concurrency.Config{TTL: 5 * time.Second}
	co := coordinate(t, c, config)
	waiter := coordinate(t, connect(t, etcd.Config{Endpoints: s.Endpoints()}), config)
	l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	watched(t, c)
	waiting := async(func() (*concurrency.Lock, error) { return waiter.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	plain := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiters(t, plain, "m", 2)
	for range 50 { // the history that is lost is longer than that which follows
		if _, err := plain.Put(ctx, etcd.PutRequest{Key: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	b.restore(t)
	if err := lost(t, l, 10*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("lost: %v", err)
	}
	next, err := await(t, waiting)
	if err != nil || next.Requeued() == 0 {
		t.Fatalf("the waiter: %v", err)
	}
	if err := l.Unlock(ctx); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Unlock of the lost one: %v", err)
	}
	again := async(func() (*concurrency.Lock, error) { return co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	waiters(t, connect(t, etcd.Config{Endpoints: s.Endpoints()}), "m", 2)
	unlock(t, next)
	l, err = await(t, again)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
	noKeys(t, connect(t, etcd.Config{Endpoints: s.Endpoints()}), "m")
}

// It is set back to a time when the holder had its lock already, but nobody waited for it: the
// holder keeps it, and those who wait queue again.
func TestHistoryResetAfterTheLock(t *testing.T) {
	t.Parallel()
	s, c := private(t)
	ctx := within(t, time.Minute)
	co := coordinate(t, c, concurrency.Config{})
	l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(ctx))
	b := save(t, s)
	own := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiter := coordinate(t, own, concurrency.Config{})
	waiting := async(func() (*concurrency.Lock, error) { return waiter.Mutex("m", concurrency.MutexConfig{}).Lock(ctx) })
	plain := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	waiters(t, plain, "m", 2)
	for range 50 {
		if _, err := plain.Put(ctx, etcd.PutRequest{Key: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	b.restore(t)
	plain = connect(t, etcd.Config{Endpoints: s.Endpoints()})
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
	next, err := await(t, waiting)
	if err != nil || next.Requeued() == 0 {
		t.Fatalf("the waiter: %v", err)
	}
	unlock(t, next)
	noKeys(t, plain, "m")
}
