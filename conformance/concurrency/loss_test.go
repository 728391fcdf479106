package concurrency

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// lost waits until the lock's context ends, and returns its cause. A busy machine gets two seconds
// more than d.
func lost(t testing.TB, l *concurrency.Lock, d time.Duration) error {
	t.Helper()
	select {
	case <-l.Context().Done():
		return context.Cause(l.Context())
	case <-time.After(d + 2*time.Second):
		t.Fatalf("the context goes on after %v", d)
		return nil
	}
}

// watched waits until the lock was held for so long that its key is watched.
func watched(t testing.TB, c *etcd.Client) {
	t.Helper()
	before := c.Stats().Watches
	testbed.Eventually(t, "a watch of the key", func() bool { return c.Stats().Watches > before })
}

// A key that is deleted by hand while the lock is held ends the context at once.
func TestHeldKeyDeleted(t *testing.T) {
	t.Parallel()
	c, other, name := testbed.Connect(t, etcd.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	l := must[*concurrency.Lock](t)(co.Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	watched(t, c)
	if _, err := other.Delete(t.Context(), etcd.DeleteRequest{Key: l.Key()}); err != nil {
		t.Fatal(err)
	}
	if err := lost(t, l, 2*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("lost: %v", err)
	}
	if _, err := l.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: name + "-x"}}}); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("a Txn: %v", err)
	}
	if err := l.Unlock(t.Context()); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Unlock: %v", err)
	}
	if err := l.Unlock(t.Context()); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("the second Unlock: %v", err)
	}
	if n := co.Stats(); n.LocksLost != 1 || n.Held != 0 {
		t.Errorf("%+v", n)
	}
}

// Before the key is watched, a Txn and Unlock tell of the loss.
func TestHeldKeyDeletedSoon(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	m := co.Mutex(name, concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: l.Key()}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: name + "-x"}}}); !errors.Is(err, concurrency.ErrLockLost) || etcd.MaybeApplied(err) {
		t.Errorf("a Txn: %v", err)
	}
	if err := lost(t, l, time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("the context: %v", err)
	}
	l = must[*concurrency.Lock](t)(m.TryLock(testbed.Within(t, 20*time.Second)))
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: l.Key()}); err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(t.Context()); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Unlock: %v", err)
	}
	if resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name + "-x"}); err != nil || len(resp.KVs) > 0 {
		t.Errorf("the refused write: %v, %v", resp, err)
	}
}

// The key is deleted before the watch begins that another contender of this process has
// opened: a read of the key tells.
func TestHeldKeyDeletedBeforeTheWatch(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 20*time.Second)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	m := co.Mutex(name, concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(ctx))
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: l.Key()}); err != nil {
		t.Fatal(err)
	}
	other := must[*concurrency.Lock](t)(fresh(t).Mutex(name, concurrency.MutexConfig{}).TryLock(ctx))
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(ctx) })
	if err := lost(t, l, 5*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("lost: %v", err)
	}
	unlock(t, other)
	next, err := testbed.Await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, next)
}

// A session that ends Grace before its lease does not block its successor: the lease is
// revoked as soon as that is possible.
func TestLostSessionIsRevoked(t *testing.T) {
	t.Parallel()
	s, direct := testbed.Private(t)
	p := etcdtest.StartProxy(t, s.Endpoints()[0])
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}})
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: 8 * time.Second, Grace: 3900 * time.Millisecond})
	m := co.Mutex("m", concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 60*time.Second)))
	old := must[*concurrency.Session](t)(co.Session(t.Context()))
	p.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	lost(t, l, 8*time.Second)
	p.Heal()
	p.Reset()
	next := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 60*time.Second)))
	if left := time.Until(old.Lease().Deadline()); left < 500*time.Millisecond {
		t.Errorf("the lock is free %v before the lost session's lease can expire", left)
	}
	if kvs := keys(t, direct, "m"); len(kvs) != 1 || kvs[0].CreateRevision != next.Token() {
		t.Errorf("keys %v", kvs)
	}
	unlock(t, next)
}

// A Txn of the lock tells the caller's own condition from the loss of the lock.
func TestLockTxn(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	l := must[*concurrency.Lock](t)(co.Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	key := name + "-x"
	for i, want := range []bool{true, false} {
		resp, err := l.Txn(t.Context(), etcd.TxnRequest{
			If: []etcd.Compare{etcd.Missing(key)}, Then: []etcd.Op{etcd.PutRequest{Key: key}}, Else: []etcd.Op{etcd.GetRequest{Key: key}},
		})
		if err != nil || resp.Succeeded != want || len(resp.Responses) != 1 || resp.Header.Revision == 0 {
			t.Errorf("%d: %+v, %v", i, resp, err)
		}
	}
	resp, err := c.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{l.Guard()}})
	if err != nil || !resp.Succeeded {
		t.Errorf("the guard: %v, %v", resp, err)
	}
	unlock(t, l)
	if _, err := l.Txn(t.Context(), etcd.TxnRequest{}); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("after Unlock: %v", err)
	}
	if err := context.Cause(l.Context()); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("the context: %v", err)
	}
}

