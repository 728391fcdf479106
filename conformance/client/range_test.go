package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// collect reads a whole range.
func collect(t testing.TB, r *etcd.Range) (kvs []etcd.KeyValue) {
	t.Helper()
	for kv, err := range r.All() {
		if err != nil {
			t.Fatalf("after %d pairs: %v", len(kvs), err)
		}
		kvs = append(kvs, kv)
	}
	return kvs
}

// fill stores n pairs with values of size bytes, many per transaction. The keys are
// numbered in order.
func fill(t testing.TB, c *etcd.Client, prefix string, n, size int) {
	t.Helper()
	value := []byte(strings.Repeat("v", size))
	perTxn := max(min(100, (1<<20)/(size+64)), 1)
	for at := 0; at < n; {
		var puts []etcd.Op
		for ; len(puts) < perTxn && at < n; at++ {
			puts = append(puts, etcd.PutRequest{Key: numbered(prefix, at), Value: value})
		}
		txn(t, c, etcd.TxnRequest{Then: puts})
	}
}

func numbered(prefix string, i int) string { return fmt.Sprintf("%s%07d", prefix, i) }

func rangeOf(t testing.TB, c *etcd.Client, req etcd.GetRequest) *etcd.Range {
	t.Helper()
	r, err := c.Range(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkNumbered checks that the pairs are exactly those from first to last, each
// once.
func checkNumbered(t testing.TB, kvs []etcd.KeyValue, prefix string, first, last int) {
	t.Helper()
	if len(kvs) != last-first+1 {
		t.Errorf("%d pairs, want %d", len(kvs), last-first+1)
		return
	}
	for i, kv := range kvs {
		if kv.Key != numbered(prefix, first+i) {
			t.Errorf("pair %d is %q, want %q", i, kv.Key, numbered(prefix, first+i))
			return
		}
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	const n = 1500
	fill(t, c, p, n, 3000) // 4.5 MB: several pieces of a stream and several pages
	all := etcd.GetRequest{Key: p, Prefix: true}
	full := rangeOf(t, c, all)

	t.Run("all", func(t *testing.T) {
		kvs := collect(t, full)
		checkNumbered(t, kvs, p, 0, n-1)
		for _, kv := range kvs {
			if len(kv.Value) != 3000 || kv.Version != 1 {
				t.Fatalf("%s: version %d of %d bytes", kv.Key, kv.Version, len(kv.Value))
			}
		}
		if full.Count() != n {
			t.Errorf("count %d", full.Count())
		}
		if h := full.Header(); h.MemberID == 0 || h.Revision < full.Revision() {
			t.Errorf("header %+v of a range at %d", h, full.Revision())
		}
	})

	t.Run("twice, at the same time", func(t *testing.T) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range full.All() {
				if err != nil {
					t.Error(err)
				}
			}
		}()
		checkNumbered(t, collect(t, full), p, 0, n-1)
		<-done
	})

	t.Run("one revision", func(t *testing.T) {
		r := rangeOf(t, c, all)
		i := 0
		for kv, err := range r.All() {
			if err != nil {
				t.Fatal(err)
			}
			if i == 10 { // long before the rest has been read
				txn(t, c, etcd.TxnRequest{Then: ops(
					etcd.PutRequest{Key: numbered(p, n-1), Value: []byte("changed")},
					etcd.DeleteRequest{Key: numbered(p, n-2)},
					etcd.PutRequest{Key: numbered(p, n-1) + "x", Value: []byte("new")},
				)})
			}
			if kv.Key != numbered(p, i) || kv.Version != 1 || kv.ModRevision > r.Revision() {
				t.Fatalf("pair %d is %q, version %d of revision %d; the range is at %d", i, kv.Key, kv.Version, kv.ModRevision, r.Revision())
			}
			i++
		}
		if i != n {
			t.Errorf("%d pairs, want %d", i, n)
		}
		// A new range sees the changes; undo them for the other tests.
		if kvs := collect(t, rangeOf(t, c, etcd.GetRequest{Key: numbered(p, n-3), FromKey: false, RangeEnd: p + "a"})); len(kvs) != 3 || string(kvs[1].Value) != "changed" {
			t.Errorf("afterwards: %q", keysOf(kvs, p))
		}
		if kvs := collect(t, r); len(kvs) != n {
			t.Errorf("the old range read again has %d pairs", len(kvs))
		}
	})

	old := full.Revision()
	for _, limit := range []int64{1, 31, 32, 33, 500, 1499, 1500, 1501, 1 << 40} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			kvs := collect(t, rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Limit: limit, Revision: old}))
			checkNumbered(t, kvs, p, 0, int(min(limit, n))-1)
		})
	}

	t.Run("revision", func(t *testing.T) {
		r := rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Revision: old})
		if r.Revision() != old {
			t.Errorf("revision %d, want %d", r.Revision(), old)
		}
		checkNumbered(t, collect(t, r), p, 0, n-1)
	})

	t.Run("keys only", func(t *testing.T) {
		kvs := collect(t, rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Revision: old, KeysOnly: true}))
		checkNumbered(t, kvs, p, 0, n-1)
		for _, kv := range kvs {
			if len(kv.Value) > 0 {
				t.Fatalf("%s has a value", kv.Key)
			}
		}
	})

	t.Run("serializable", func(t *testing.T) {
		checkNumbered(t, collect(t, rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Revision: old, Serializable: true})), p, 0, n-1)
	})

	t.Run("range end", func(t *testing.T) {
		kvs := collect(t, rangeOf(t, c, etcd.GetRequest{Key: numbered(p, 100), RangeEnd: numbered(p, 900), Revision: old, SortOrder: etcd.Ascend}))
		checkNumbered(t, kvs, p, 100, 899)
	})

	t.Run("filters", func(t *testing.T) { // streams do not support them, so it uses pages
		at := collect(t, rangeOf(t, c, etcd.GetRequest{Key: numbered(p, 200), Revision: old}))[0].ModRevision
		kvs := collect(t, rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Revision: old, MinModRevision: at}))
		checkNumbered(t, kvs, p, 200, n-1)
		kvs = collect(t, rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Revision: old, MaxCreateRevision: at, Limit: 250}))
		checkNumbered(t, kvs, p, 0, 249)
		kvs = collect(t, rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true, Revision: old, MinModRevision: at, MaxModRevision: at}))
		if len(kvs) != 100 {
			t.Errorf("%d pairs of one revision, want 100", len(kvs))
		}
	})

	t.Run("small and empty", func(t *testing.T) {
		if kvs := collect(t, rangeOf(t, c, etcd.GetRequest{Key: p + "none", Prefix: true})); len(kvs) != 0 {
			t.Errorf("none: %q", keysOf(kvs, p))
		}
		checkNumbered(t, collect(t, rangeOf(t, c, etcd.GetRequest{Key: numbered(p, 7)})), p, 7, 7)
		checkNumbered(t, collect(t, rangeOf(t, c, etcd.GetRequest{Key: numbered(p, 0), RangeEnd: numbered(p, 32)})), p, 0, 31)
		checkNumbered(t, collect(t, rangeOf(t, c, etcd.GetRequest{Key: numbered(p, 0), RangeEnd: numbered(p, 33)})), p, 0, 32)
	})

	t.Run("future revision", func(t *testing.T) {
		_, err := c.Range(t.Context(), etcd.GetRequest{Key: p, Prefix: true, Revision: 1 << 40})
		wants(t, err, etcd.ErrFutureRevision, etcd.OutcomeRejected)
	})

	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := c.Range(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		var last error
		for _, err := range r.All() {
			if n++; n == 40 {
				cancel()
			}
			last = err
		}
		if !errors.Is(last, context.Canceled) || n > 1000 {
			t.Errorf("cancelled after 40 pairs, it ended after %d with %v", n, last)
		}
		if etcd.MaybeApplied(last) {
			t.Errorf("%v: a read is said to be applied", last)
		}
	})
}

