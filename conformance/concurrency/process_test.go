package concurrency

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

// children are what the test binary does as a child process.
var children = map[string]func(ctx context.Context, endpoints []string) error{"holder": holder}

// holder holds a lock, and tries to write under it on a signal of the test.
func holder(ctx context.Context, endpoints []string) error {
	co, end, err := testbed.ChildCoordinator(endpoints)
	if err != nil {
		return err
	}
	defer end()
	l, err := co.Mutex("process", concurrency.MutexConfig{}).Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Println("holds", l.Token())
	if err := testbed.Told(); err != nil {
		return err
	}
	_, err = l.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "process-written"}}})
	fmt.Println("Txn refused:", errors.Is(err, concurrency.ErrLockLost), etcd.MaybeApplied(err))
	fmt.Println("context over:", l.Context().Err() != nil)
	fmt.Println("Unlock:", errors.Is(l.Unlock(ctx), concurrency.ErrLockLost))
	return nil
}

// A process is stopped for longer than its lease lives. When it wakes up, its lock is
// another's: its write is refused, and it learns of the loss.
func TestProcessStopped(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	child := testbed.StartChild(t, "holder", s.Endpoints()...)
	if got := child.Line(t); !strings.HasPrefix(got, "holds ") {
		t.Fatalf("the child: %s", got)
	}
	child.Stop(t)
	l := must[*concurrency.Lock](t)(testbed.Coordinate(t, c, concurrency.Config{}).Mutex("process", concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	child.Go(t)
	child.Continue(t)
	child.Says(t, "Txn refused: true false", "context over: true", "Unlock: true")
	child.Wait(t)
	if exists(t, c, "process-written") {
		t.Error("the write of the one that was stopped")
	}
	unlock(t, l)
}
