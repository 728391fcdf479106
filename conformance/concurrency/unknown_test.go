package concurrency

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
)

// Whatever becomes of the request that queues, Lock and TryLock hold with one key, and nothing
// is left after Unlock, also when the first copy is applied after that.
func TestQueuingFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		for what, lock := range map[string]func(context.Context, *concurrency.Mutex) (*concurrency.Lock, error){
			"Lock":    func(ctx context.Context, m *concurrency.Mutex) (*concurrency.Lock, error) { return m.Lock(ctx) },
			"TryLock": func(ctx context.Context, m *concurrency.Mutex) (*concurrency.Lock, error) { return m.TryLock(ctx) },
		} {
			t.Run(what+" "+fault, func(t *testing.T) {
				t.Parallel()
				c, f := testbed.Faulty(t, etcd.Config{})
				co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
				m := co.Mutex(name, concurrency.MutexConfig{})
				unlock(t, must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))) // there is a session
				hit := f.Arm(k, name)
				l := must[*concurrency.Lock](t)(lock(testbed.Within(t, 20*time.Second), m))
				<-hit
				if kvs := keys(t, plain, name); len(kvs) != 1 || kvs[0].CreateRevision != l.Token() {
					t.Errorf("keys %v", kvs)
				}
				if _, err := fresh(t).Mutex(name, concurrency.MutexConfig{}).TryLock(testbed.Within(t, 20*time.Second)); !errors.Is(err, concurrency.ErrLocked) {
					t.Errorf("another: %v", err)
				}
				unlock(t, l)
				if k == onefault.Late {
					f.Deliver(t)
				}
				if kvs := keys(t, plain, name); len(kvs) != 0 {
					t.Errorf("keys %v are left", kvs)
				}
				unlock(t, must[*concurrency.Lock](t)(m.TryLock(testbed.Within(t, 20*time.Second))))
			})
		}
	}
}

// A call whose context ends while the outcome of its request is unknown returns at once. Its
// key is deleted, also when the request is applied later.
func TestQueuingGivenUpUnknown(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{false, true} {
		c, f := testbed.Faulty(t, etcd.Config{})
		co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
		m := co.Mutex(name, concurrency.MutexConfig{})
		unlock(t, must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second))))
		hit := f.Arm(onefault.Stall, name)
		ctx, cancel := context.WithCancel(testbed.Within(t, 20*time.Second))
		waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(ctx) })
		<-hit
		cancel()
		if _, err := testbed.Await(t, waiting); !errors.Is(err, context.Canceled) || !etcd.MaybeApplied(err) {
			t.Errorf("given up: %v", err)
		}
		f.Sever()
		if applied { // before the releaser has put the fence, or after that: nothing stays
			f.Deliver(t)
		}
		testbed.Eventually(t, "the release", func() bool { return co.Stats().Releasing == 0 })
		if n := co.Stats(); n.Fences != 1 {
			t.Errorf("%+v", n)
		}
		if !applied {
			f.Deliver(t)
		}
		if kvs := keys(t, plain, name); len(kvs) != 0 {
			t.Errorf("keys %v are left", kvs)
		}
	}
}

// Whatever becomes of the request that unlocks, the key goes, Unlock says nil, and a late copy
// does not delete the next holder's key.
func TestUnlockFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			m := co.Mutex(name, concurrency.MutexConfig{})
			l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
			hit := f.Arm(k, name)
			unlock(t, l)
			<-hit
			if err := l.Unlock(testbed.Within(t, 20*time.Second)); !errors.Is(err, concurrency.ErrNotHeld) {
				t.Errorf("unlocked again: %v", err)
			}
			l = must[*concurrency.Lock](t)(m.TryLock(testbed.Within(t, 20*time.Second)))
			if k == onefault.Late {
				f.Deliver(t)
			}
			if kvs := keys(t, plain, name); len(kvs) != 1 || kvs[0].CreateRevision != l.Token() {
				t.Errorf("keys %v, want that of the next", kvs)
			}
			unlock(t, l)
		})
	}
}

