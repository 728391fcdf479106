package group

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/group"
)

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.Config{Server: testbed.Quick, Watched: []string{"silly.store/etcd/concurrency.", "silly.store/etcd/group."}, Children: children})
}

// coordinate makes a coordinator that is closed with the test, if it can be.
func coordinate(t testing.TB, c *etcd.Client) *concurrency.Coordinator {
	t.Helper()
	return testbed.Coordinate(t, c, concurrency.Config{TTL: 2 * time.Second})
}

// owners watches over who owns which partition.
type owners struct {
	mu     sync.Mutex // guards the fields below
	of     map[int]string
	tokens map[int]int64
	faults []string
	moves  int
}

func newOwners() *owners { return &owners{of: make(map[int]string), tokens: make(map[int]int64)} }

// own is a group's function: it notes what it has until its context ends.
func (o *owners) own(member string) func(context.Context, *group.Partition) error {
	return func(ctx context.Context, p *group.Partition) error {
		o.mu.Lock()
		if other, taken := o.of[p.Index]; taken {
			o.faults = append(o.faults, fmt.Sprintf("%s has partition %d, which is %s's", member, p.Index, other))
		}
		if p.Token() < o.tokens[p.Index] {
			o.faults = append(o.faults, fmt.Sprintf("the token of partition %d goes back", p.Index))
		}
		o.of[p.Index], o.tokens[p.Index] = member, p.Token()
		o.moves++
		o.mu.Unlock()
		<-ctx.Done()
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.of, p.Index)
		return nil
	}
}

// counts is how many partitions each member has.
func (o *owners) counts() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := make(map[string]int)
	for _, member := range o.of {
		n[member]++
	}
	return n
}

func (o *owners) check(t testing.TB) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, fault := range o.faults {
		t.Error(fault)
	}
}

// shares waits until the members have so many partitions.
func (o *owners) shares(t testing.TB, want map[string]int) {
	t.Helper()
	testbed.Eventually(t, fmt.Sprint(want), func() bool {
		n := o.counts()
		if len(n) != len(want) {
			return false
		}
		for member, share := range want {
			if n[member] != share {
				return false
			}
		}
		return true
	})
}

// join makes a member on its own client. It leaves with the test.
func (o *owners) join(t testing.TB, config group.Config) *group.Group {
	t.Helper()
	return o.joinOn(t, coordinate(t, testbed.Connect(t, etcd.Config{})), config)
}

func (o *owners) joinOn(t testing.TB, co *concurrency.Coordinator, config group.Config) *group.Group {
	t.Helper()
	g, err := group.Join(testbed.Within(t, testbed.Patience), co, config, o.own(config.Member))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Leave(testbed.Ending(t)) })
	return g
}
