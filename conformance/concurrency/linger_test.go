package concurrency

import (
	"context"
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// lingering is a mutex of its own coordinator whose key lingers after an Unlock.
type lingering struct {
	co    *concurrency.Coordinator
	m     *concurrency.Mutex
	c     *etcd.Client // the coordinator's
	plain *etcd.Client
	name  string
}

func newLingering(t testing.TB, c *etcd.Client, d time.Duration) *lingering {
	t.Helper()
	l := &lingering{c: c, plain: testbed.Connect(t, etcd.Config{Endpoints: testbed.Shared.Endpoints()}), name: testbed.OwnName(t)}
	l.co = testbed.Coordinate(t, c, concurrency.Config{})
	l.m = l.co.Mutex(l.name, concurrency.MutexConfig{Linger: d})
	return l
}

func (l *lingering) lock(t testing.TB) *concurrency.Lock {
	t.Helper()
	return must[*concurrency.Lock](t)(l.m.Lock(testbed.Within(t, 20*time.Second)))
}

// linger locks and unlocks until the key lingers, which it does once its watch is there.
func (l *lingering) linger(t testing.TB) {
	t.Helper()
	testbed.Eventually(t, "the key to linger", func() bool {
		unlock(t, l.lock(t))
		return len(keys(t, l.plain, l.name)) == 1
	})
}

// cycle locks and unlocks n times. It reports whether that was done without a request: an event
// that is still unread when the key is put ends its chain.
func (l *lingering) cycle(t testing.TB, n int) bool {
	t.Helper()
	l.linger(t)
	created, attempts := keys(t, l.plain, l.name)[0].CreateRevision, l.c.Stats().Attempts
	epoch := -1
	for i := range n {
		lock := l.lock
		if i%2 == 0 {
			lock = func(t testing.TB) *concurrency.Lock {
				return must[*concurrency.Lock](t)(l.m.TryLock(testbed.Within(t, 20*time.Second)))
			}
		}
		held := lock(t)
		if held.Epoch() <= epoch {
			unlock(t, held)
			return false
		}
		if held.Context().Err() != nil {
			t.Errorf("the context is over: %v", context.Cause(held.Context()))
		}
		epoch = held.Epoch()
		unlock(t, held)
		if held.Context().Err() == nil {
			t.Error("the context goes on after Unlock")
		}
	}
	requests := l.c.Stats().Attempts - attempts
	kvs := keys(t, l.plain, l.name)
	return requests == 0 && len(kvs) == 1 && kvs[0].CreateRevision == created
}

// A key that lingers is taken without a request, by Lock and TryLock, and is deleted when
// nobody takes it.
func TestLinger(t *testing.T) {
	t.Parallel()
	x := newLingering(t, testbed.Connect(t, etcd.Config{}), 5*time.Second)
	testbed.Eventually(t, "cycles without a request", func() bool { return x.cycle(t, 100) })
	l := x.lock(t)
	if _, err := x.co.Mutex(x.name, concurrency.MutexConfig{}).TryLock(testbed.Within(t, 20*time.Second)); !errors.Is(err, concurrency.ErrLocked) {
		t.Errorf("a second holder in the process: %v", err)
	}
	unlock(t, l)
	if n := x.co.Stats(); n.Held != 0 || n.Waiting != 0 {
		t.Errorf("%+v", n)
	}
	noKeys(t, x.plain, x.name)
}

// Another contender gets the mutex: at once when it lingers, with the next Unlock when it is
// held. So does another value.
func TestLingerYields(t *testing.T) {
	t.Parallel()
	x := newLingering(t, testbed.Connect(t, etcd.Config{}), 10*time.Second)
	other := fresh(t).Mutex(x.name, concurrency.MutexConfig{})
	x.linger(t)
	unlock(t, must[*concurrency.Lock](t)(other.Lock(testbed.Within(t, 5*time.Second))))
	x.linger(t)
	l := x.lock(t)
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return other.Lock(testbed.Within(t, 5*time.Second)) })
	waiters(t, x.plain, x.name, 2)
	unlock(t, l)
	next, err := testbed.Await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, next)
	x.linger(t)
	named := x.co.Mutex(x.name, concurrency.MutexConfig{Linger: 10 * time.Second, Value: []byte("other")})
	l = must[*concurrency.Lock](t)(named.Lock(testbed.Within(t, 5*time.Second)))
	if kvs := keys(t, x.plain, x.name); len(kvs) != 1 || string(kvs[0].Value) != "other" {
		t.Errorf("keys %v", kvs)
	}
	unlock(t, l)
}

// A chain of holdings ends after ten times Linger, although nobody else is seen to ask.
func TestLingerEnds(t *testing.T) {
	t.Parallel()
	x := newLingering(t, testbed.Connect(t, etcd.Config{}), 200*time.Millisecond)
	x.linger(t)
	began := time.Now()
	for l := x.lock(t); l.Epoch() > 0; l = x.lock(t) {
		unlock(t, l)
		if d := time.Since(began); d > 8*time.Second {
			t.Fatalf("a chain takes %v", d)
		}
	}
}

