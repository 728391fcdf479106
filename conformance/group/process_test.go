package group

import (
	"context"
	"fmt"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/group"
)

// children are what the test binary does as a child process.
var children = map[string]func(ctx context.Context, endpoints []string) error{"member": member}

// member joins a group. On a signal of the test it reports the result of a transaction.
func member(ctx context.Context, endpoints []string) error {
	co, end, err := testbed.ChildCoordinator(endpoints)
	if err != nil {
		return err
	}
	defer end()
	owned := make(chan *group.Partition, 100)
	_, err = group.Join(ctx, co, processGroup("child"), func(ctx context.Context, p *group.Partition) error {
		owned <- p
		<-ctx.Done()
		return nil
	})
	if err != nil {
		return err
	}
	p := <-owned
	fmt.Println("owns one")
	if err := testbed.Told(); err != nil {
		return err
	}
	_, err = p.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "process-written"}}})
	fmt.Println("refused:", err != nil && !etcd.MaybeApplied(err))
	return nil
}

func processGroup(member string) group.Config {
	return group.Config{Name: "process", Partitions: 8, Member: member, Settle: settle}
}

// The partitions of a stopped process move to others, and its writes are refused when it wakes
// up. The partitions of a killed process move too.
func TestProcessStoppedAndKilled(t *testing.T) {
	t.Parallel()
	o := newOwners()
	o.join(t, processGroup("here"))
	o.shares(t, map[string]int{"here": 8})
	child := testbed.StartChild(t, "member", testbed.Shared.Endpoints()...)
	child.Says(t, "owns one")
	o.shares(t, map[string]int{"here": 4})
	child.Stop(t)
	o.shares(t, map[string]int{"here": 8})
	child.Go(t)
	child.Continue(t)
	child.Says(t, "refused: true")
	child.Kill()
	o.shares(t, map[string]int{"here": 8})
	o.check(t)
}
