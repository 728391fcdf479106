package etcd

import (
	"testing"
	"testing/synctest"
	"time"
)

// A watch that no member could serve is back with the next connection of the client, in
// whatever lane that is: it does not sit out the pause that its own failures have earned.
func TestWatchReturnsWithTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		m.Down(true)
		m.Cut(nil)
		time.Sleep(20 * time.Second)
		m.Down(false)
		began := time.Now()
		if _, err := c.Get(t.Context(), GetRequest{Key: "a"}); err != nil {
			t.Fatal(err)
		}
		called := time.Since(began) // a dial may have to wait for its own pause
		m.next(t).created(t)
		if took := time.Since(began) - called; took > 0 {
			t.Errorf("the watch was created %v after the call", took)
		}
	})
}

// The dials of a watch that no member can serve have one backoff, not two on top of each
// other: it is back within the longest pause of one.
func TestWatchReturnsWithinOneBackoff(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			m := newWatchMember("127.0.0.1:1")
			c := watched(t, Config{}, m)
			begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
			m.Down(true)
			m.Cut(nil)
			time.Sleep(20 * time.Second)
			m.Down(false)
			began := time.Now()
			m.next(t).created(t)
			if took := time.Since(began); took > 2100*time.Millisecond {
				t.Errorf("the watch is back after %v", took)
			}
		})
	}
}
