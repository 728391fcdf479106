package etcd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/compat"
)

// The listener hears of every connection that comes, fails or goes, until it stops.
func TestOnConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := scriptedBy(t, Config{Retry: -1, RetrySleep: time.Second}, ok)
		var told, also int
		stop := compat.Of(c).OnConnection(func() { told++ })
		defer compat.Of(c).OnConnection(func() { also++ })()
		get := func() { _, _ = c.Get(t.Context(), GetRequest{Key: "k"}); synctest.Wait() }
		get()
		if told != 1 {
			t.Errorf("told %d times of a connection", told)
		}
		m.Down(true)
		m.Cut(nil)
		synctest.Wait()
		if told != 2 {
			t.Errorf("told %d times of a connection and its end", told)
		}
		time.Sleep(time.Minute)
		get()
		if told < 3 {
			t.Errorf("told %d times, and not that connecting fails", told)
		}
		stop()
		before := told
		m.Down(false)
		time.Sleep(time.Minute)
		get()
		if told != before || also <= before {
			t.Errorf("told %d times after it stopped at %d; the other %d times", told, before, also)
		}
	})
}

// A request that goes through as it is counts as a write unless it says that it reads.
func TestInsideCall(t *testing.T) {
	for _, reads := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, m := scriptedBy(t, Config{}, lost, ok)
			_, err := compat.Of(c).Call(context.Background(), compat.Request{Op: "Check", Path: "/some.Service/Check", Reads: reads})
			if (err == nil) != reads || MaybeApplied(err) == reads {
				t.Errorf("reads %v: %v", reads, err)
			}
			var e *Error
			if calls := m.Counts().Calls; reads && calls != 2 || !reads && (calls != 1 || !errors.As(err, &e) || e.Op != "Check") {
				t.Errorf("reads %v: %d calls, %v", reads, calls, err)
			}
		})
	}
}
