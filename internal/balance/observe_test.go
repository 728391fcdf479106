package balance

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// log is an observer that remembers.
type log struct {
	mu   sync.Mutex // guards the fields below
	up   []Connected
	down []Disconnected
}

func (l *log) Connected(c Connected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = append(l.up, c)
}

func (l *log) Disconnected(d Disconnected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = append(l.down, d)
}

func TestObserverIsToldOfEveryConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, told := newCluster(), new(log)
		c.set("a", refuse("a"))
		s := New(Config{
			Endpoints: []Endpoint{{Name: "a", Target: transport.Target{Address: "a"}}},
			Dial:      c.dial, Observer: told,
		})
		if _, err := s.Pick(context.Background(), Unary); err == nil {
			t.Fatal("Pick found a connection")
		}
		time.Sleep(backoffCap)
		c.set("a", nil)
		mustPick(t, s, Unary)
		time.Sleep(time.Minute)
		c.last("a").become(transport.Closed, transport.ErrSilent)
		time.Sleep(backoffCap)
		mustPick(t, s, Watch)
		s.Close()

		failed := slices.IndexFunc(told.up, func(c Connected) bool { return c.Err != nil })
		if len(told.up) != 3 || failed != 0 || told.up[0].Failures != 1 || told.up[1].Lane != Unary || told.up[2].Lane != Watch {
			t.Errorf("connected: %+v", told.up)
		}
		if len(told.down) != 2 {
			t.Fatalf("disconnected: %+v", told.down)
		}
		if d := told.down[0]; d.Err != transport.ErrSilent || d.Lived != time.Minute || d.Ordinary {
			t.Errorf("first disconnected: %+v", d)
		}
	})
}

func TestEndpointStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.set("b", refuse("b"))
		s := c.of(t, "a", "b")
		is := func(when, a, b string) {
			t.Helper()
			if e := s.States(); e[0].State != a || e[1].State != b {
				t.Errorf("%s: a is %s, b is %s; want %s, %s", when, e[0].State, e[1].State, a, b)
			}
		}
		is("before any call", "idle", "idle")
		for e := s.States(); e[0].State == "idle" || e[1].State == "idle"; e = s.States() {
			mustPick(t, s, Unary)
		}
		synctest.Wait()
		is("when b refuses", "ready", "down")
		c.last("a").become(transport.Suspect, nil)
		is("when a is silent", "suspect", "down")
		if e := s.States(); e[0].Connections != 1 || e[1].LastErr == nil {
			t.Errorf("got %+v", e)
		}
	})
}
