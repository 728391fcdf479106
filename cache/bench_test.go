package cache

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// filled is a cache of n keys of 20 bytes with values of 100.
func filled(b *testing.B, n int) (*written, []string) {
	b.Helper()
	w := newWritten(Config{})
	value := string(make([]byte, 100))
	keys := make([]string, n)
	bt := batch{}
	for i := range keys {
		keys[i] = fmt.Sprintf("registry/%011d", i)
		bt.first = 1
		ch := w.put(keys[i], value)
		w.b.set(ch.New)
	}
	w.revision++
	bt.last.Epoch, bt.last.Revision = 1, w.revision
	w.ca.publish(&bt)
	for i := range keys { // a reader's key is not that of the cache
		keys[i] = strings.Clone(keys[i])
	}
	rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return w, keys
}

func BenchmarkPeek(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, keys := filled(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, presence := w.ca.Peek(keys[i]); presence != Present {
					b.Fatal(presence)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkPeekBesideUpdates is 16 readers beside 10,000 updates a second.
func BenchmarkPeekBesideUpdates(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, keys := filled(b, n)
			var over atomic.Bool
			var writer sync.WaitGroup
			writer.Go(func() {
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for !over.Load() {
					<-tick.C
					for range 10 {
						w.commit(b, w.put(keys[rand.IntN(n)], "new"))
					}
				}
			})
			b.SetParallelism(max(16/runtime.GOMAXPROCS(0), 1))
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(n); pb.Next(); i++ {
					if _, presence := w.ca.Peek(keys[i%n]); presence != Present {
						b.Error(presence)
						return
					}
				}
			})
			b.StopTimer()
			over.Store(true)
			writer.Wait()
		})
	}
}

// BenchmarkUpdate is a publication of one change.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, keys := filled(b, n)
			b.ReportAllocs()
			for b.Loop() {
				w.commit(b, w.put(keys[rand.IntN(n)], "new"))
			}
		})
	}
}

// BenchmarkMemory is what a key takes beyond its own bytes.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		const n = 1_000_000
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w, _ := filled(b, n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n-120, "B/key")
		runtime.KeepAlive(w)
	}
}
