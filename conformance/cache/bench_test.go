package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// fill puts n keys of 20 bytes with values of 100.
func fill(b *testing.B, c *etcd.Client, n int) {
	b.Helper()
	value := make([]byte, 100)
	var ops []etcd.Op
	for i := range n {
		ops = append(ops, etcd.PutRequest{Key: fmt.Sprintf("%sregistry/%08d", scope, i), Value: value})
		if len(ops) == 100 || i == n-1 {
			if _, err := c.Txn(b.Context(), etcd.TxnRequest{Then: ops}); err != nil {
				b.Fatal(err)
			}
			ops = nil
		}
	}
}

func BenchmarkPeek(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := etcdtest.StartProcess(b, etcdtest.Config{})
			c := testbed.Connect(b, etcd.Config{Endpoints: s.Endpoints()})
			fill(b, c, n)
			ca := caching(b, c)
			keys := make([]string, 1<<16)
			for i := range keys {
				keys[i] = fmt.Sprintf("%sregistry/%08d", scope, rand.IntN(n))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, presence := ca.Peek(keys[i%len(keys)]); presence != cache.Present {
					b.Fatal(presence)
				}
			}
		})
	}
}

// BenchmarkLinearizable is 256 callers, of the cache and of the client's Get, on a store that
// is quiet, or whose other keys change.
func BenchmarkLinearizable(b *testing.B) {
	for _, busy := range []bool{false, true} {
		for _, cached := range []bool{true, false} {
			b.Run(fmt.Sprint("busy=", busy, "/cached=", cached), func(b *testing.B) {
				s := etcdtest.StartProcess(b, etcdtest.Config{})
				c := testbed.Connect(b, etcd.Config{Endpoints: s.Endpoints()})
				fill(b, c, 1000)
				ca := caching(b, c)
				read := func(key string) error {
					_, err := ca.Get(b.Context(), key, cache.Linearizable)
					return err
				}
				if !cached {
					read = func(key string) error {
						_, err := c.Get(b.Context(), etcd.GetRequest{Key: key})
						return err
					}
				}
				writer := testbed.Connect(b, etcd.Config{Endpoints: s.Endpoints()})
				var over atomic.Bool
				var writing sync.WaitGroup
				if busy {
					writing.Go(func() {
						for !over.Load() {
							testbed.Put(b, writer, "out", "1")
						}
					})
				}
				b.ResetTimer()
				var next atomic.Int64
				var callers sync.WaitGroup
				for range 256 {
					callers.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if err := read(fmt.Sprintf("%sregistry/%08d", scope, i%1000)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				callers.Wait()
				b.StopTimer()
				over.Store(true)
				writing.Wait()
				st := ca.Stats()
				if cached {
					b.ReportMetric(float64(b.N)/float64(max(st.Flights, 1)), "calls/flight")
					b.ReportMetric(float64(st.Fallbacks), "fallbacks")
				}
			})
		}
	}
}
