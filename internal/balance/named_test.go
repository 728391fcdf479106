package balance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

func endpointOf(address string) Endpoint {
	return Endpoint{Name: address, Target: transport.Target{Network: "fake", Address: address}}
}

func pickNamed(s *Set, address string) (Picked, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.PickNamed(ctx, Unary, endpointOf(address))
}

func TestPickNamed(t *testing.T) {
	c := newCluster()
	s := c.of(t, "a", "b", "c")
	for range 5 {
		for _, name := range []string{"b", "adhoc"} {
			p, err := pickNamed(s, name)
			if err != nil || addressOf(p.Conn) != name || p.Endpoint != name {
				t.Fatalf("%s: %+v, %v", name, p, err)
			}
		}
	}
	for _, name := range []string{"b", "adhoc"} {
		if n := c.dialed(name); n != 1 {
			t.Errorf("%s was dialed %d times", name, n)
		}
	}
	// A suspect one is still the one that was asked for.
	c.last("b").TurnSuspect()
	if p, err := pickNamed(s, "b"); err != nil || p.Conn != c.last("b") {
		t.Errorf("%+v, %v", p, err)
	}
	// No other call may go to an ad-hoc member.
	for range 100 {
		if p := mustPick(t, s, Unary); p.Endpoint == "adhoc" {
			t.Fatal("an ad-hoc member was picked")
		}
	}
	adHoc := c.last("adhoc")
	s.Close()
	if adHoc.Closes() != 1 {
		t.Errorf("its connection was closed %d times", adHoc.Closes())
	}
	if _, err := pickNamed(s, "adhoc"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Guests that are over are not kept for ever.
func TestGuestsAreForgotten(t *testing.T) {
	c := newCluster()
	s := c.of(t, "a")
	for i := range 50 {
		name := strings.Repeat("g", i+1)
		if _, err := pickNamed(s, name); err != nil {
			t.Fatal(err)
		}
		c.last(name).End(nil)
	}
	s.mu.Lock()
	n := len(s.adHoc)
	s.mu.Unlock()
	if n > 1 {
		t.Errorf("%d ad-hoc members are kept", n)
	}
	s.Close()
	if n := c.last("g").Closes(); n != 1 {
		t.Errorf("the connection of one that was forgotten was closed %d times", n)
	}
}

// The others being up does not help: the call is for this one.
func TestPickNamedThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b")
		c.Member("b").Down(true)
		var unreachable *UnreachableError
		for range 20 {
			start := time.Now()
			_, err := pickNamed(s, "b")
			if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), "b refuses") {
				t.Fatal(err)
			}
			if waited := time.Since(start); waited > shortBackoff {
				t.Errorf("it took %v", waited)
			}
		}
		c.Member("b").Down(false)
		time.Sleep(redial.Cap)
		if p, err := pickNamed(s, "b"); err != nil || p.Endpoint != "b" {
			t.Errorf("after it has come back: %+v, %v", p, err)
		}
		c.Member("c").OnDial(peertest.Ignore)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.PickNamed(ctx, Unary, endpointOf("c")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connecting to c") {
			t.Errorf("a silent one: %v", err)
		}
		s.Close()
	})
}

// What a connection takes no longer because it drains goes to another one of its endpoint, but
// not once that is removed.
func TestPickBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b")
		c.Member("b").Down(true)
		p := mustPick(t, s, Watch)
		p.Drain()
		beside, err := s.PickBeside(t.Context(), Unary, p)
		if err != nil || addressOf(beside.Conn) != "a" || beside.Conn == p.Conn {
			t.Errorf("%+v, %v", beside, err)
		}
		s.Replace([]Endpoint{endpointOf("b")})
		dials := c.dialed("a")
		if _, err := s.PickBeside(t.Context(), Unary, p); !errors.Is(err, transport.ErrDraining) {
			t.Errorf("of an endpoint that is removed: %v", err)
		}
		if n := c.dialed("a") - dials; n != 0 {
			t.Errorf("%d dials of it", n)
		}
	})
}