// A loop that ends early closes its stream: the server allows four per connection,
// and the test begins many more.
func TestRangeBreak(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{MaxConcurrentStreams: 4}, etcd.Config{Timeout: 10 * time.Second})
	fill(t, c, "k", 400, 20_000)
	for i := range 50 {
		n := 0
		for _, err := range rangeOf(t, c, etcd.GetRequest{Key: "k", Prefix: true}).All() {
			if err != nil {
				t.Fatalf("loop %d: %v", i, err)
			}
			if n++; n > 40+i { // behind the first page
				break
			}
		}
	}
	checkNumbered(t, collect(t, rangeOf(t, c, etcd.GetRequest{Key: "k", Prefix: true})), "k", 0, 399)
}

func TestRangeCompacted(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	const n = 2000
	fill(t, c, "k", n, 20_000) // 40 MB, so that most of it is not in flight yet
	r := rangeOf(t, c, etcd.GetRequest{Key: "k", Prefix: true})
	seen := 0
	var last error
	for kv, err := range r.All() {
		if last = err; err != nil {
			break
		}
		if kv.Key != numbered("k", seen) {
			t.Fatalf("pair %d is %q", seen, kv.Key)
		}
		if seen++; seen == 40 {
			if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: put(t, c, "other", ""), Physical: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wants(t, last, etcd.ErrCompacted, etcd.OutcomeRejected)
	if seen >= n {
		t.Error("all pairs of a compacted revision were read")
	}
	for _, err := range r.All() {
		last = err
	}
	wants(t, last, etcd.ErrCompacted, etcd.OutcomeRejected)
}

// However large the range, the client holds only a few pieces at a time.
func TestRangeMemory(t *testing.T) { // not parallel: it measures the heap
	const n = 50_000
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	fill(t, c, p, n, 1000)
	var base, m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&base)
	var peak uint64
	i := 0
	for kv, err := range rangeOf(t, c, etcd.GetRequest{Key: p, Prefix: true}).All() {
		if err != nil {
			t.Fatal(err)
		}
		if i%5000 == 0 {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			if kv.Key != numbered(p, i) {
				t.Fatalf("pair %d is %q", i, kv.Key)
			}
		}
		i++
	}
	grown := float64(max(peak, base.HeapAlloc)-base.HeapAlloc) / (1 << 20)
	t.Logf("%d pairs, the heap grew by at most %.1f MiB", i, grown)
	if i != n {
		t.Errorf("%d pairs, want %d", i, n)
	}
	if grown > 24 { // the whole is 53 MiB of messages and 4 MiB of pairs
		t.Errorf("the heap grew by %.1f MiB", grown)
	}
}

// Connections that are cut in the middle of a range are replaced, and no pair is
// missing or repeated.
func TestRangeConnectionsCut(t *testing.T) {
	t.Parallel()
	filler := connect(t, etcd.Config{})
	p := ownKeys(t)
	const n = 2000
	fill(t, filler, p, n, 5000)
	for name, req := range map[string]etcd.GetRequest{
		"stream": {Key: p, Prefix: true},
		"pages":  {Key: p, Prefix: true, MinModRevision: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDialer()
			c := connect(t, etcd.Config{DialContext: d.dial, Retry: 100, RetrySleep: 50 * time.Millisecond})
			r := rangeOf(t, c, req)
			var kvs []etcd.KeyValue
			for kv, err := range r.All() {
				if err != nil {
					t.Fatalf("after %d pairs: %v", len(kvs), err)
				}
				if kvs = append(kvs, kv); len(kvs)%500 == 50 {
					d.cutAll()
				}
			}
			checkNumbered(t, kvs, p, 0, n-1)
			if dials := d.dials.Load(); dials < 4 {
				t.Errorf("%d connections were made, so the cuts did not reach the range", dials)
			}
		})
	}
}

func TestRangeServerKilled(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{RetrySleep: 100 * time.Millisecond, Retry: 100})
	const n = 1500
	fill(t, c, "k", n, 10_000)
	var kvs []etcd.KeyValue
	var restarted atomic.Bool
	for kv, err := range rangeOf(t, c, etcd.GetRequest{Key: "k", Prefix: true}).All() {
		if err != nil {
			t.Fatalf("after %d pairs: %v", len(kvs), err)
		}
		if kvs = append(kvs, kv); len(kvs) == 40 {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			restarted.Store(true)
		}
	}
	checkNumbered(t, kvs, "k", 0, n-1)
	if !slices.IsSortedFunc(kvs, func(a, b etcd.KeyValue) int { return strings.Compare(a.Key, b.Key) }) {
		t.Error("not in order")
	}
}
