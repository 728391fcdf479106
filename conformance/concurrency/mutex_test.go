package concurrency

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v3 "go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/conformance/namespaced"
)

// Contenders of one process and of several, client/v3's among them, exclude each other, and
// the create revisions of holders grow.
func TestMutexExcludes(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	const rounds = 20
	var holders atomic.Int32
	var last atomic.Int64
	enter := func(token int64) {
		if n := holders.Add(1); n != 1 {
			t.Errorf("%d hold the lock", n)
		}
		if before := last.Swap(token); before >= token {
			t.Errorf("token %d after %d", token, before)
		}
		holders.Add(-1)
	}
	var all sync.WaitGroup
	for range 2 {
		co := fresh(t)
		for range 4 {
			all.Go(func() {
				m := co.Mutex(name, concurrency.MutexConfig{})
				for range rounds {
					l, err := m.Lock(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					enter(l.Token())
					if err := l.Unlock(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	for range 3 {
		s, err := v3.NewSession(testbed.Official(t, testbed.Shared.Endpoints()...))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			m := v3.NewMutex(s, namespaced.Prefix+name)
			for range rounds {
				if err := m.Lock(ctx); err != nil {
					t.Error(err)
					return
				}
				resp, err := s.Client().Get(ctx, m.Key())
				if err != nil {
					t.Error(err)
					return
				}
				enter(resp.Kvs[0].CreateRevision)
				if err := m.Unlock(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	noKeys(t, testbed.Connect(t, etcd.Config{}), name)
}

func TestTryLock(t *testing.T) {
	t.Parallel()
	co, c, name := fresh(t), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 20*time.Second)
	m := co.Mutex(name, concurrency.MutexConfig{Value: []byte("me")})
	l := must[*concurrency.Lock](t)(m.TryLock(ctx))
	before := keys(t, c, name)
	_, err := m.TryLock(ctx)
	var locked *concurrency.LockedError
	if !errors.As(err, &locked) || !errors.Is(err, concurrency.ErrLocked) || locked.Holder.Token != l.Token() || string(locked.Holder.Value) != "me" || locked.Holder.Key != l.Key() {
		t.Errorf("a lock that is held: %v, %+v", err, locked)
	}
	if strings.Contains(err.Error(), "me"+"\"") {
		t.Errorf("the text tells the value: %v", err)
	}
	if after := keys(t, c, name); len(after) != 1 || after[0].ModRevision != before[0].ModRevision {
		t.Errorf("keys %v after a refusal", after)
	}
	h, ok, err := m.Holder(ctx)
	if err != nil || !ok || h.Token != l.Token() || h.Lease == 0 {
		t.Errorf("holder %+v, %v, %v", h, ok, err)
	}
	// The names below it are others.
	inner := must[*concurrency.Lock](t)(co.Mutex(name+"/inner", concurrency.MutexConfig{}).TryLock(ctx))
	unlock(t, l)
	l = must[*concurrency.Lock](t)(m.TryLock(ctx))
	if _, err := m.TryLock(ctx); !errors.Is(err, concurrency.ErrLocked) {
		t.Errorf("a lock that is held: %v", err)
	}
	unlock(t, l)
	l = must[*concurrency.Lock](t)(m.Lock(ctx))
	unlock(t, l)
	unlock(t, inner)
	if _, ok, err := m.Holder(ctx); ok || err != nil {
		t.Errorf("a free lock is held: %v, %v", ok, err)
	}
	noKeys(t, c, name)
}

// Who waits directly behind one that gives up still waits for the holder.
func TestLockBehindOneThatGivesUp(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 20*time.Second)
	own := testbed.Connect(t, etcd.Config{})
	lock := func(ctx context.Context, c *etcd.Client) <-chan testbed.Result[*concurrency.Lock] {
		co := testbed.Coordinate(t, c, concurrency.Config{})
		return testbed.Async(func() (*concurrency.Lock, error) { return co.Mutex(name, concurrency.MutexConfig{}).Lock(ctx) })
	}
	holder, err := testbed.Await(t, lock(ctx, c))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	second := lock(short, testbed.Connect(t, etcd.Config{}))
	waiters(t, c, name, 2)
	third := lock(ctx, own)
	waiters(t, c, name, 3)
	testbed.Eventually(t, "the watch, and the read after it", func() bool { n := own.Stats(); return n.Watches == 1 && n.Attempts == 3 })
	cancel()
	if _, err := testbed.Await(t, second); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	waiters(t, c, name, 2)
	select {
	case <-third:
		t.Fatal("two hold the lock")
	case <-time.After(400 * time.Millisecond): // etcd tells a watch that begins behind within 100 ms
	}
	unlock(t, holder)
	l, err := testbed.Await(t, third)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
}

// A wait that is given up returns at once and leaves nothing behind.
func TestLockGivesUp(t *testing.T) {
	t.Parallel()
	co, c, name := fresh(t), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	m := co.Mutex(name, concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
	ctx, cancel := context.WithCancel(testbed.Within(t, 20*time.Second))
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(ctx) })
	waiters(t, c, name, 2)
	began := time.Now() // the holder keeps it until the call is back
	cancel()
	if _, err := testbed.Await(t, waiting); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), name) {
		t.Errorf("given up: %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	waiters(t, c, name, 1)
	next := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(testbed.Within(t, 20*time.Second)) })
	waiters(t, c, name, 2)
	unlock(t, l)
	l, err := testbed.Await(t, next)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
	noKeys(t, c, name)
	if n := co.Stats(); n.Held != 0 || n.Waiting != 0 {
		t.Errorf("%+v", n)
	}
}

// A key that somebody else has put on the coordinator's lease is not taken for its own: the
// lock waits for it, with another key.
func TestKeyOfAnotherOnTheLease(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 20*time.Second)
	co := fresh(t)
	s := must[*concurrency.Session](t)(co.Session(ctx))
	foreign := name + "/" + s.Lease().ID.String()
	if _, err := c.Put(ctx, etcd.PutRequest{Key: foreign, Lease: s.Lease().ID}); err != nil {
		t.Fatal(err)
	}
	m := co.Mutex(name, concurrency.MutexConfig{})
	if _, err := m.TryLock(ctx); !errors.Is(err, concurrency.ErrLocked) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("TryLock: %v", err)
	}
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(ctx) })
	waiters(t, c, name, 2)
	select {
	case <-waiting:
		t.Fatal("two hold the lock")
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: foreign}); err != nil {
		t.Fatal(err)
	}
	l, err := testbed.Await(t, waiting)
	if err != nil || l.Key() == foreign {
		t.Fatalf("%v", err)
	}
	unlock(t, l)
	noKeys(t, c, name)
}

