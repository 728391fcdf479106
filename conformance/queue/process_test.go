package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/queue"
)

// children are what the test binary does as a child process.
var children = map[string]func(ctx context.Context, endpoints []string) error{"worker": work}

// work takes an item, and acknowledges it on a signal of the test.
func work(ctx context.Context, endpoints []string) error {
	co, end, err := testbed.ChildCoordinator(endpoints)
	if err != nil {
		return err
	}
	defer end()
	q, err := queue.New(co, queue.Config{Name: "process"})
	if err != nil {
		return err
	}
	cl, err := q.Take(ctx)
	if err != nil {
		return err
	}
	fmt.Println("has", cl.Item.ID)
	if err := testbed.Told(); err != nil {
		return err
	}
	err = cl.Ack(ctx, put("process-written", "by the child"))
	fmt.Println("Ack refused:", errors.Is(err, queue.ErrClaimLost), etcd.MaybeApplied(err))
	fmt.Println("context over:", cl.Context().Err() != nil)
	return nil
}

// worker starts a child, and returns when it has an item.
func worker(t *testing.T, s *etcdtest.Server) *testbed.Child {
	t.Helper()
	child := testbed.StartChild(t, "worker", s.Endpoints()...)
	child.Says(t, "has x")
	return child
}

// The item of a worker that is killed is taken by another one when the lease has expired. One
// that is stopped for longer than that has lost it when it wakes up, and applies nothing.
func TestWorkerKilledOrStopped(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	q := open(t, testbed.Coordinate(t, c, concurrency.Config{}), queue.Config{Name: "process"})
	add(t, q, named("x")...)
	worker(t, s).Kill()
	stopped := worker(t, s)
	stopped.Stop(t)
	cl := take(t, q)
	if cl.Attempt != 3 {
		t.Errorf("attempt %d, want the third", cl.Attempt)
	}
	stopped.Go(t)
	stopped.Continue(t)
	stopped.Says(t, "Ack refused: true false", "context over: true")
	stopped.Wait(t)
	if got := stored(t, c, "process-written"); got != "" {
		t.Errorf("written %s", got)
	}
	ack(t, cl)
	if left := keys(t, c, "process"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
