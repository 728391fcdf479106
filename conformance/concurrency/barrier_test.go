package concurrency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
)

func exists(t testing.TB, c *etcd.Client, key string) bool {
	t.Helper()
	resp, err := c.Get(testbed.Within(t, 20*time.Second), etcd.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return len(resp.KVs) > 0
}

// Those who wait go on when the barrier is released, also client/v3's, and when its holder's
// lease ends.
func TestBarrier(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 20*time.Second)
	for _, persistent := range []bool{false, true} {
		holder := fresh(t)
		b := holder.Barrier(name, concurrency.BarrierConfig{Persistent: persistent})
		other := fresh(t).Barrier(name, concurrency.BarrierConfig{})
		if err := other.Wait(ctx); err != nil {
			t.Errorf("a barrier that nobody holds: %v", err)
		}
		if err := b.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		for _, again := range []*concurrency.Barrier{b, other} {
			if err := again.Hold(ctx); !errors.Is(err, concurrency.ErrLocked) {
				t.Errorf("held already: %v", err)
			}
		}
		wait := func() <-chan testbed.Result[int] {
			return testbed.Async(func() (int, error) { return 0, other.Wait(ctx) })
		}
		waiting, theirs := wait(), testbed.Async(func() (int, error) {
			return 0, recipe.NewBarrier(testbed.Official(t, testbed.Shared.Endpoints()...), name).Wait()
		})
		select {
		case <-waiting:
			t.Fatal("it does not wait")
		case <-time.After(50 * time.Millisecond):
		}
		if err := other.Release(ctx); err != nil {
			t.Fatal(err)
		}
		for _, w := range []<-chan testbed.Result[int]{waiting, theirs} {
			if _, err := testbed.Await(t, w); err != nil {
				t.Error(err)
			}
		}
		if err := other.Release(ctx); err != nil {
			t.Errorf("released again: %v", err)
		}
		if err := b.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		waiting = wait()
		if err := holder.Close(ctx); err != nil {
			t.Error(err)
		}
		if exists(t, c, name) != persistent {
			t.Errorf("persistent %v: it exists %v", persistent, !persistent)
		}
		if persistent {
			if err := other.Release(ctx); err != nil {
				t.Error(err)
			}
		}
		if _, err := testbed.Await(t, waiting); err != nil {
			t.Error(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	b := fresh(t).Barrier(name, concurrency.BarrierConfig{})
	if err := b.Hold(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that is given up: %v", err)
	}
	for what, err := range map[string]error{
		"Hold": fresh(t).Barrier("", concurrency.BarrierConfig{}).Hold(ctx),
		"Wait": fresh(t).Barrier("", concurrency.BarrierConfig{}).Wait(ctx),
	} {
		if !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("%s without a name: %v", what, err)
		}
	}
}

// Whatever becomes of the request that holds or releases, it happens once, and a late copy
// brings nothing back, also when the session is over by then.
func TestBarrierFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		for _, persistent := range []bool{false, true} {
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				c, f := testbed.Faulty(t, etcd.Config{})
				co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
				ctx := testbed.Within(t, 20*time.Second)
				b := co.Barrier(name, concurrency.BarrierConfig{Persistent: persistent})
				must[*concurrency.Session](t)(co.Session(ctx))
				f.Arm(k, name)
				if err := b.Hold(ctx); err != nil {
					t.Fatal(err)
				}
				if !exists(t, plain, name) {
					t.Error("nobody holds it")
				}
				if k == onefault.Late {
					if err := fresh(t).Barrier(name, concurrency.BarrierConfig{}).Release(ctx); err != nil {
						t.Fatal(err)
					}
					if persistent {
						if err := co.Close(ctx); err != nil {
							t.Fatal(err)
						}
					}
					f.Deliver(t)
					if exists(t, plain, name) {
						t.Error("the late copy has brought it back")
					}
					return
				}
				f.Arm(k, name+"\x12") // the Txn: behind the key in its compare comes another field
				if err := b.Release(ctx); err != nil {
					t.Fatal(err)
				}
				if exists(t, plain, name) {
					t.Error("it is still held")
				}
			})
		}
	}
}

