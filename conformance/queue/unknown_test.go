package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

// unreliable is a queue whose requests can get faults. It has a session and a view.
func unreliable(t testing.TB, config queue.Config) (*queue.Queue, *onefault.Faults) {
	t.Helper()
	c, f := testbed.Faulty(t, etcd.Config{})
	q := open(t, testbed.Coordinate(t, c, concurrency.Config{Name: config.Name + "-session"}), config)
	add(t, q, named("warm up")...)
	ack(t, take(t, q))
	return q, f
}

// eachFault runs a test with each fault.
func eachFault(t *testing.T, test func(t *testing.T, k onefault.Kind)) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// Whatever becomes of the request that adds, the item is there once, and does not come back
// when a late copy arrives after it was acknowledged.
func TestAddFaults(t *testing.T) {
	eachFault(t, func(t *testing.T, k onefault.Kind) {
		name := testbed.OwnName(t)
		q, f := unreliable(t, queue.Config{Name: name})
		plain := testbed.Connect(t, etcd.Config{})
		hit := f.Arm(k, name+"/v/")
		add(t, q, named("x")...)
		<-hit
		if n := kindsOf(keys(t, plain, name)); n["v"] != 1 || n["i"] != 1 || len(n) != 2 {
			t.Errorf("keys %v", keys(t, plain, name))
		}
		ack(t, take(t, q))
		if k == onefault.Late {
			f.Deliver(t)
		}
		if left := keys(t, plain, name); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// Whatever becomes of the request that claims, Take has the item, nobody else does, and a late
// copy does not claim it again.
func TestTakeFaults(t *testing.T) {
	eachFault(t, func(t *testing.T, k onefault.Kind) {
		name := testbed.OwnName(t)
		q, f := unreliable(t, queue.Config{Name: name})
		plain := testbed.Connect(t, etcd.Config{})
		add(t, q, named("x")...)
		hit := f.Arm(k, name+"/c/")
		cl := take(t, q)
		<-hit
		if cl.Attempt != 1 || string(cl.Item.Value) != "value of x" {
			t.Errorf("taken: %+v", cl)
		}
		guarded, err := plain.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{cl.Guard()}})
		if err != nil || !guarded.Succeeded {
			t.Errorf("the guard: %v, %v", guarded, err)
		}
		if n := kindsOf(keys(t, plain, name)); n["v"] != 1 || n["i"] != 1 || n["c"] != 1 {
			t.Errorf("keys %v", keys(t, plain, name))
		}
		nack(t, cl, 0)
		before := keys(t, plain, name)
		if k == onefault.Late {
			f.Deliver(t)
		}
		if after := keys(t, plain, name); !slices.Equal(before, after) {
			t.Errorf("keys %v, before %v", after, before)
		}
		cl = take(t, q)
		if cl.Attempt != 2 {
			t.Errorf("attempt %d", cl.Attempt)
		}
		ack(t, cl)
	})
}

// A Take whose context ends while the outcome of its request is unknown returns at once. The
// item is free soon, also when the request is applied later, and the attempt does not count.
func TestTakeGivenUp(t *testing.T) {
	t.Parallel()
	for what, applied := range map[string]bool{"applied before": true, "applied after": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := testbed.OwnName(t)
			q, f := unreliable(t, queue.Config{Name: name})
			other, plain := process(t, queue.Config{Name: name}), testbed.Connect(t, etcd.Config{})
			add(t, q, named("x")...)
			hit := f.Arm(onefault.Stall, name+"/c/")
			ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
			waiting := testbed.Async(func() (*queue.Claim, error) { return q.Take(ctx) })
			<-hit
			cancel()
			if _, err := testbed.Await(t, waiting); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
			f.Sever()
			if applied {
				f.Deliver(t)
			}
			testbed.Eventually(t, "the item to be free", func() bool {
				n := kindsOf(keys(t, plain, name))
				return n["c"] == 0 && n["i"] == 1
			})
			cl := take(t, other)
			if cl.Attempt != 1 {
				t.Errorf("attempt %d", cl.Attempt)
			}
			ack(t, cl)
			if !applied {
				f.Deliver(t)
			}
			if left := keys(t, plain, name); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Whatever becomes of the request that acknowledges, Ack says nil, its operations are applied
// once, and a late copy does not touch the next item with the ID.
func TestAckFaults(t *testing.T) {
	eachFault(t, func(t *testing.T, k onefault.Kind) {
		name := testbed.OwnName(t)
		q, f := unreliable(t, queue.Config{Name: name})
		plain := testbed.Connect(t, etcd.Config{})
		add(t, q, named("x")...)
		cl := take(t, q)
		hit := f.Arm(k, name+"/v/")
		ack(t, cl, put(name+"-done", "1"))
		<-hit
		if left := keys(t, plain, name); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		add(t, q, named("x")...)
		cl = take(t, q)
		if k == onefault.Late {
			f.Deliver(t)
		}
		resp, err := plain.Get(t.Context(), etcd.GetRequest{Key: name + "-done"})
		if err != nil {
			t.Fatal(err)
		}
		if kv, _ := resp.First(); kv.Version != 1 {
			t.Errorf("the operation was applied %d times", kv.Version)
		}
		ack(t, cl)
	})
}

// An Ack whose context ends while its outcome is unknown says so. The item is acknowledged,
// with its operations, or free again, without them.
func TestAckGivenUp(t *testing.T) {
	t.Parallel()
	for what, applied := range map[string]bool{"applied": true, "not applied": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := testbed.OwnName(t)
			q, f := unreliable(t, queue.Config{Name: name})
			other, plain := process(t, queue.Config{Name: name}), testbed.Connect(t, etcd.Config{})
			add(t, q, named("x")...)
			cl := take(t, q)
			hit := f.Arm(onefault.Stall, name+"/v/")
			ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
			acking := testbed.Async(func() (int, error) { return 0, cl.Ack(ctx, put(name+"-done", "1")) })
			<-hit
			if applied {
				f.Deliver(t)
			}
			cancel()
			if _, err := testbed.Await(t, acking); !errors.Is(err, context.Canceled) || !etcd.MaybeApplied(err) {
				t.Errorf("given up: %v", err)
			}
			if err := cl.Ack(t.Context()); !errors.Is(err, queue.ErrSettled) {
				t.Errorf("the second Ack: %v", err)
			}
			if applied {
				noKeys(t, plain, name)
				if got := stored(t, plain, name+"-done"); got != "1" {
					t.Errorf("acknowledged without the operation: %q", got)
				}
				return
			}
			f.Sever()
			again := take(t, other)
			f.Deliver(t)
			if got := stored(t, plain, name+"-done"); got != "" {
				t.Errorf("the operation was applied to a claim that was given back: %q", got)
			}
			if again.Attempt != 2 {
				t.Errorf("attempt %d", again.Attempt)
			}
			ack(t, again)
		})
	}
}

// Whatever becomes of the request that gives back, the item is free once, and a late copy does
// not take it from the next worker.
func TestNackFaults(t *testing.T) {
	eachFault(t, func(t *testing.T, k onefault.Kind) {
		name := testbed.OwnName(t)
		q, f := unreliable(t, queue.Config{Name: name})
		plain := testbed.Connect(t, etcd.Config{})
		add(t, q, named("x")...)
		cl := take(t, q)
		hit := f.Arm(k, name+"/c/")
		nack(t, cl, time.Millisecond)
		<-hit
		cl = take(t, q)
		if cl.Attempt != 2 {
			t.Errorf("attempt %d", cl.Attempt)
		}
		before := keys(t, plain, name)
		if k == onefault.Late {
			f.Deliver(t)
		}
		if after := keys(t, plain, name); !slices.Equal(before, after) {
			t.Errorf("keys %v, before %v", after, before)
		}
		ack(t, cl)
		noKeys(t, plain, name)
	})
}

// A Nack whose context ends while its outcome is unknown says so, and the item is free.
func TestNackGivenUp(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	q, f := unreliable(t, queue.Config{Name: name})
	add(t, q, named("x")...)
	cl := take(t, q)
	hit := f.Arm(onefault.Stall, name+"/c/")
	ctx, cancel := context.WithCancel(testbed.Within(t, testbed.Patience))
	nacking := testbed.Async(func() (int, error) { return 0, cl.Nack(ctx, time.Hour) })
	<-hit
	cancel()
	if _, err := testbed.Await(t, nacking); !errors.Is(err, context.Canceled) || !etcd.MaybeApplied(err) {
		t.Errorf("given up: %v", err)
	}
	f.Sever()
	cl = take(t, q)
	f.Deliver(t)
	ack(t, cl)
}

// Whatever becomes of the requests that make a dead letter and take it back, the item is in
// one place.
func TestDeadFaults(t *testing.T) {
	eachFault(t, func(t *testing.T, k onefault.Kind) {
		name := testbed.OwnName(t)
		q, f := unreliable(t, queue.Config{Name: name, MaxAttempts: 1})
		plain := testbed.Connect(t, etcd.Config{})
		add(t, q, named("x")...)
		cl := take(t, q)
		hit := f.Arm(k, name+"/x/")
		nack(t, cl, 0)
		<-hit
		if k == onefault.Late {
			f.Deliver(t)
		}
		hit = f.Arm(k, name+"/i/")
		if err := q.Revive(testbed.Within(t, testbed.Patience), "x"); err != nil {
			t.Errorf("Revive: %v", err)
		}
		<-hit
		ack(t, take(t, q))
		if k == onefault.Late {
			f.Deliver(t)
		}
		if left := keys(t, plain, name); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// The context of a claim ends with the session also while Ack or Nack waits for an answer, and
// ends the wait. What became of the item is not known, so errors.Is finds no loss that has
// applied nothing.
func TestSettlingWhileTheSessionEnds(t *testing.T) {
	t.Parallel()
	for method, settle := range map[string]func(cl *queue.Claim, key string) error{
		"Ack":  func(cl *queue.Claim, key string) error { return cl.Ack(cl.Context(), put(key, "1")) },
		"Nack": func(cl *queue.Claim, _ string) error { return cl.Nack(cl.Context(), 0) },
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.Faulty(t, etcd.Config{})
			name := testbed.OwnName(t)
			co := testbed.Coordinate(t, c, concurrency.Config{})
			q := open(t, co, queue.Config{Name: name})
			add(t, q, named("warm up", "x")...)
			ack(t, take(t, q))
			cl := take(t, q)
			hit := f.Arm(onefault.Stall, cl.Key())
			settling := testbed.Async(func() (int, error) { return 0, settle(cl, name+"-done") })
			<-hit
			s, err := co.Session(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Abandon()
			if cause := lost(t, cl); !errors.Is(cause, queue.ErrClaimLost) || !errors.Is(cause, concurrency.ErrSessionLost) {
				t.Errorf("the context: %v", cause)
			}
			_, err = testbed.Await(t, settling)
			if !etcd.MaybeApplied(err) || errors.Is(err, queue.ErrClaimLost) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", method, err)
			}
			if text := err.Error(); strings.Count(text, queue.ErrClaimLost.Error()) != 1 || strings.Contains(text, "\n") {
				t.Errorf("%s: %q", method, text)
			}
			if err := cl.Ack(t.Context()); !errors.Is(err, queue.ErrSettled) {
				t.Errorf("after that: %v", err)
			}
		})
	}
}
