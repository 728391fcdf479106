package group

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/group"
)

// Whenever Join and Leave are given up, no key stays, and no partition has two owners meanwhile.
func TestGivenUpAnytime(t *testing.T) {
	t.Parallel()
	plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	const partitions = 4
	var owners [partitions]atomic.Int32
	own := func(ctx context.Context, p *group.Partition) error {
		if n := owners[p.Index].Add(1); n != 1 {
			t.Errorf("partition %d has %d owners", p.Index, n)
		}
		<-ctx.Done()
		owners[p.Index].Add(-1)
		return nil
	}
	var members sync.WaitGroup
	for _, member := range []string{"a", "b", "b", "c"} {
		co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{})
		members.Go(func() {
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Millisecond))
				g, err := group.Join(ctx, co, group.Config{Name: name, Member: member, Partitions: partitions, Settle: -1}, own)
				cancel()
				if err != nil {
					continue
				}
				select {
				case <-g.Done():
					t.Error(g.Err())
				case <-time.After(rand.N(10 * time.Millisecond)):
				}
				ctx, cancel = context.WithTimeout(t.Context(), rand.N(5*time.Millisecond))
				_ = g.Leave(ctx)
				cancel()
				if rand.N(2) == 0 {
					_ = g.Leave(t.Context())
				} else {
					defer g.Leave(t.Context())
				}
			}
		})
	}
	members.Wait()
	testbed.Eventually(t, "the keys to go", func() bool {
		resp, err := plain.Get(t.Context(), etcd.GetRequest{Key: name, Prefix: true, CountOnly: true})
		return err == nil && resp.Count == 0
	})
	for i := range owners {
		if n := owners[i].Load(); n != 0 {
			t.Errorf("partition %d has %d owners at the end", i, n)
		}
	}
}