// A Hold that is given up while its outcome is unknown leaves nothing behind.
func TestBarrierGivenUp(t *testing.T) {
	t.Parallel()
	for _, persistent := range []bool{false, true} {
		c, f := testbed.Faulty(t, etcd.Config{})
		co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
		must[*concurrency.Session](t)(co.Session(testbed.Within(t, 20*time.Second)))
		hit := f.Arm(onefault.Stall, name)
		ctx, cancel := context.WithCancel(testbed.Within(t, 20*time.Second))
		holding := testbed.Async(func() (int, error) {
			return 0, co.Barrier(name, concurrency.BarrierConfig{Persistent: persistent}).Hold(ctx)
		})
		<-hit
		cancel()
		if _, err := testbed.Await(t, holding); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		f.Sever()
		f.Deliver(t)
		testbed.Eventually(t, "the release", func() bool { return co.Stats().Releasing == 0 })
		if exists(t, plain, name) {
			t.Errorf("persistent %v: it is held", persistent)
		}
	}
}

// Rounds of n begin together and end together, one after the other, however many take part.
// Participants enter until there were enough rounds: a fixed number of each could leave fewer
// than n for the last one.
func TestDoubleBarrier(t *testing.T) {
	t.Parallel()
	const n, participants, rounds = 3, 6, 10
	name := testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	entering, enough := context.WithCancel(ctx)
	defer enough()
	var all sync.WaitGroup
	var entered atomic.Int32
	for range participants {
		b := fresh(t).DoubleBarrier(name, n)
		all.Go(func() {
			for {
				r, err := b.Enter(entering)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				if entered.Add(1) >= n*rounds {
					enough()
				}
				if err := r.Context().Err(); err != nil {
					t.Errorf("the context inside: %v", err)
				}
				if err := r.Leave(ctx); err != nil {
					t.Error(err)
				}
				if err := r.Leave(ctx); !errors.Is(err, concurrency.ErrNotHeld) {
					t.Errorf("Leave again: %v", err)
				}
			}
		})
	}
	all.Wait()
	noKeys(t, testbed.Connect(t, etcd.Config{}), name)
}

// entered are the participants of a double barrier, each with its own coordinator, after
// all of them have entered.
func entered(t testing.TB, name string, n int) (cos []*concurrency.Coordinator, rounds []*concurrency.Round) {
	t.Helper()
	var entering []<-chan testbed.Result[*concurrency.Round]
	for range n {
		co := fresh(t)
		cos = append(cos, co)
		entering = append(entering, testbed.Async(func() (*concurrency.Round, error) {
			return co.DoubleBarrier(name, n).Enter(testbed.Within(t, 20*time.Second))
		}))
	}
	for _, e := range entering {
		r, err := testbed.Await(t, e)
		if err != nil {
			t.Fatal(err)
		}
		rounds = append(rounds, r)
	}
	return cos, rounds
}

// Rounds are separate: a participant that enters during a round waits for another n, and
// one that leaves waits only for its own round. One that dies counts as leaving.
func TestDoubleBarrierRounds(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 30*time.Second)
	cos, rounds := entered(t, name, 2)
	leaving := testbed.Async(func() (int, error) { return 0, rounds[0].Leave(ctx) })
	waiters(t, c, name, 1)
	third := testbed.Async(func() (*concurrency.Round, error) { return fresh(t).DoubleBarrier(name, 2).Enter(ctx) })
	waiters(t, c, name, 2)
	select {
	case <-third:
		t.Fatal("one has passed alone")
	case <-leaving:
		t.Fatal("one has left alone")
	case <-time.After(300 * time.Millisecond): // longer than closeAfter
	}
	fourth, err := fresh(t).DoubleBarrier(name, 2).Enter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := testbed.Await(t, third)
	if err != nil {
		t.Fatal(err)
	}
	// The second of the first round dies.
	if err := cos[1].Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Await(t, leaving); err != nil {
		t.Errorf("Leave: %v", err)
	}
	// The key of one is deleted by hand.
	for _, kv := range keys(t, c, name)[:1] {
		if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: kv.Key}); err != nil {
			t.Fatal(err)
		}
	}
	leaving = testbed.Async(func() (int, error) { return 0, r.Leave(ctx) })
	if err := fourth.Leave(ctx); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if _, err := testbed.Await(t, leaving); err != nil {
		t.Errorf("Leave: %v", err)
	}
	noKeys(t, c, name)
}