// What a holding may still do after it must not pass under the next: its key does not linger
// once its token or guard was asked for, or while a transaction may still be applied.
func TestLingerFence(t *testing.T) {
	t.Parallel()
	for what, use := range map[string]func(l *concurrency.Lock){
		"token": func(l *concurrency.Lock) { l.Token() },
		"guard": func(l *concurrency.Lock) { l.Guard() },
	} {
		x := newLingering(t, testbed.Connect(t, etcd.Config{}), 10*time.Second)
		x.linger(t)
		l := x.lock(t)
		use(l)
		unlock(t, l)
		if kvs := keys(t, x.plain, x.name); len(kvs) != 0 {
			t.Errorf("%s: keys %v", what, kvs)
		}
	}
	x := newLingering(t, testbed.Connect(t, etcd.Config{}), 10*time.Second)
	write := etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: x.name + "-x"}}}
	var l, next *concurrency.Lock
	testbed.Eventually(t, "a holding of the key of another that has written", func() bool {
		x.linger(t)
		l = x.lock(t)
		if _, err := l.Txn(t.Context(), write); err != nil {
			t.Error(err)
		}
		unlock(t, l)
		if next = x.lock(t); next.Epoch() == 0 {
			unlock(t, next)
		}
		return next.Epoch() > 0
	})
	if l.Token() != 0 || next.Token() == 0 {
		t.Errorf("tokens %d and %d", l.Token(), next.Token())
	}
	if _, err := l.Txn(t.Context(), write); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("a transaction of the former holding: %v", err)
	}
	if _, err := x.plain.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{l.Guard()}}); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("its guard: %v", err)
	}
	unlock(t, next)
}

// A transaction of unknown outcome, and one under way.
func TestLingerFenceUnknown(t *testing.T) {
	t.Parallel()
	for what, k := range map[string]onefault.Kind{"unknown": onefault.LoseAnswer, "under way": onefault.Stall} {
		c, f := testbed.Faulty(t, etcd.Config{})
		x := newLingering(t, c, 10*time.Second)
		x.linger(t)
		l := x.lock(t)
		hit := f.Arm(k, x.name+"-x")
		writing := testbed.Async(func() (*etcd.TxnResponse, error) {
			return l.Txn(testbed.Within(t, 20*time.Second), etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: x.name + "-x"}}})
		})
		<-hit
		if k == onefault.LoseAnswer {
			if _, err := testbed.Await(t, writing); !etcd.MaybeApplied(err) {
				t.Errorf("%s: %v", what, err)
			}
			testbed.Eventually(t, "the watch to resume", func() bool { return c.Stats().WatchesWaiting == 0 })
			unlock(t, l)
		} else {
			unlocking := testbed.Async(func() (int, error) { return 0, l.Unlock(testbed.Within(t, 20*time.Second)) })
			<-l.Context().Done()
			f.Sever()
			_, _ = testbed.Await(t, writing) // of unknown outcome
			if _, err := testbed.Await(t, unlocking); err != nil {
				t.Error(err)
			}
		}
		if kvs := keys(t, x.plain, x.name); len(kvs) != 0 {
			t.Errorf("%s: keys %v", what, kvs)
		}
	}
}

// While no member serves the watch, nobody knows whether somebody else asks: the key that
// lingers is not taken.
func TestLingerWithoutWatch(t *testing.T) {
	t.Parallel()
	p := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	x := newLingering(t, testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}}), 15*time.Second)
	x.linger(t)
	p.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	p.Reset()
	testbed.Eventually(t, "the watch to be interrupted", func() bool { return x.c.Stats().WatchesWaiting > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := x.m.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a watch: %v", err)
	}
	p.Heal()
	p.Reset()
	unlock(t, x.lock(t))
}

// A key that was deleted, or whose session has ended, while it lingers is not taken. Close
// leaves nothing behind.
func TestLingerLost(t *testing.T) {
	t.Parallel()
	x := newLingering(t, testbed.Connect(t, etcd.Config{}), 10*time.Second)
	for _, lose := range []func(kv etcd.KeyValue) error{
		func(kv etcd.KeyValue) error {
			return second(x.plain.Delete(t.Context(), etcd.DeleteRequest{Key: kv.Key}))
		},
		func(kv etcd.KeyValue) error {
			return second(x.plain.Revoke(t.Context(), etcd.RevokeRequest{ID: kv.Lease}))
		},
	} {
		x.linger(t)
		kv := keys(t, x.plain, x.name)[0]
		if err := lose(kv); err != nil {
			t.Fatal(err)
		}
		testbed.Eventually(t, "another key", func() bool {
			// The client may not have heard of the loss yet: then Unlock does.
			if err := x.lock(t).Unlock(testbed.Within(t, testbed.Patience)); err != nil && !errors.Is(err, concurrency.ErrLockLost) {
				t.Error(err)
			}
			kvs := keys(t, x.plain, x.name)
			return len(kvs) == 1 && kvs[0].CreateRevision != kv.CreateRevision
		})
	}
	x.linger(t)
	if err := x.co.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if kvs := keys(t, x.plain, x.name); len(kvs) != 0 {
		t.Errorf("keys %v", kvs)
	}
}

func TestLingerBadInput(t *testing.T) {
	t.Parallel()
	co := fresh(t)
	for _, d := range []time.Duration{-1, time.Hour} {
		if _, err := co.Mutex("m", concurrency.MutexConfig{Linger: d}).Lock(t.Context()); !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("%v: %v", d, err)
		}
	}
}
