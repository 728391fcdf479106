package etcd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The member behind the only address comes to a stop inside, and another connection leads
// to one that serves: the watch resumes there, on the first stream that it opens.
func TestQuietStreamBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a"})
		old := m.LastConn()
		m.OnDial(func(context.Context) error {
			m.set(func(m *watchMember) { m.hold = nil })
			return nil
		})
		time.Sleep(time.Minute)
		m.set(func(m *watchMember) { m.hold = make(chan struct{}) })
		began := time.Now()
		next := m.next(t)
		// The quiet stream asks after 5 s and waits for 5 s, the probe for another one.
		if took := time.Since(began); took > 17*time.Second {
			t.Errorf("it took %v", took)
		}
		if next.Conn() == old || !s.Closed() {
			t.Errorf("the next stream is on the same connection: %v; the former is closed: %v", next.Conn() == old, s.Closed())
		}
		create := next.created(t)
		m.set(func(m *watchMember) { m.revision = 101 })
		next.send(eventsOf(create.WatchID, puts("a", 101)...))
		wantRevisions(t, w, 101)
	})
}

// Regression: another stream of that connection, on which something had come while the
// question was under way, stayed there for good: its own question found a connection that takes
// no requests any more.
func TestBusyStreamBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		begin(t, c, m, WatchRequest{Key: "a"})
		w, s, create := begin(t, c, m, WatchRequest{Key: "b", OwnStream: true})
		old := m.LastConn()
		m.OnDial(func(context.Context) error {
			m.set(func(m *watchMember) { m.hold = nil })
			return nil
		})
		time.Sleep(time.Minute)
		m.set(func(m *watchMember) { m.hold, m.revision = make(chan struct{}), 101 })
		time.Sleep(watchQuiet - time.Second) // the stream of a is quiet before that of b
		s.send(eventsOf(create.WatchID, puts("b", 101)...))
		wantRevisions(t, w, 101)
		m.next(t).created(t) // of a
		next := m.next(t)
		if next.Conn() == old || !s.Closed() {
			t.Errorf("the next stream is on the same connection: %v; the former is closed: %v", next.Conn() == old, s.Closed())
		}
		create = next.created(t)
		next.send(eventsOf(create.WatchID, puts("b", 102)...))
		wantRevisions(t, w, 102)
	})
}
