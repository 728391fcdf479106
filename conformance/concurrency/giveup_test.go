package concurrency

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

// Regression: a call that had granted a lease panicked when others took all its keys at once.
func TestLeaseThatOthersFill(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{MaxKeys: 1})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() { // take a key, if there is one, and give up
			m := co.Mutex(name+"/other", concurrency.MutexConfig{})
			for {
				_, _ = m.Lock(ended)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 50 { // each needs another lease
		must[*concurrency.Lock](t)(co.Mutex(fmt.Sprint(name, "/", i), concurrency.MutexConfig{}).Lock(testbed.Within(t, testbed.Patience)))
	}
	close(done)
	others.Wait()
}

// Regression: when the context of Unlock ended with the answer, which says that the lock was
// lost, Unlock could return the context's error, and no call told of the loss.
func TestUnlockToldWithItsContext(t *testing.T) {
	t.Parallel()
	var answered func()
	c := testbed.Connect(t, etcd.Config{Hooks: etcd.Hooks{
		Call: func(ctx context.Context, call etcd.CallInfo) (context.Context, func(etcd.CallResult)) {
			return ctx, func(etcd.CallResult) {
				if call.Op == "Txn" {
					answered()
				}
			}
		},
	}})
	plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	m := testbed.Coordinate(t, c, concurrency.Config{}).Mutex(name, concurrency.MutexConfig{})
	for range 10 {
		answered = func() {}
		l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, testbed.Patience)))
		testbed.Delete(t, plain, l.Key())
		ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
		defer cancel()
		answered = cancel
		if err := l.Unlock(ctx); !errors.Is(err, concurrency.ErrLockLost) {
			t.Fatal(err)
		}
	}
}

// Whenever calls and releases are given up, nothing stays: no key, and nothing that counts as
// held.
func TestGivenUpAnytime(t *testing.T) {
	t.Parallel()
	type unlocks interface{ Unlock(context.Context) error }
	lock := func(l *concurrency.Lock, err error) (unlocks, error) { return l, err }
	for what, make := range map[string]func(co *concurrency.Coordinator, name string) func(ctx context.Context) (unlocks, error){
		"Lock": func(co *concurrency.Coordinator, name string) func(ctx context.Context) (unlocks, error) {
			m := co.Mutex(name, concurrency.MutexConfig{})
			return func(ctx context.Context) (unlocks, error) { return lock(m.Lock(ctx)) }
		},
		"TryLock": func(co *concurrency.Coordinator, name string) func(ctx context.Context) (unlocks, error) {
			m := co.Mutex(name, concurrency.MutexConfig{})
			return func(ctx context.Context) (unlocks, error) { return lock(m.TryLock(ctx)) }
		},
		"Linger": func(co *concurrency.Coordinator, name string) func(ctx context.Context) (unlocks, error) {
			m := co.Mutex(name, concurrency.MutexConfig{Linger: 3 * time.Millisecond})
			return func(ctx context.Context) (unlocks, error) { return lock(m.Lock(ctx)) }
		},
		"RWMutex": func(co *concurrency.Coordinator, name string) func(ctx context.Context) (unlocks, error) {
			m := co.RWMutex(name)
			return func(ctx context.Context) (unlocks, error) {
				if rand.N(3) == 0 {
					return lock(m.Lock(ctx))
				}
				return lock(m.RLock(ctx))
			}
		},
		"Semaphore": func(co *concurrency.Coordinator, name string) func(ctx context.Context) (unlocks, error) {
			s := co.Semaphore(name, 3)
			return func(ctx context.Context) (unlocks, error) { return lock(s.Acquire(ctx, 1+rand.N(3))) }
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			var calls sync.WaitGroup
			var all []*concurrency.Coordinator
			for range 2 {
				co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{MaxKeys: 4})
				all = append(all, co)
				call := make(co, name)
				for range 4 {
					calls.Go(func() {
						for range 200 {
							ctx, cancel := testbed.Impatient(t, 2*time.Millisecond)
							l, err := call(ctx)
							cancel()
							if err != nil {
								continue
							}
							ctx, cancel = testbed.Impatient(t, 2*time.Millisecond)
							_ = l.Unlock(ctx)
							cancel()
						}
					})
				}
			}
			calls.Wait()
			noKeys(t, plain, name)
			for _, co := range all {
				testbed.Eventually(t, "the releases", func() bool { return co.Stats().Releasing == 0 })
				if n := co.Stats(); n.Held != 0 || n.Waiting != 0 || n.LocksLost != 0 || n.SessionsLost != 0 {
					t.Errorf("%+v", n)
				}
				l, err := make(co, name)(testbed.Within(t, testbed.Patience))
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Unlock(testbed.Within(t, testbed.Patience)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A persistent barrier whose Hold is given up is lowered also by a coordinator that is closed
// at once: nobody else would.
func TestHoldGivenUpThenClosed(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	for range 200 {
		co, err := concurrency.New(c, concurrency.Config{})
		if err != nil {
			t.Fatal(err)
		}
		must[*concurrency.Session](t)(co.Session(testbed.Within(t, testbed.Patience)))
		b := co.Barrier(name, concurrency.BarrierConfig{Persistent: true})
		ctx, cancel := testbed.Impatient(t, 2*time.Millisecond)
		err = b.Hold(ctx)
		cancel()
		if err == nil {
			if err := b.Release(testbed.Within(t, testbed.Patience)); err != nil {
				t.Fatal(err)
			}
		}
		if err := co.Close(testbed.Within(t, testbed.Patience)); err != nil {
			t.Fatal(err)
		}
		if exists(t, c, name) {
			t.Fatalf("the barrier is held after %v", err)
		}
	}
}

// Whenever keys are deleted and leases revoked by others, nothing stays, and nothing counts as
// held or waiting.
func TestLostAnytime(t *testing.T) {
	t.Parallel()
	for what, linger := range map[string]time.Duration{"plain": 0, "linger": 3 * time.Millisecond} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{MaxKeys: 4})
			m := co.Mutex(name, concurrency.MutexConfig{Linger: linger})
			var calls sync.WaitGroup
			for range 6 {
				calls.Go(func() {
					for range 50 {
						l, err := m.Lock(testbed.Within(t, testbed.Patience))
						if err != nil {
							t.Error(err)
							return
						}
						_ = l.Unlock(t.Context())
					}
				})
			}
			done := make(chan struct{})
			var taking sync.WaitGroup
			for _, take := range []func(){
				func() { _, _ = plain.Delete(t.Context(), etcd.DeleteRequest{Key: name, Prefix: true}) },
				func() {
					if s, err := co.Session(t.Context()); err == nil {
						_, _ = co.Client().Revoke(t.Context(), etcd.RevokeRequest{ID: s.Lease().ID})
					}
				},
			} {
				taking.Go(func() {
					for {
						select {
						case <-done:
							return
						case <-time.After(rand.N(8 * time.Millisecond)):
							take()
						}
					}
				})
			}
			calls.Wait()
			close(done)
			taking.Wait()
			noKeys(t, plain, name)
			testbed.Eventually(t, "the releases", func() bool { return co.Stats().Releasing == 0 })
			if n := co.Stats(); n.Held != 0 || n.Waiting != 0 {
				t.Errorf("%+v", n)
			}
			l, err := m.Lock(testbed.Within(t, testbed.Patience))
			if err != nil {
				t.Fatal(err)
			}
			unlock(t, l)
		})
	}
}