// Keys of names below this one, however many, are no contenders.
func TestManyNamesBelow(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 20*time.Second)
	for i := range 100 {
		if _, err := c.Put(ctx, etcd.PutRequest{Key: fmt.Sprint(name, "/below/", i)}); err != nil {
			t.Fatal(err)
		}
	}
	m := fresh(t).Mutex(name, concurrency.MutexConfig{})
	for _, lock := range []func(context.Context) (*concurrency.Lock, error){m.Lock, m.TryLock} {
		l := must[*concurrency.Lock](t)(lock(ctx))
		if h, ok, err := m.Holder(ctx); err != nil || !ok || h.Token != l.Token() {
			t.Errorf("holder %+v, %v, %v", h, ok, err)
		}
		if _, err := m.TryLock(ctx); !errors.Is(err, concurrency.ErrLocked) {
			t.Errorf("held: %v", err)
		}
		waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(ctx) })
		waiters(t, c, name, 102)
		unlock(t, l)
		next, err := testbed.Await(t, waiting)
		if err != nil {
			t.Fatal(err)
		}
		unlock(t, next)
	}
	waiters(t, c, name, 100)
}

// A panic of a function is that of the caller's goroutine, and what was held is given up.
func TestFunctionsMayPanic(t *testing.T) {
	t.Parallel()
	co, c, name := fresh(t), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	for what, call := range map[string]func() error{
		"Do": func() error {
			return co.Mutex(name, concurrency.MutexConfig{}).Do(ctx, func(context.Context, *concurrency.Lock) error { panic("oh") })
		},
		"Run": func() error {
			return co.Election(name, concurrency.ElectionConfig{Restart: true}).Run(ctx, func(context.Context, *concurrency.Leadership) error { panic("oh") })
		},
		"Once": func() error {
			return second(co.Once(ctx, name, func(context.Context) ([]byte, []etcd.Op, error) { panic("oh") }))
		},
	} {
		func() {
			defer func() {
				if r := recover(); r != "oh" {
					t.Errorf("%s: recovered %v", what, r)
				}
			}()
			t.Errorf("%s returned %v", what, call())
		}()
		noKeys(t, c, name)
	}
}