// The context of Unlock bounds the waiting, not the release; a second Unlock joins it.
func TestUnlockGoesOn(t *testing.T) {
	t.Parallel()
	c, f := testbed.Faulty(t, etcd.Config{})
	co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	m := co.Mutex(name, concurrency.MutexConfig{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
	if err := l.Unlock(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	noKeys(t, plain, name)

	l = must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
	hit := f.Arm(onefault.Stall, name)
	ctx, cancel := context.WithCancel(t.Context())
	unlocking := testbed.Async(func() (int, error) { return 0, l.Unlock(ctx) })
	<-hit
	cancel()
	if _, err := testbed.Await(t, unlocking); !errors.Is(err, context.Canceled) || !etcd.MaybeApplied(err) {
		t.Errorf("given up: %v", err)
	}
	f.Sever()
	if err := l.Unlock(testbed.Within(t, 20*time.Second)); err != nil {
		t.Errorf("the second: %v", err)
	}
	if kvs := keys(t, plain, name); len(kvs) != 0 {
		t.Errorf("keys %v are left", kvs)
	}
	if err := l.Unlock(testbed.Within(t, 20*time.Second)); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("the third: %v", err)
	}
}

// What becomes of the fence itself does not matter.
func TestFenceFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			co := testbed.Coordinate(t, c, concurrency.Config{Name: testbed.OwnName(t)})
			s := must[*concurrency.Session](t)(co.Session(testbed.Within(t, 20*time.Second)))
			hit := f.Arm(k, s.Lease().ID.String())
			guard := must[etcd.Compare](t)(s.Guard(testbed.Within(t, 20*time.Second)))
			<-hit
			if k == onefault.Late {
				f.Deliver(t)
			}
			again := must[etcd.Compare](t)(s.Guard(testbed.Within(t, 20*time.Second)))
			resp, err := c.Txn(testbed.Within(t, 20*time.Second), etcd.TxnRequest{If: []etcd.Compare{guard, again}})
			if err != nil || !resp.Succeeded {
				t.Errorf("the guard: %v, %v", resp, err)
			}
			name := testbed.OwnName(t)
			unlock(t, must[*concurrency.Lock](t)(co.Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second))))
			if err := s.Lease().Revoke(t.Context()); err != nil {
				t.Fatal(err)
			}
			resp, err = c.Txn(testbed.Within(t, 20*time.Second), etcd.TxnRequest{If: []etcd.Compare{guard}})
			if err != nil || resp.Succeeded {
				t.Errorf("the guard of an ended session: %v, %v", resp, err)
			}
		})
	}
}

// A guarded write whose context ends with the lock while its outcome is unknown is no loss that
// has applied nothing: errors.Is does not find one. The text says why the context ended.
func TestUnknownIsNoLoss(t *testing.T) {
	t.Parallel()
	txn := func(key string) etcd.TxnRequest {
		return etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key}}}
	}
	abandon := func(t *testing.T, co *concurrency.Coordinator, _ *concurrency.Leadership) {
		must[*concurrency.Session](t)(co.Session(t.Context())).Abandon()
	}
	resign := func(t *testing.T, _ *concurrency.Coordinator, ld *concurrency.Leadership) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = ld.Resign(ended)
	}
	for what, end := range map[string]func(*testing.T, *concurrency.Coordinator, *concurrency.Leadership){"lost": abandon, "resigned": resign} {
		for method, write := range map[string]func(ld *concurrency.Leadership, key string) error{
			"Txn":      func(ld *concurrency.Leadership, key string) error { return second(ld.Txn(ld.Context(), txn(key))) },
			"Proclaim": func(ld *concurrency.Leadership, key string) error { return ld.Proclaim(ld.Context(), []byte(key)) },
		} {
			t.Run(method+" "+what, func(t *testing.T) {
				t.Parallel()
				c, f := testbed.Faulty(t, etcd.Config{})
				co, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.OwnName(t)
				ld := must[*concurrency.Leadership](t)(co.Election(name, concurrency.ElectionConfig{}).Campaign(testbed.Within(t, 20*time.Second)))
				hit := f.Arm(onefault.Stall, name+"-x")
				writing := testbed.Async(func() (int, error) { return 0, write(ld, name+"-x") })
				<-hit
				end(t, co, ld)
				_, err := testbed.Await(t, writing)
				if !etcd.MaybeApplied(err) || etcd.Temporary(err) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), context.Cause(ld.Context()).Error()) {
					t.Errorf("%v", err)
				}
				for _, nothing := range []error{concurrency.ErrLockLost, concurrency.ErrNotHeld, concurrency.ErrNotLeader} {
					if errors.Is(err, nothing) {
						t.Errorf("%v says %q", err, nothing)
					}
				}
			})
		}
	}
}

// The first copy of what ends Once is applied, its answer is lost, and the second copy is refused
// because the lock's key is gone: Once does not know, and does not say that nothing was applied.
func TestOnceAppliedAndLost(t *testing.T) {
	t.Parallel()
	c, f := testbed.Faulty(t, etcd.Config{})
	co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	_, err := co.Once(testbed.Within(t, 20*time.Second), name, func(context.Context) ([]byte, []etcd.Op, error) {
		f.Arm(onefault.LoseAnswer, name+".done")
		return []byte("v"), []etcd.Op{etcd.DeleteRequest{Key: keys(t, plain, name)[0].Key}}, nil
	})
	if !etcd.MaybeApplied(err) || errors.Is(err, concurrency.ErrLockLost) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if kv := testbed.Get(t, plain, name+".done"); string(kv.Value) != "v" {
		t.Errorf("what was applied: %+v", kv)
	}
}
