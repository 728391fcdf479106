package v3compat

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// persist repeats a function until it succeeds. It retries only after a lost
// connection and after the server's errors about one.
func persist(ctx context.Context, t *testing.T, what string, do func() error) bool {
	t.Helper()
	for {
		err := do()
		if err == nil {
			return true
		}
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			t.Errorf("%s: %v (%T)", what, err, err)
			return false
		}
	}
}

func session(ctx context.Context, t *testing.T, client *clientv3.Client) *concurrency.Session {
	t.Helper()
	var s *concurrency.Session
	if !persist(ctx, t, "NewSession", func() (err error) {
		s, err = concurrency.NewSession(client, concurrency.WithTTL(30))
		return err
	}) {
		t.FailNow()
	}
	return s
}

func TestMutex(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, _ *etcd.Client) {
		const workers, rounds = 5, 8
		ctx := within(t, time.Minute)
		var holders, held atomic.Int32
		var all sync.WaitGroup
		for range workers {
			s := session(ctx, t, client)
			m := concurrency.NewMutex(s, "lock")
			all.Go(func() {
				for range rounds {
					if !persist(ctx, t, "Lock", func() error { return m.Lock(ctx) }) {
						return
					}
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d hold the lock", n)
					}
					held.Add(1)
					holders.Add(-1)
					if !persist(ctx, t, "Unlock", func() error { return m.Unlock(ctx) }) {
						return
					}
				}
			})
		}
		all.Wait()
		if n := held.Load(); n != workers*rounds {
			t.Errorf("held %d times, not %d", n, workers*rounds)
		}
	})
}

func TestTryLock(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{Endpoints: etcdtest.Start(t).Endpoints()})
	ctx := within(t, 20*time.Second)
	one, other := session(ctx, t, client), session(ctx, t, client)
	held, wanted := concurrency.NewMutex(one, t.Name()), concurrency.NewMutex(other, t.Name())
	if err := held.TryLock(ctx); err != nil {
		t.Fatal(err)
	}
	if err := wanted.TryLock(ctx); err != concurrency.ErrLocked {
		t.Errorf("a lock that is held: %v", err)
	}
	if r, err := client.Txn(ctx).If(held.IsOwner()).Then(clientv3.OpPut(t.Name()+" owner", "v")).Commit(); err != nil || !r.Succeeded {
		t.Errorf("the owner: %v, %v", r, err)
	}
	// The end of a session is the end of its lock.
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	<-one.Done()
	if err := wanted.Lock(ctx); err != nil {
		t.Error(err)
	}
	// Waiting for a lock that never becomes free ends with the context.
	third := concurrency.NewMutex(session(ctx, t, client), t.Name())
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := third.Lock(short); err != context.DeadlineExceeded {
		t.Errorf("the error is %v (%T)", err, err)
	}
}

// A session whose lease is gone reports it.
func TestSessionEndsWithItsLease(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	ctx := within(t, 20*time.Second)
	s, err := concurrency.NewSession(client, concurrency.WithTTL(2)) // which it is renewed within
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Revoke(ctx, s.Lease()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		t.Error("the session goes on without its lease")
	}
	if s.Ctx().Err() == nil {
		t.Error("the session's context goes on")
	}
	orphan := session(ctx, t, client)
	orphan.Orphan()
	<-orphan.Done()
	if r, err := client.TimeToLive(ctx, orphan.Lease()); err != nil || r.TTL < 1 {
		t.Errorf("the lease of an orphaned session: %+v, %v", r, err)
	}
}

func TestElection(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, _ *etcd.Client) {
		const candidates = 4
		ctx := within(t, time.Minute)
		watching, stop := context.WithCancel(ctx)
		observed := concurrency.NewElection(session(ctx, t, client), "elect").Observe(watching)
		var observer sync.WaitGroup
		var seen []string
		observer.Go(func() {
			for r := range observed {
				seen = append(seen, string(r.Kvs[0].Key))
			}
		})
		var leaders atomic.Int32
		var all sync.WaitGroup
		for i := range candidates {
			s := session(ctx, t, client)
			all.Go(func() {
				e := concurrency.NewElection(s, "elect")
				name := "candidate " + strconv.Itoa(i)
				if !persist(ctx, t, "Campaign", func() error { return e.Campaign(ctx, name) }) {
					return
				}
				if n := leaders.Add(1); n != 1 {
					t.Errorf("%d lead", n)
				}
				persist(ctx, t, "Proclaim", func() error { return e.Proclaim(ctx, name+", elected") })
				var leader *clientv3.GetResponse
				persist(ctx, t, "Leader", func() (err error) { leader, err = e.Leader(ctx); return err })
				if leader != nil && string(leader.Kvs[0].Value) != name+", elected" {
					t.Errorf("%s leads, and not %s", leader.Kvs[0].Value, name)
				}
				leaders.Add(-1)
				// A Resign that fails forgets its key, and the next would do nothing.
				key, rev := e.Key(), e.Rev()
				persist(ctx, t, "Resign", func() error { return concurrency.ResumeElection(s, "elect", key, rev).Resign(ctx) })
			})
		}
		all.Wait()
		stop()
		observer.Wait()
		// It may skip candidates that lead only for a moment, and reports none
		// twice.
		terms := slices.Compact(slices.Clone(seen))
		if n := len(terms); n == 0 || n != len(slices.Compact(slices.Sorted(slices.Values(terms)))) {
			t.Errorf("were observed to lead: %v", seen)
		}
	})
}

// Transfers between accounts, none of which changes the sum, at each isolation
// level.
func TestSTM(t *testing.T) {
	t.Parallel()
	overBothWays(t, func(t *testing.T, client *clientv3.Client, c *etcd.Client) {
		const accounts, workers, transfers, each = 5, 4, 15, 100
		ctx := within(t, time.Minute)
		account := func(i int) string { return fmt.Sprint("account/", i%accounts) }
		for i := range accounts {
			persist(ctx, t, "Put", func() error { _, err := client.Put(ctx, account(i), strconv.Itoa(each)); return err })
		}
		var all sync.WaitGroup
		for w := range workers {
			isolation := concurrency.SerializableSnapshot
			if w%2 == 1 {
				isolation = concurrency.Serializable
			}
			all.Go(func() {
				for i := range transfers {
					from, to := account(i+w), account(i*w+1)
					persist(ctx, t, "STM", func() error {
						_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
							if from == to {
								return nil
							}
							a, _ := strconv.Atoi(stm.Get(from))
							b, _ := strconv.Atoi(stm.Get(to))
							stm.Put(from, strconv.Itoa(a-1))
							stm.Put(to, strconv.Itoa(b+1))
							return nil
						}, concurrency.WithIsolation(isolation), concurrency.WithAbortContext(ctx), concurrency.WithPrefetch(from, to))
						return err
					})
				}
			})
		}
		all.Wait()
		got, err := c.Get(ctx, etcd.GetRequest{Key: "account/", Prefix: true})
		if err != nil {
			t.Fatal(err)
		}
		sum, changed := 0, false
		for _, kv := range got.KVs {
			n, _ := strconv.Atoi(string(kv.Value))
			sum += n
			changed = changed || kv.Version > 1
		}
		if sum != accounts*each || !changed {
			t.Errorf("the accounts hold %d, not %d: %+v", sum, accounts*each, got.KVs)
		}
	})
}
