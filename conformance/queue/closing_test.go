package queue

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
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/queue"
)

// Regression: an item stayed taken for this process when its Take was given up with the
// outcome unknown, nothing had been applied, and the session ended before that was known: no
// change of the item's keys told.
func TestTakeGivenUpAndSessionLost(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	c, f := testbed.Faulty(t, etcd.Config{})
	co := testbed.Coordinate(t, c, concurrency.Config{})
	q := open(t, co, queue.Config{Name: name})
	add(t, q, named("warm up", "x")...)
	ack(t, take(t, q))
	s, err := co.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hit := f.Arm(onefault.Stall, name+"/c/")
	ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
	waiting := testbed.Async(func() (*queue.Claim, error) { return q.Take(ctx) })
	<-hit
	s.Abandon()
	cancel()
	if _, err := testbed.Await(t, waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	f.Sever()
	cl := take(t, q)
	if cl.Attempt != 1 {
		t.Errorf("attempt %d", cl.Attempt)
	}
	before := keys(t, c, name)
	f.Deliver(t) // refused, since the state has moved
	if after := keys(t, c, name); len(after) != len(before) {
		t.Errorf("keys %v, before %v", after, before)
	}
	ack(t, cl)
}

// Regression: a claim whose Ack was refused while Close gave the others back stayed held, in
// etcd, too, for as long as the coordinator lived.
func TestCloseWhileAckIsRefused(t *testing.T) {
	t.Parallel()
	var refused func()
	c := testbed.Connect(t, etcd.Config{Hooks: etcd.Hooks{
		Call: func(ctx context.Context, _ etcd.CallInfo) (context.Context, func(etcd.CallResult)) {
			return ctx, func(r etcd.CallResult) {
				if r.Err != nil && errors.Is(r.Err, etcd.ErrTooManyOps) {
					refused()
				}
			}
		},
	}})
	name := testbed.OwnName(t)
	q, err := queue.New(testbed.Coordinate(t, c, concurrency.Config{}), queue.Config{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	add(t, q, named("a", "b", "c", "d", "e", "f", "g", "h")...)
	cl := take(t, q)
	var others []*queue.Claim
	for range 7 {
		others = append(others, take(t, q))
	}
	var closed <-chan testbed.Result[int]
	refused = func() { // the answer is here, and Ack has not taken it
		closed = testbed.Async(func() (int, error) { return 0, q.Close(testbed.Within(t, testbed.Patience)) })
		for _, other := range others {
			_ = lost(t, other)
		}
	}
	var ops []etcd.Op
	for range 200 {
		ops = append(ops, put(name+"-done", "1"))
	}
	if err := cl.Ack(t.Context(), ops...); !errors.Is(err, etcd.ErrTooManyOps) {
		t.Errorf("Ack: %v", err)
	}
	if _, err := testbed.Await(t, closed); err != nil {
		t.Errorf("Close: %v", err)
	}
	if cause := context.Cause(cl.Context()); !errors.Is(cause, queue.ErrClosed) {
		t.Errorf("the claim's context: %v", cause)
	}
	if n := kindsOf(keys(t, c, name)); n["c"] != 0 || n["i"] != 8 {
		t.Errorf("keys %v", n)
	}
}

// Regression: when Close gave up waiting for an Add that made the queue's Writer, the lane of
// that stayed in etcd for as long as the coordinator lived.
func TestCloseWhileWriterIsMade(t *testing.T) {
	t.Parallel()
	c, f := testbed.Faulty(t, etcd.Config{})
	name := testbed.OwnName(t)
	q, err := queue.New(testbed.Coordinate(t, c, concurrency.Config{}), queue.Config{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	hit := f.Arm(onefault.Stall, name+"/l/")
	adding := testbed.Async(func() (int, error) {
		return 0, q.Add(testbed.Within(t, testbed.Patience), queue.Item{ID: "x"})
	})
	<-hit
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	f.Sever()
	if _, err := testbed.Await(t, adding); !errors.Is(err, queue.ErrClosed) || etcd.MaybeApplied(err) {
		t.Errorf("Add: %v", err)
	}
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name + "/", Prefix: true})
	if err != nil || len(resp.KVs) > 0 {
		t.Errorf("left: %v, %v", resp.KVs, err)
	}
}

// Whenever calls are given up, an item is applied once and nothing stays. Sessions and
// connections end meanwhile, and queues are closed.
func TestGivenUpAnytime(t *testing.T) {
	t.Parallel()
	plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	var working sync.WaitGroup
	const items = 50
	adder := process(t, queue.Config{Name: name})
	for i := range items {
		add(t, adder, queue.Item{ID: fmt.Sprint(i)})
	}
	over, end := context.WithCancel(t.Context())
	for _, life := range []time.Duration{100 * time.Millisecond, testbed.Patience} {
		p := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
		c := testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}, RetrySleep: time.Millisecond, Timeout: 300 * time.Millisecond})
		co := testbed.Coordinate(t, c, concurrency.Config{})
		working.Go(func() {
			for over.Err() == nil {
				p.Reset()
				select {
				case <-time.After(rand.N(30 * time.Millisecond)):
				case <-over.Done():
				}
			}
		})
		working.Go(func() {
			for over.Err() == nil {
				if s, err := co.Session(over); err == nil {
					_, _ = c.Revoke(over, etcd.RevokeRequest{ID: s.Lease().ID})
				}
				select {
				case <-time.After(rand.N(50 * time.Millisecond)):
				case <-over.Done():
				}
			}
		})
		working.Go(func() {
			for over.Err() == nil {
				q, err := queue.New(co, queue.Config{Name: name})
				if err != nil {
					t.Error(err)
					return
				}
				var takers sync.WaitGroup
				ending, cancel := context.WithTimeout(over, rand.N(life))
				for range 4 {
					takers.Go(func() { workImpatiently(ending, t, q, name) })
				}
				<-ending.Done()
				cancel()
				_ = q.Close(testbed.Within(t, testbed.Patience)) // its lanes may be cut off
				if rand.N(2) == 0 {
					takers.Wait()
				} else {
					defer takers.Wait()
				}
			}
		})
	}
	testbed.Eventually(t, "the items to be done", func() bool { return kindsOf(keys(t, plain, name))["v"] == 0 })
	end()
	working.Wait()
	noKeys(t, plain, name)
	resp, err := plain.Get(t.Context(), etcd.GetRequest{Key: name + "-done/", Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.KVs {
		if kv.Version != 1 {
			t.Errorf("%s was done %d times", kv.Key, kv.Version)
		}
	}
	if len(resp.KVs) != items {
		t.Errorf("%d items were done, of %d", len(resp.KVs), items)
	}
}

// workImpatiently takes items and settles them, with contexts that end at any time.
func workImpatiently(ending context.Context, t *testing.T, q *queue.Queue, name string) {
	for ending.Err() == nil {
		ctx, cancel := testbed.Impatient(t, 15*time.Millisecond)
		cl, err := q.Take(ctx)
		cancel()
		if err != nil {
			continue
		}
		ctx, cancel = testbed.Impatient(t, 15*time.Millisecond)
		switch rand.N(5) {
		case 0:
			_ = cl.Nack(ctx, 0)
		case 1:
			_ = cl.Nack(ctx, time.Millisecond)
		default:
			_ = cl.Ack(ctx, etcd.PutRequest{Key: name + "-done/" + cl.Item.ID})
		}
		cancel()
	}
}
