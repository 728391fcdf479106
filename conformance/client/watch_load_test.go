package client

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// A stopped reader holds up no other watch, costs bounded memory, and gets every
// event when it continues. Not parallel: it measures the process.
func TestWatchSlowReader(t *testing.T) {
	const (
		writes = 1500
		size   = 24 << 10
		buffer = 256 << 10
	)
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	watching := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	slow := watch(t, watching, etcd.WatchRequest{Key: "k", BufferBytes: buffer})
	fast := watch(t, watching, etcd.WatchRequest{Key: "k"})
	value := make([]byte, size)
	before := heap()
	var worst time.Duration
	for i := range writes {
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "k", Value: value}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if n := len(read(t, fast).Events); n != 1 {
			t.Fatalf("put %d: %d events", i, n)
		}
		worst = max(worst, time.Since(began))
	}
	// Its buffer, one stream's window, and two or three of the server's messages:
	// history comes in fragments of 2 MiB. The writes total 35 MiB.
	if grown := heap() - before; grown > 9<<20 {
		t.Errorf("the heap grew by %d KiB for a watch with a buffer of %d KiB", grown>>10, buffer>>10)
	}
	if worst > 2*time.Second {
		t.Errorf("the watch beside it waited %v for an event", worst)
	}
	t.Logf("the watch beside it waited %v for an event at most", worst)
	for version := int64(1); version <= writes; {
		for _, ev := range read(t, slow).Events {
			if ev.KV.Version != version {
				t.Fatalf("version %d, want %d", ev.KV.Version, version)
			}
			version++
		}
	}
}

// heap returns the bytes in use on the heap.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A thousand watches of one key each get each event.
func TestWatchFanOut(t *testing.T) {
	t.Parallel()
	const n, puts = 1000, 20
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	all := watchMany(t, c, n, func(int) string { return "k" })
	for i := range puts {
		put(t, c, "k", fmt.Sprint(i))
	}
	for _, w := range all {
		for i := 0; i < puts; {
			for _, ev := range read(t, w).Events {
				if string(ev.KV.Value) != fmt.Sprint(i) {
					t.Fatalf("event %s, want %d", ev.KV.Value, i)
				}
				i++
			}
		}
	}
}

// watchMany makes n watches, many at once.
func watchMany(t testing.TB, c *etcd.Client, n int, key func(i int) string) []*etcd.Watcher {
	t.Helper()
	all := make([]*etcd.Watcher, n)
	const callers = 200
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < n; i += callers {
				w, err := c.Watch(context.Background(), etcd.WatchRequest{Key: key(i)})
				if err != nil {
					t.Errorf("watch %d: %v", i, err)
					return
				}
				all[i] = w
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// ours returns how many goroutines run the client's code.
func ours() (n int) {
	buf := make([]byte, 16<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "silly.store/etcd.") || strings.Contains(stack, "silly.store/etcd/internal/") {
			n++
		}
	}
	return n
}

// Thousands of idle watches are cheap, ten thousand with -slow, and all of them resume after
// the connection is lost. Not parallel: it measures the process.
func TestThousandsOfWatches(t *testing.T) {
	n := 2000
	if *slow {
		n = 10_000
	}
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	d := newDialer()
	watching := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial})
	first := watch(t, watching, etcd.WatchRequest{Key: "first"})
	before, routines := heap(), ours()
	all := watchMany(t, watching, n, func(i int) string { return fmt.Sprintf("k/%05d", i) })
	each, extra := float64(heap()-before)/float64(n), ours()-routines
	t.Logf("%.0f bytes of heap a watch, %d goroutines for %d watches", each, extra, n)
	if each > 2048 {
		t.Errorf("an idle watch costs %.0f bytes, want 2048 at most", each)
	}
	if extra > n/25 {
		t.Errorf("%d goroutines for %d watches", extra, n)
	}
	began := time.Now()
	d.cutAll()
	for i := 0; i < n; i += 100 {
		var then []etcd.Op
		for j := range 100 {
			then = append(then, etcd.PutRequest{Key: fmt.Sprintf("k/%05d", i+j), Value: []byte("1")})
		}
		if _, err := c.Txn(t.Context(), etcd.TxnRequest{Then: then}); err != nil {
			t.Fatal(err)
		}
	}
	for i, w := range all {
		resp := read(t, w)
		if len(resp.Events) != 1 || resp.Events[0].KV.Key != fmt.Sprintf("k/%05d", i) {
			t.Fatalf("watch %d got %+v", i, resp)
		}
	}
	t.Logf("all have delivered %v after the cut", time.Since(began))
	for _, w := range all {
		_ = w.Close()
	}
	eventually(t, "the server to forget", func() bool { return serverWatches(t, s) == 1 })
	_ = first.Close()
}

// The server allows fewer streams per connection than 100 watches per stream need.
// The open streams then take more watches, and no watch waits forever, neither at
// first nor after the connection is lost.
func TestWatchFewStreams(t *testing.T) {
	t.Parallel()
	const n = 350
	s, c := private(t, etcdtest.Config{MaxConcurrentStreams: 2}, etcd.Config{})
	d := newDialer()
	watching := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial})
	all := watchMany(t, watching, n, func(int) string { return "k" })
	for _, value := range []string{"1", "2"} {
		put(t, c, "k", value)
		for i, w := range all {
			resp, err := w.Read(within(t, time.Minute))
			if err != nil {
				t.Fatalf("watch %d of %d: %v; %+v", i, n, err, w.State())
			}
			if got := text(resp.Events[0], ""); got != "PUT k="+value {
				t.Fatalf("event %s, want %s", got, value)
			}
		}
		d.cutAll()
	}
}