// Regression: when a call ended with its coordinator, the watch that it had waited with could
// stay for half a minute after Close.
func TestCloseEndsWatches(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	stays := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{})
	for range 5 {
		co := testbed.Coordinate(t, c, concurrency.Config{})
		other := testbed.Async(func() (*concurrency.Round, error) { return stays.DoubleBarrier(name, 2).Enter(t.Context()) })
		round := must[*concurrency.Round](t)(co.DoubleBarrier(name, 2).Enter(testbed.Within(t, testbed.Patience)))
		leaving := testbed.Async(func() (int, error) { return 0, round.Leave(t.Context()) })
		testbed.Eventually(t, "the wait", func() bool { return c.Stats().Watches > 0 })
		must[*concurrency.Session](t)(co.Session(t.Context())).Abandon() // so Close has nothing to revoke
		if err := co.Close(testbed.Within(t, testbed.Patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := testbed.Await(t, leaving); !errors.Is(err, concurrency.ErrClosed) {
			t.Fatalf("Leave: %v", err)
		}
		if n := c.Stats().Watches; n > 0 {
			t.Fatalf("%d watches after Close", n)
		}
		if err := must[*concurrency.Round](t)(testbed.Await(t, other)).Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A coordinator that is closed at any time ends all its calls with ErrClosed, and leaves no
// lease, key or watch.
//
// Regression: a lock that was being released counted as lost when the revocation of its lease
// was faster, which is no loss.
func TestClosedAnytime(t *testing.T) {
	t.Parallel()
	_, c := testbed.Private(t)
	for range 50 {
		co, err := concurrency.New(c, concurrency.Config{MaxKeys: 1 + rand.N(4)})
		if err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		for _, call := range []func(name string) error{
			func(name string) error {
				return co.Mutex(name, concurrency.MutexConfig{Linger: time.Millisecond}).Do(t.Context(), func(context.Context, *concurrency.Lock) error { return nil })
			},
			func(name string) error {
				l, err := co.RWMutex(name + "/rw").RLock(t.Context())
				if err == nil {
					err = l.Unlock(t.Context())
				}
				return err
			},
			func(name string) error {
				return co.Election(name+"/e", concurrency.ElectionConfig{}).Run(t.Context(), func(context.Context, *concurrency.Leadership) error { return nil })
			},
			func(name string) error {
				round, err := co.DoubleBarrier(name+"/d", 1).Enter(t.Context())
				if err == nil {
					err = round.Leave(t.Context())
				}
				return err
			},
		} {
			for range 2 {
				calls.Go(func() {
					var err error
					for err == nil {
						err = call(fmt.Sprint(rand.N(3)))
					}
					if !errors.Is(err, concurrency.ErrClosed) {
						t.Error(err)
					}
				})
			}
		}
		<-time.After(rand.N(6 * time.Millisecond))
		if err := co.Close(testbed.Within(t, testbed.Patience)); err != nil {
			t.Fatal(err)
		}
		calls.Wait()
		leases, err := c.Leases(t.Context())
		if err != nil || len(leases.Leases) > 0 {
			t.Fatalf("leases: %v, %v", leases, err)
		}
		resp, err := c.Get(t.Context(), etcd.GetRequest{FromKey: true})
		if err != nil || len(resp.KVs) > 0 {
			t.Fatalf("keys: %v, %v", resp, err)
		}
		if n := co.Stats(); c.Stats().Watches > 0 || n.Held+n.Waiting+n.Releasing+n.Sessions > 0 {
			t.Fatalf("%d watches, %+v", c.Stats().Watches, n)
		}
	}
}
