package cache

import (
	"context"
	"errors"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// A request that cannot be answered gets its own error, which names the cause.
func TestNamedErrors(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	ctx := testbed.Within(t, testbed.Patience)
	gone := testbed.Put(t, c, scope+"a", "old")
	testbed.Put(t, c, scope+"a", "1")
	testbed.Put(t, c, "large", strings.Repeat("x", 2000))
	last := testbed.Put(t, c, scope+"bad", "no number")
	if _, err := c.Compact(ctx, etcd.CompactRequest{Revision: last}); err != nil {
		t.Fatal(err)
	}
	ca, closed := caching(t, c), caching(t, c)
	_ = closed.Close()
	everything, err := cache.New(c, cache.Config{Prefix: true, MaxBytes: 1000, NoFallback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = everything.Close() })
	typed := func(decode func(etcd.KeyValue) (int, error)) *cache.Typed[int] {
		t.Helper()
		typed, err := cache.NewTyped(ca, cache.TypedConfig[int]{Decode: decode})
		if err != nil {
			t.Fatal(err)
		}
		return typed
	}
	fails := typed(func(etcd.KeyValue) (int, error) { return 0, errors.New("not a number") })
	panics := typed(func(etcd.KeyValue) (int, error) { panic("a bug") })

	reads := func(ca *cache.Cache, key string, f cache.Freshness) func() error {
		return func() error {
			_, err := ca.Get(ctx, key, f)
			return err
		}
	}
	snapshots := func(ca *cache.Cache, f cache.Freshness) func() error {
		return func() error {
			_, err := ca.Snapshot(ctx, f)
			return err
		}
	}
	decodes := func(typed *cache.Typed[int]) func() error {
		return func() error {
			_, _, err := typed.Get(ctx, scope+"bad", cache.Local)
			return err
		}
	}
	next := func(sub *cache.Subscription, ctx context.Context) func() error {
		return func() error {
			_, err := sub.Next(ctx)
			return err
		}
	}
	var none context.Context
	for _, bad := range []struct {
		what string
		do   func() error
		is   error
		says string
	}{
		{"a key out of the range", reads(ca, "out", cache.Local), cache.ErrOutOfScope, `"out"`},
		{"a key out of the range, linearizable", reads(ca, "out", cache.Linearizable), cache.ErrOutOfScope, `"out"`},
		{"everything of a store that is larger", func() error { return everything.Ready(ctx) }, cache.ErrCacheTooLarge, "MaxBytes is 1000"},
		{"a read of it", reads(everything, scope+"a", cache.Linearizable), cache.ErrCacheTooLarge, "MaxBytes is 1000"},
		{"a snapshot of it", snapshots(everything, cache.Local), cache.ErrCacheTooLarge, "MaxBytes is 1000"},
		{"a subscription to it", next(everything.Subscribe(""), ctx), cache.ErrCacheTooLarge, "MaxBytes is 1000"},
		{"an exact revision that is gone", reads(ca, scope+"a", cache.Exact(gone)), etcd.ErrCompacted, "compacted"},
		{"a snapshot of it", snapshots(ca, cache.Exact(gone)), etcd.ErrCompacted, "not kept"},
		{"an exact revision that is not there yet", reads(ca, scope+"a", cache.Exact(last+1000)), etcd.ErrFutureRevision, "the store is at"},
		{"at least a revision that is not there yet", reads(ca, scope+"a", cache.AtLeast(last+1000)), etcd.ErrFutureRevision, "the store is at"},
		{"revision 0", reads(ca, scope+"a", cache.Exact(0)), etcd.ErrInvalidRequest, "Exact(0)"},
		{"within no time", reads(ca, scope+"a", cache.Within(0)), etcd.ErrInvalidRequest, "Within(0s)"},
		{"within a time without its unit", reads(ca, scope+"a", cache.Within(5)), etcd.ErrInvalidRequest, "did you mean 5 * time.Second?"},
		{"a decoder that fails", decodes(fails), cache.ErrDecode, `"in/bad"`},
		{"a decoder that panics", decodes(panics), cache.ErrDecode, "a bug"},
		{"a read after Close", reads(closed, scope+"a", cache.Local), cache.ErrClosed, "closed"},
		{"a linearizable read after Close", reads(closed, scope+"a", cache.Linearizable), cache.ErrClosed, "closed"},
		{"a snapshot after Close", snapshots(closed, cache.Local), cache.ErrClosed, "closed"},
		{"a subscription after Close", next(closed.Subscribe(""), ctx), cache.ErrClosed, "closed"},
		{"Ready after Close", func() error { return closed.Ready(ctx) }, cache.ErrClosed, "closed"},
		{"a subscription without a context", next(ca.Subscribe(""), none), etcd.ErrInvalidRequest, "context is nil"},
		{"a snapshot without a context", func() error { _, err := ca.Snapshot(none, cache.Local); return err }, etcd.ErrInvalidRequest, "context is nil"},
	} {
		if err := bad.do(); !errors.Is(err, bad.is) || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: %v; want %v, with %q", bad.what, err, bad.is, bad.says)
		}
	}
	if _, presence := closed.Peek(scope + "a"); presence != cache.Unknown {
		t.Errorf("Peek after Close: %v", presence)
	}
}
