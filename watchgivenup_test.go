package etcd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// watchNobody gives up a Watch after a second, before a member has confirmed it.
func watchNobody(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Watch(ctx, WatchRequest{Key: "a", Revision: 101}); err == nil {
		t.Error("no error")
	}
}

// Regression: when a Watch was given up while its stream was being opened, the stream stayed
// open for good, with no watch on it.
func TestGivenUpWhileItsStreamOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		connect := make(chan struct{})
		m.OnDial(func(context.Context) error { <-connect; return nil })
		c := watched(t, Config{}, m)
		watchNobody(t, c)
		close(connect)
		if !m.next(t).Closed() {
			t.Error("the stream is not closed")
		}
		if watches, streams, _ := c.watches.count(); watches != 0 || streams != 0 {
			t.Errorf("%d watches on %d streams", watches, streams)
		}
		begin(t, c, m, WatchRequest{Key: "a", Revision: 101}) // another watch is not affected
	})
}

// Regression: for a Watch that was given up while no member could be reached the client
// went on connecting, kept the watch, and opened a stream for it in the end.
func TestGivenUpInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		m.Down(true)
		c := watched(t, Config{}, m)
		watchNobody(t, c)
		time.Sleep(10 * time.Second) // a pause of the opener is over
		c.watches.mu.Lock()
		waiting := len(c.watches.waiting) + len(c.watches.inHand)
		c.watches.mu.Unlock()
		if waiting != 0 {
			t.Errorf("%d watches wait", waiting)
		}
		m.ResetCounts()
		time.Sleep(time.Minute)
		if n := m.Counts().Dials; n != 0 {
			t.Errorf("%d attempts to connect for a watch that nobody waits for", n)
		}
		m.Down(false)
		time.Sleep(time.Minute)
		if n := m.Counts().Streams; n != 0 {
			t.Errorf("%d streams were opened for a watch that nobody waits for", n)
		}
	})
}