// A key that is deleted by hand while its owner waits: it queues again.
func TestWaitingKeyDeleted(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	holder := must[*concurrency.Lock](t)(fresh(t).Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	co := fresh(t)
	waiting := testbed.Async(func() (*concurrency.Lock, error) {
		return co.Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second))
	})
	waiters(t, c, name, 2)
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: keys(t, c, name)[1].Key}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "another place", func() bool { return co.Stats().Requeued == 1 && len(keys(t, c, name)) == 2 })
	unlock(t, holder)
	l, err := testbed.Await(t, waiting)
	if err != nil || l.Requeued() != 1 {
		t.Fatalf("requeued %d, %v", l.Requeued(), err)
	}
	unlock(t, l)
	noKeys(t, c, name)
}

// A lease that is revoked, as a former leader does it, while its session holds one lock and
// waits for another: the holding ends at once, the waiting call queues again on another
// lease.
func TestLeaseRevoked(t *testing.T) {
	t.Parallel()
	c, other := testbed.Connect(t, etcd.Config{}), testbed.Connect(t, etcd.Config{})
	name, held := testbed.OwnName(t), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	blocker := must[*concurrency.Lock](t)(fresh(t).Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	l := must[*concurrency.Lock](t)(co.Mutex(held, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	watched(t, c)
	waiting := testbed.Async(func() (*concurrency.Lock, error) {
		return co.Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second))
	})
	waiters(t, other, name, 2)
	testbed.Eventually(t, "the waiter's watch", func() bool { return c.Stats().Watches == 2 })
	if _, err := other.Revoke(t.Context(), etcd.RevokeRequest{ID: keys(t, other, held)[0].Lease}); err != nil {
		t.Fatal(err)
	}
	if err := lost(t, l, 3*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("lost: %v", err)
	}
	testbed.Eventually(t, "another place", func() bool { return co.Stats().Requeued > 0 && len(keys(t, other, name)) == 2 })
	unlock(t, blocker)
	l, err := testbed.Await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	unlock(t, l)
	if n := co.Stats(); n.SessionsLost != 1 || n.LastLoss == nil || !errors.Is(n.LastLoss, concurrency.ErrSessionLost) {
		t.Errorf("%+v", n)
	}
	noKeys(t, other, name)
}

// Holder and waiter of one process, on one lease that is revoked: both keys go at one
// revision, and the waiter does not take that for its turn.
func TestHolderAndWaiterOnOneLease(t *testing.T) {
	t.Parallel()
	c, other, name := testbed.Connect(t, etcd.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	m := co.Mutex(name, concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(testbed.Within(t, 20*time.Second)) })
	waiters(t, other, name, 2)
	lease := keys(t, other, name)[0].Lease
	if _, err := other.Revoke(t.Context(), etcd.RevokeRequest{ID: lease}); err != nil {
		t.Fatal(err)
	}
	lost(t, l, 20*time.Second)
	next, err := testbed.Await(t, waiting)
	if err != nil || next.Requeued() == 0 {
		t.Fatalf("requeued %d, %v", next.Requeued(), err)
	}
	if kvs := keys(t, other, name); len(kvs) != 1 || kvs[0].Lease == lease || kvs[0].CreateRevision != next.Token() {
		t.Errorf("keys %v", kvs)
	}
	unlock(t, next)
}

// The server is stopped for longer than the lease lives: what is held ends Grace before the
// lease can, what waits queues again when the server is back, and no key is left.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	const grace = 500 * time.Millisecond
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: 2 * time.Second, Grace: grace})
	m := co.Mutex("m", concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 60*time.Second)))
	session := must[*concurrency.Session](t)(co.Session(t.Context()))
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(testbed.Within(t, 60*time.Second)) })
	waiters(t, c, "m", 2)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	// On a busy machine waiters wake late; a timer for the same moment measures by how much.
	due, fired := session.Lease().Deadline().Add(-grace), make(chan time.Time, 1)
	time.AfterFunc(time.Until(due), func() { fired <- time.Now() })
	err := lost(t, l, 3*time.Second)
	late := time.Since(session.Lease().Deadline().Add(-grace))
	if busy := max((<-fired).Sub(due), 0); late < 0 || late-busy > 300*time.Millisecond {
		t.Errorf("it ended %v before the lease can; a timer was %v late", grace-late, busy)
	}
	if !errors.Is(err, concurrency.ErrLockLost) || !errors.Is(err, concurrency.ErrSessionLost) || !errors.Is(err, etcd.ErrLeaseNotRenewed) {
		t.Errorf("lost: %v", err)
	}
	if !errors.Is(session.Err(), concurrency.ErrSessionLost) {
		t.Errorf("the session: %v", session.Err())
	}
	<-session.Lease().Done()
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	next, err := testbed.Await(t, waiting)
	if err != nil || next.Requeued() == 0 {
		t.Fatalf("%v", err)
	}
	unlock(t, next)
	if err := l.Unlock(testbed.Within(t, 20*time.Second)); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Unlock: %v", err)
	}
	noKeys(t, c, "m")
}

