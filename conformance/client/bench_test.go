package client

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
)

// The hot paths with a real server, which is a separate process: allocations are the
// client's alone, and the time of a single caller is mostly the server's. "make
// bench-compare" compares two commits.

// benchValue is what a small value weighs.
var benchValue = make([]byte, 64)

// callers are how a benchmark of single keys makes its calls.
var callers = []struct {
	name     string
	count    int
	coalesce etcd.Coalesce
}{
	{"1", 1, etcd.CoalesceReads},
	{"64", 64, etcd.CoalesceAll},
	{"64-alone", 64, etcd.CoalesceOff},
}

func BenchmarkGet(b *testing.B) {
	benchCalls(b, func(c *etcd.Client, key string) error {
		_, err := c.Get(b.Context(), etcd.GetRequest{Key: key})
		return err
	})
}

func BenchmarkPut(b *testing.B) {
	benchCalls(b, func(c *etcd.Client, key string) error {
		_, err := c.Put(b.Context(), etcd.PutRequest{Key: key, Value: benchValue})
		return err
	})
}

// benchCalls makes calls of single keys, a key per caller, whose values exist.
func benchCalls(b *testing.B, call func(c *etcd.Client, key string) error) {
	for _, by := range callers {
		b.Run(by.name, func(b *testing.B) {
			c := connect(b, etcd.Config{Coalesce: by.coalesce})
			keys := benchKeys(b, c, by.count)
			b.ReportAllocs()
			b.ResetTimer()
			if by.count == 1 {
				for b.Loop() {
					if err := call(c, keys[0]); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			var next atomic.Int64
			b.SetParallelism(max(1, by.count/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				key := keys[int(next.Add(1)-1)%len(keys)]
				for pb.Next() {
					if err := call(c, key); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// benchKeys stores n keys.
func benchKeys(b *testing.B, c *etcd.Client, n int) []string {
	prefix := ownKeys(b)
	keys := make([]string, n)
	puts := make([]etcd.Op, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%06d", prefix, i)
		puts[i] = etcd.PutRequest{Key: keys[i], Value: benchValue}
	}
	if err := c.Batch(b.Context(), puts...).Err(); err != nil {
		b.Fatal(err)
	}
	return keys
}

// BenchmarkGetRange reads a thousand pairs in one answer.
func BenchmarkGetRange(b *testing.B) {
	c := connect(b, etcd.Config{})
	req := etcd.GetRequest{Key: benchKeys(b, c, 1000)[0], FromKey: true, Limit: 1000}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := c.Get(b.Context(), req); err != nil || len(got.KVs) != 1000 {
			b.Fatalf("%d pairs, %v", len(got.KVs), err)
		}
	}
}

// BenchmarkWatchHistory delivers the events of a thousand revisions to one watch, which
// is an operation.
func BenchmarkWatchHistory(b *testing.B) {
	const events = 1000
	c := connect(b, etcd.Config{})
	key := ownKeys(b)
	first := put(b, c, key, "")
	for range events - 1 {
		put(b, c, key, "")
	}
	b.ReportAllocs()
	for b.Loop() {
		w, err := c.Watch(b.Context(), etcd.WatchRequest{Key: key, Revision: first})
		if err != nil {
			b.Fatal(err)
		}
		for got := 0; got < events; got += readEvents(b, w) {
		}
		_ = w.Close()
	}
}

// BenchmarkWatchers delivers each event to a thousand watches of one key. An operation
// is a put with its thousand deliveries.
func BenchmarkWatchers(b *testing.B) {
	const watches = 1000
	c := connect(b, etcd.Config{})
	key := ownKeys(b)
	all := make([]*etcd.Watcher, watches)
	for i := range all {
		w, err := c.Watch(b.Context(), etcd.WatchRequest{Key: key})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		all[i] = w
	}
	b.ReportAllocs()
	for b.Loop() {
		put(b, c, key, "")
		for _, w := range all {
			readEvents(b, w)
		}
	}
}

func readEvents(b *testing.B, w *etcd.Watcher) int {
	resp, err := w.Read(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return len(resp.Events)
}
