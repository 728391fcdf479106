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
		m.set(func(m *watchMember) { m.revision = 102 })
		for range 2 { // in any order
			next := m.next(t)
			if next.Conn() == old {
				t.Error("the next stream is on the same connection")
			}
			if create := next.created(t); create.Key == "b" {
				next.send(eventsOf(create.WatchID, puts("b", 102)...))
			}
		}
		if !s.Closed() {
			t.Error("the former stream is not closed")
		}
		wantRevisions(t, w, 102)
	})
}

// Regression: a member that hangs while it shuts down has told the client that its connection
// takes no new requests, so nothing could be asked of it, and its watches stayed in silence as
// long as it answered PINGs.
func TestQuietStreamThatDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, serves := newWatchMember("127.0.0.1:1"), newWatchMember("127.0.0.1:2")
		serves.Down(true)
		c := watched(t, Config{}, hangs, serves)
		w, s, _ := begin(t, c, hangs, WatchRequest{Key: "a"})
		serves.Down(false)
		time.Sleep(time.Minute)
		hangs.Down(true)
		for _, conn := range hangs.Conns() {
			conn.Drain()
		}
		began := time.Now()
		create := serves.next(t).created(t)
		if took := time.Since(began); took > 3*watchQuiet || create.StartRevision != 101 || !s.Closed() {
			t.Errorf("%+v after %v; the former stream is closed: %v", create, took, s.Closed())
		}
		synctest.Wait()
		if state := w.State(); state.Endpoint != serves.Address {
			t.Errorf("%+v", state)
		}
	})
}

// Behind a proxy that allows one request per connection a watch stays where it is, and what it
// wants to know is asked over another connection.
func TestStreamOfAConnectionThatDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a"})
		for range 2 {
			m.set(func(m *watchMember) { m.readErr = errNoLeader })
			s.End(nil)
			s = m.next(t)
			s.created(t)
			synctest.Wait() // the connection was asked in vain
			s.Conn().Drain()
			m.set(func(m *watchMember) { m.readErr = nil })
			m.ResetCounts()
			time.Sleep(time.Hour)
			if state := w.State(); state.Endpoint != m.Address {
				t.Errorf("%+v", state)
			}
			if n := m.Counts(); n.Streams != 0 || n.Dials > 1 {
				t.Errorf("%+v", n)
			}
		}
	})
}
