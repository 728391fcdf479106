package cowtree

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tree := fill(n)
			keys := make([]string, 1<<16)
			for i := range keys {
				keys[i] = fmt.Sprintf("registry/pods/%08d", rand.IntN(n))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if tree.Get(keys[i%len(keys)]) == nil {
					b.Fatal("missing")
				}
			}
		})
	}
}

// BenchmarkUpdate makes a new version of a tree for each batch of updates; the time is that
// of one update.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprint(n, "/batch=", batch), func(b *testing.B) {
				tree := fill(n)
				edit := tree.Edit()
				items := make([]*item, 1<<14)
				for i := range items {
					items[i] = &item{fmt.Sprintf("registry/pods/%08d", rand.IntN(n)), i}
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					edit.Set(items[i%len(items)])
					if i%batch == 0 {
						_ = edit.Tree()
					}
				}
			})
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	tree := fill(100_000)
	edit := tree.Edit()
	for range 10 {
		edit.Set(&item{fmt.Sprintf("registry/pods/%08d", rand.IntN(100_000)), -1})
	}
	newer := edit.Tree()
	b.ReportAllocs()
	for b.Loop() {
		for range newer.Diff(tree, "") {
		}
	}
}

// BenchmarkBytes reports what the tree takes of memory beside its items.
func BenchmarkBytes(b *testing.B) {
	for _, order := range []string{"ascending", "random"} {
		b.Run(order, func(b *testing.B) {
			const n = 200_000
			items := make([]*item, n)
			for i := range items {
				key := i
				if order == "random" {
					key = i * 7919 % n
				}
				items[i] = &item{fmt.Sprintf("registry/pods/%08d", key), i}
			}
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				edit := newItems().Edit()
				for _, it := range items {
					edit.Set(it)
				}
				tree := edit.Tree()
				runtime.GC()
				runtime.ReadMemStats(&after)
				runtime.KeepAlive(tree)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
		})
	}
}
