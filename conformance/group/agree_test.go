package group

import (
	"context"
	"errors"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/group"
)

// A member with another number of partitions does not get in while others have theirs.
func TestPartitionsDiffer(t *testing.T) {
	t.Parallel()
	o, name := newOwners(), testbed.OwnName(t)
	config := group.Config{Name: name, Partitions: 8, Member: "a", Settle: settle}
	first := o.join(t, config)
	o.shares(t, map[string]int{"a": 8})
	if n := first.Stats(); n.Calls != 8 || n.Failed != 0 {
		t.Errorf("while 8 calls run: %+v", n)
	}
	c := testbed.Connect(t, etcd.Config{})
	co := coordinate(t, c)
	other := config
	other.Member, other.Partitions = "b", 5
	_, err := group.Join(testbed.Within(t, testbed.Patience), co, other, o.own("b"))
	if !errors.Is(err, group.ErrConfigMismatch) || !strings.Contains(err.Error(), `Config.Partitions is 5 here, and 8 at the member "a"`) {
		t.Fatalf("the second: %v", err)
	}
	if resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name + "/m/", Prefix: true, CountOnly: true}); err != nil || resp.Count != 1 {
		t.Errorf("%+v, %v; want the first member's key alone", resp, err)
	}
	if err := first.Err(); err != nil {
		t.Errorf("the first has ended: %v", err)
	}
	if err := first.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	o.joinOn(t, co, other)
	o.shares(t, map[string]int{"b": 5})
	o.check(t)
}

// A member of an earlier version does not say how many partitions there are; it hinders nobody.
func TestPartitionsUnsaid(t *testing.T) {
	t.Parallel()
	o, name := newOwners(), testbed.OwnName(t)
	c := testbed.Connect(t, etcd.Config{})
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/m/old/1", Value: []byte("3")}); err != nil {
		t.Fatal(err)
	}
	g := o.joinOn(t, coordinate(t, c), group.Config{Name: name, Partitions: 8, Member: "a", Settle: settle})
	o.shares(t, map[string]int{"a": 2})
	if members := g.Members(); len(members) != 2 || members[1] != (group.Member{Name: "old", Weight: 3}) {
		t.Errorf("members %v", members)
	}
}

// Who waits for a name with another number is refused when it gets the name, although its key
// is older than that of a member that has joined meanwhile.
func TestPartitionsDifferAfterWaiting(t *testing.T) {
	t.Parallel()
	o, name := newOwners(), testbed.OwnName(t)
	config := group.Config{Name: name, Partitions: 4, Member: "a", Settle: settle}
	first := o.join(t, config)
	c := testbed.Connect(t, etcd.Config{})
	co := coordinate(t, c)
	waited := make(chan error)
	go func() {
		other := config
		other.Partitions = 6
		_, err := group.Join(testbed.Within(t, testbed.Patience), co, other, func(context.Context, *group.Partition) error { return nil })
		waited <- err
	}()
	testbed.Eventually(t, "the second waits", func() bool {
		resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name + "/m/", Prefix: true, CountOnly: true})
		return err == nil && resp.Count == 2
	})
	config.Member = "b"
	third := o.join(t, config)
	if err := first.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	if err := <-waited; !errors.Is(err, group.ErrConfigMismatch) {
		t.Errorf("who waited: %v", err)
	}
	o.shares(t, map[string]int{"b": 4})
	if err := third.Err(); err != nil {
		t.Error(err)
	}
}
