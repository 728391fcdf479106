package store

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// Both drivers report the same work in the same terms.
func TestDrivers(t *testing.T) {
	s := etcdtest.Start(t)
	for _, name := range Names {
		t.Run(name, func(t *testing.T) {
			c, err := Drivers[name](Config{Endpoints: s.Endpoints(), Names: history.NewInterner()})
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			defer func() {
				if !closed {
					_ = c.Close()
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			began := calls(ctx, t, c, name+"/")
			many(ctx, t, c, name+"/", began)
			lease(ctx, t, c, name+"/")
			compacted(ctx, t, c, name+"/")
			closed = true
			if err := c.Close(); err != nil && name == "ours" {
				t.Error(err)
			}
			if _, err := c.Put(ctx, "k", "v", 0); err == nil || c.Fate(err) == history.Done {
				t.Errorf("a closed client puts: %v", err)
			}
		})
	}
}

// calls makes each kind of call on one key and returns the revision of the first.
func calls(ctx context.Context, t *testing.T, c Store, prefix string) int64 {
	key := prefix + "k"
	first, err := c.Put(ctx, key, "a", 0)
	check(t, first, err, Answer{Revision: first.Revision})
	r := first.Revision
	a, err := c.Get(ctx, key, true)
	check(t, a, err, Answer{Revision: r, Found: "a", Modified: r})
	a, err = c.Swap(ctx, key, "b", "c")
	check(t, a, err, Answer{Revision: r, Found: "a", Modified: r})
	a, err = c.Swap(ctx, key, "a", "b")
	check(t, a, err, Answer{Revision: r + 1, Matched: true})
	a, err = c.Delete(ctx, key)
	check(t, a, err, Answer{Revision: r + 2, Matched: true})
	a, err = c.Delete(ctx, key)
	check(t, a, err, Answer{Revision: r + 2})
	a, err = c.Get(ctx, key, false)
	check(t, a, err, Answer{Revision: r + 2})
	a, err = c.Swap(ctx, key, "", "d")
	check(t, a, err, Answer{Revision: r + 3, Matched: true})
	return r
}

// many writes several keys at once, and watches and reads all writes since a
// revision.
func many(ctx context.Context, t *testing.T, c Store, prefix string, began int64) {
	large := Pad("large", 100)
	a, err := c.PutMany(ctx, []string{prefix + "x", prefix + "y"}, large)
	check(t, a, err, Answer{Revision: began + 4, Matched: true})
	event := func(key, value string, after, created, version int64) history.Event {
		return history.Event{Revision: began + after, Key: prefix + key, Value: value, Created: began + created, Version: version}
	}
	want := []history.Event{
		event("k", "a", 0, 0, 1), event("k", "b", 1, 0, 2), {Revision: began + 2, Delete: true, Key: prefix + "k", Prev: "b", HasPrev: true},
		event("k", "d", 3, 3, 1), event("x", Text(large), 4, 4, 1), event("y", Text(large), 4, 4, 1),
	}
	want[1].Prev, want[1].HasPrev = "a", true
	w, err := c.Watch(ctx, history.Filter{Key: prefix, Prefix: true, PrevKV: true}, began)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var got []history.Event
	for len(got) < len(want) {
		r, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Events...)
	}
	if w.Start() != began || !reflect.DeepEqual(got, want) {
		t.Errorf("a watch from %d has seen %+v, want %+v", w.Start(), got, want)
	}
	var pairs []history.Event
	revision, err := c.Scan(ctx, prefix, func(e history.Event) { pairs = append(pairs, e) })
	if err != nil || revision != began+4 || !reflect.DeepEqual(pairs, want[3:]) {
		t.Errorf("a scan at %d has %+v, %v", revision, pairs, err)
	}
	if n, err := c.ReadAll(ctx, prefix); n != 201 || err != nil {
		t.Errorf("%d bytes were read: %v", n, err)
	}
	a, err = c.DeleteMany(ctx, prefix)
	check(t, a, err, Answer{Revision: began + 5, Matched: true})
}

// lease loses a lease and checks the report of the loss.
func lease(ctx context.Context, t *testing.T, c Store, prefix string) {
	l, err := c.Grant(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if l.TTL() < 2*time.Second || l.ID() == 0 {
		t.Errorf("lease %x with %v", l.ID(), l.TTL())
	}
	if _, err := c.Put(ctx, prefix+"leased", "v", l.ID()); err != nil {
		t.Error(err)
	}
	if err := l.Revoke(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-l.Lost():
		if l.Err() == nil {
			t.Error("the loss has no reason")
		}
	case <-ctx.Done():
		t.Error("the loss is not reported")
	}
}

// compacted opens a watch on a compacted revision.
func compacted(ctx context.Context, t *testing.T, c Store, prefix string) {
	a, err := c.Put(ctx, prefix+"k", "e", 0)
	if err != nil {
		t.Fatal(err)
	}
	compact(ctx, t, c, a.Revision)
	w, err := c.Watch(ctx, history.Filter{Key: prefix, Prefix: true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, err = w.Next(ctx)
	var gone *CompactedError
	if !errors.As(err, &gone) || gone.Revision != a.Revision {
		t.Errorf("a compacted watch ends with %v", err)
	}
}

// compact compacts with the means of the tested driver.
func compact(ctx context.Context, t *testing.T, c Store, revision int64) {
	t.Helper()
	var err error
	switch c := c.(type) {
	case *ours:
		_, err = c.c.Compact(ctx, etcd.CompactRequest{Revision: revision})
	case *official:
		_, err = c.c.Compact(ctx, revision)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, a Answer, err error, want Answer) {
	t.Helper()
	if err != nil || a != want {
		t.Errorf("answer %+v, %v, want %+v", a, err, want)
	}
}

func TestPad(t *testing.T) {
	for _, size := range []int{0, 5, 7, 70, 1000} {
		v := Pad("value", size)
		want := "value"
		if size > 5 {
			want = "value|" + map[int]string{7: "7", 70: "70", 1000: "1000"}[size]
		}
		if got := text(history.NewInterner(), []byte(v)); got != Text(v) || got != want || len(v) != max(size, 5) {
			t.Errorf("padded to %d: %q and %q of %d bytes, want %q", size, got, Text(v), len(v), want)
		}
	}
	if !slices.Equal(Names, []string{"ours", "client/v3"}) || len(Drivers) != len(Names) {
		t.Errorf("drivers %q", Names)
	}
}