// Close ends waiting calls even while the server is stopped: the one that reads the watch for
// all, and those that wait for it.
func TestCloseWhileServerStopped(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	m := co.Mutex("m", concurrency.MutexConfig{})
	must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 60*time.Second)))
	var waiting []<-chan testbed.Result[*concurrency.Lock]
	for n := range 3 {
		waiting = append(waiting, testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(testbed.Within(t, 60*time.Second)) }))
		waiters(t, c, "m", 2+n)
	}
	testbed.Eventually(t, "the watch", func() bool { return c.Stats().Watches > 0 })
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	closing, cancel := context.WithCancel(t.Context())
	cancel()
	_ = co.Close(closing) // the leases are not revoked
	for _, w := range waiting {
		if _, err := testbed.Await(t, w); !errors.Is(err, concurrency.ErrClosed) {
			t.Errorf("what waited: %v", err)
		}
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
}

// The history is compacted under a wait, and the watch's connection is cut, so that it has to
// resume from a revision that is gone: it reads the keys again and waits on.
func TestCompactionUnderWait(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	p := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, direct := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}}), testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	co := testbed.Coordinate(t, c, concurrency.Config{})
	m := co.Mutex("m", concurrency.MutexConfig{})
	blocker := must[*concurrency.Lock](t)(testbed.Coordinate(t, direct, concurrency.Config{}).Mutex("m", concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(testbed.Within(t, 60*time.Second)) })
	waiters(t, direct, "m", 2)
	own := keys(t, direct, "m")[1]
	testbed.Eventually(t, "the watch", func() bool { return c.Stats().Watches == 1 })
	p.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	unlock(t, blocker) // the event is lost on its way
	var last int64
	for i := range 5 {
		resp, err := direct.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint("x", i)})
		if err != nil {
			t.Fatal(err)
		}
		last = resp.Header.Revision
	}
	if _, err := direct.Compact(t.Context(), etcd.CompactRequest{Revision: last}); err != nil {
		t.Fatal(err)
	}
	p.Heal()
	p.Reset()
	l, err := testbed.Await(t, waiting)
	if err != nil {
		t.Fatal(err)
	}
	if l.Token() != own.CreateRevision || l.Requeued() != 0 {
		t.Errorf("token %d, want %d; requeued %d", l.Token(), own.CreateRevision, l.Requeued())
	}
	unlock(t, l)
	noKeys(t, direct, "m")
}

// The same while the lock is held: it goes on, and its deletion is noticed.
func TestCompactionWhileHeld(t *testing.T) {
	t.Parallel()
	for _, deleted := range []bool{false, true} {
		s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
		p := etcdtest.StartProxy(t, s.Endpoints()[0])
		c, direct := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}}), testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
		co := testbed.Coordinate(t, c, concurrency.Config{})
		l := must[*concurrency.Lock](t)(co.Mutex("m", concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
		watched(t, c)
		p.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
		if deleted {
			if _, err := direct.Delete(t.Context(), etcd.DeleteRequest{Key: l.Key()}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			resp, err := direct.Put(t.Context(), etcd.PutRequest{Key: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := direct.Compact(t.Context(), etcd.CompactRequest{Revision: resp.Header.Revision}); err != nil {
				t.Fatal(err)
			}
		}
		p.Heal()
		p.Reset()
		if deleted {
			if err := lost(t, l, 10*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
				t.Errorf("lost: %v", err)
			}
			continue
		}
		testbed.Eventually(t, "the watch to resume", func() bool { return c.Stats().Watches == 1 && c.Stats().WatchesWaiting == 0 })
		if _, err := direct.Delete(t.Context(), etcd.DeleteRequest{Key: l.Key()}); err != nil {
			t.Fatal(err)
		}
		if err := lost(t, l, 10*time.Second); !errors.Is(err, concurrency.ErrLockLost) {
			t.Errorf("lost: %v", err)
		}
	}
}

// A session whose keys would be too many gets company; a long queue works, and wakes those at
// its end only seldom.
func TestLongQueue(t *testing.T) {
	t.Parallel()
	c, other, name := testbed.Connect(t, etcd.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{MaxKeys: 50})
	m := co.Mutex(name, concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 60*time.Second)))
	const n = 150
	granted := make(chan *concurrency.Lock, n)
	for range n {
		go func() {
			l, err := m.Lock(testbed.Within(t, 60*time.Second))
			if err != nil {
				t.Error(err)
			}
			granted <- l
		}()
	}
	waiters(t, other, name, n+1)
	if s := co.Stats(); s.Sessions != 4 || s.Waiting != n || s.Held != 1 {
		t.Errorf("%+v", s)
	}
	for range n {
		before := l.Token()
		unlock(t, l)
		select {
		case l = <-granted:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody gets the lock")
		}
		if l.Token() <= before {
			t.Errorf("%d after %d", l.Token(), before)
		}
	}
	unlock(t, l)
	noKeys(t, other, name)
}
