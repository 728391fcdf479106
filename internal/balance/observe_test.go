package balance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
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
		c.Member("a").Down(true)
		s := New(Config{
			Endpoints: []Endpoint{{Name: "a", Target: transport.Target{Address: "a"}}},
			Dial:      c.Dial, Observer: told,
		})
		if _, err := s.Pick(context.Background(), Unary); err == nil {
			t.Fatal("Pick found a connection")
		}
		time.Sleep(redial.Cap)
		c.Member("a").Down(false)
		mustPick(t, s, Unary)
		time.Sleep(time.Minute)
		c.end("a", transport.ErrSilent)
		time.Sleep(redial.Cap)
		mustPick(t, s, Watch)
		s.Close()

		failed := slices.IndexFunc(told.up, func(c Connected) bool { return c.Err != nil })
		if len(told.up) != 3 || failed != 0 || told.up[0].Failures != 1 || told.up[1].Lane != Unary || told.up[2].Lane != Watch {
			t.Errorf("connected: %+v", told.up)
		}
		if len(told.down) != 2 {
			t.Fatalf("disconnected: %+v", told.down)
		}
		if d := told.down[0]; !errors.Is(d.Err, transport.ErrSilent) || d.Lived != time.Minute || d.Ordinary {
			t.Errorf("first disconnected: %+v", d)
		}
	})
}

// slow is an observer that takes its time when a connection is over.
type slow struct {
	noObserver
	over chan struct{}
}

func (s slow) Disconnected(Disconnected) { <-s.over }

// Regression: Close returned at once when another Close was under way, with goroutines left.
func TestClosersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, told := newCluster(), slow{over: make(chan struct{})}
		s := New(Config{
			Endpoints: []Endpoint{{Name: "a", Target: transport.Target{Address: "a"}}},
			Dial:      c.Dial, Observer: told,
		})
		mustPick(t, s, Unary)
		var closers sync.WaitGroup
		var closed atomic.Int32
		for range 2 {
			closers.Go(func() {
				s.Close()
				closed.Add(1)
			})
		}
		synctest.Wait()
		if n := closed.Load(); n != 0 {
			t.Errorf("%d of two have returned while the observer was busy", n)
		}
		close(told.over)
		closers.Wait()
	})
}

func TestEndpointStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("b").Down(true)
		s := c.of(t, "a", "b")
		is := func(when string, a, b State) {
			t.Helper()
			if e := s.States(); e[0].State != a || e[1].State != b {
				t.Errorf("%s: a is %s, b is %s; want %s, %s", when, e[0].State, e[1].State, a, b)
			}
		}
		is("before any call", Idle, Idle)
		for e := s.States(); e[0].State == Idle || e[1].State == Idle; e = s.States() {
			mustPick(t, s, Unary)
		}
		synctest.Wait()
		is("when b refuses", Ready, Down)
		c.last("a").TurnSuspect()
		is("when a is silent", Suspect, Down)
		if e := s.States(); e[0].Connections != 1 || e[1].LastErr == nil {
			t.Errorf("got %+v", e)
		}
		c.last("a").Recover()
		stream := hold(t, c.last("a"))
		c.last("a").Drain()
		is("when a drains", Draining, Down)
		stream.Close()
		is("when a has drained", Down, Down)
		c.Member("a").OnDial(peertest.Ignore)
		time.Sleep(time.Minute) // it may be dialed again
		ctx, cancel := context.WithCancel(t.Context())
		picked := make(chan struct{})
		go func() {
			defer close(picked)
			_, _ = s.Pick(ctx, Unary)
		}()
		synctest.Wait()
		is("when a is dialed", Connecting, Down)
		cancel()
		<-picked
	})
}