// A participant that has lost its session while its key is still there queues again, and is not
// in a round twice.
func TestDoubleBarrierSessionLost(t *testing.T) {
	t.Parallel()
	c, name, co := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t), fresh(t)
	one := testbed.Async(func() (*concurrency.Round, error) {
		return co.DoubleBarrier(name, 2).Enter(testbed.Within(t, 30*time.Second))
	})
	waiters(t, c, name, 1)
	first := keys(t, c, name)[0]
	must[*concurrency.Session](t)(co.Session(t.Context())).Abandon()
	testbed.Eventually(t, "another key in place of the first", func() bool {
		kvs := keys(t, c, name)
		return len(kvs) == 1 && kvs[0].Key != first.Key && len(kvs[0].Value) == 0
	})
	other := must[*concurrency.Round](t)(fresh(t).DoubleBarrier(name, 2).Enter(testbed.Within(t, 30*time.Second)))
	r := must[*concurrency.Round](t)(testbed.Await(t, one))
	leaving := testbed.Async(func() (int, error) { return 0, r.Leave(testbed.Within(t, 30*time.Second)) })
	if err := other.Leave(testbed.Within(t, 30*time.Second)); err != nil {
		t.Error(err)
	}
	if _, err := testbed.Await(t, leaving); err != nil {
		t.Error(err)
	}
}

// A participant that gives up or whose key is deleted does not hinder the others.
func TestDoubleBarrierGivesUp(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx, cancel := context.WithCancel(testbed.Within(t, 30*time.Second))
	one := testbed.Async(func() (*concurrency.Round, error) { return fresh(t).DoubleBarrier(name, 2).Enter(ctx) })
	waiters(t, c, name, 1)
	cancel()
	if _, err := testbed.Await(t, one); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	noKeys(t, c, name)
	co := fresh(t)
	two := testbed.Async(func() (*concurrency.Round, error) {
		return co.DoubleBarrier(name, 2).Enter(testbed.Within(t, 30*time.Second))
	})
	waiters(t, c, name, 1)
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: keys(t, c, name)[0].Key}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "another place", func() bool { return co.Stats().Requeued == 1 && len(keys(t, c, name)) == 1 })
	other, err := fresh(t).DoubleBarrier(name, 2).Enter(testbed.Within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	r, err := testbed.Await(t, two)
	if err != nil {
		t.Fatal(err)
	}
	leaving := testbed.Async(func() (int, error) { return 0, r.Leave(testbed.Within(t, 30*time.Second)) })
	if err := other.Leave(testbed.Within(t, 30*time.Second)); err != nil {
		t.Error(err)
	}
	if _, err := testbed.Await(t, leaving); err != nil {
		t.Error(err)
	}
	for _, n := range []int{-1, 0, 129} {
		if _, err := co.DoubleBarrier(name, n).Enter(t.Context()); !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("%d participants: %v", n, err)
		}
	}
}

// Whatever becomes of the request that closes a round, there is one round, and a late copy
// makes no other.
func TestDoubleBarrierFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			co, plain, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			ctx := testbed.Within(t, 20*time.Second)
			must[*concurrency.Session](t)(co.Session(ctx))
			one := testbed.Async(func() (*concurrency.Round, error) { return fresh(t).DoubleBarrier(name, 2).Enter(ctx) })
			waiters(t, plain, name, 1)
			first := keys(t, plain, name)[0]
			hit := f.Arm(k, first.Key)
			two, err := co.DoubleBarrier(name, 2).Enter(ctx)
			if err != nil {
				t.Fatal(err)
			}
			<-hit
			r, err := testbed.Await(t, one)
			if err != nil {
				t.Fatal(err)
			}
			before := keys(t, plain, name)
			if k == onefault.Late {
				f.Deliver(t)
			}
			for i, kv := range keys(t, plain, name) {
				if kv.Version != 2 || kv.Lease == 0 || kv.ModRevision != before[i].ModRevision {
					t.Errorf("%+v", kv)
				}
			}
			leaving := testbed.Async(func() (int, error) { return 0, r.Leave(ctx) })
			if err := two.Leave(ctx); err != nil {
				t.Error(err)
			}
			if _, err := testbed.Await(t, leaving); err != nil {
				t.Error(err)
			}
			noKeys(t, plain, name)
		})
	}
}

// A round of as many as etcd takes in a Txn.
func TestDoubleBarrierLargest(t *testing.T) {
	t.Parallel()
	const n = 128
	name := testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	b := fresh(t).DoubleBarrier(name, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			r, err := b.Enter(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			if err := r.Leave(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
