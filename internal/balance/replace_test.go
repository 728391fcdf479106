package balance

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

func named(addresses ...string) (list []Endpoint) {
	for _, a := range addresses {
		list = append(list, Endpoint{Name: a, Target: transport.Target{Network: "fake", Address: a}})
	}
	return list
}

// Members that stay keep their connections; those that go take no new calls,
// tell who holds a stream there, and are closed when they have drained.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b")
		conns := make(map[string]Picked)
		for len(conns) < 2 {
			p := mustPick(t, s, Unary)
			conns[p.Endpoint] = p
			synctest.Wait()
		}
		held := hold(t, conns["a"])
		if !s.Replace(named("b", "c")) {
			t.Fatal("refused")
		}
		if got := s.Endpoints(); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("endpoints are %v", got)
		}
		if !conns["a"].Removed() {
			t.Error("the member that went is not Removed")
		}
		if conns["b"].Removed() {
			t.Error("the member that stayed is Removed")
		}
		seen := make(map[string]bool)
		for range 200 {
			p := mustPick(t, s, Unary)
			synctest.Wait()
			seen[p.Endpoint] = true
		}
		if seen["a"] || !seen["b"] || !seen["c"] || c.dialed("b") != 1 {
			t.Errorf("picked %v, dialed b %d times", seen, c.dialed("b"))
		}
		old := c.last("a")
		if old.State() != transport.Draining || old.Closes() != 0 {
			t.Errorf("the connection that went is %v, closed %d times", old.State(), old.Closes())
		}
		held.Close()
		synctest.Wait()
		if old.Closes() != 1 {
			t.Errorf("the connection that has drained was closed %d times", old.Closes())
		}
		s.Close()
		if s.Replace(named("a")) {
			t.Error("a closed set takes endpoints")
		}
	})
}

// A pick that waits for a member which goes is served by the one that comes; the
// connection that is then made to the first is closed.
func TestReplaceUnderAPick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		release := make(chan struct{})
		c.Member("a").OnDial(func(context.Context) error { <-release; return nil })
		s := c.of(t, "a")
		got := make(chan Picked, 1)
		go func() { p, _ := pick(s, Unary); got <- p }()
		synctest.Wait()
		s.Replace(named("b"))
		close(release)
		if p := <-got; p.Endpoint != "b" {
			t.Errorf("picked %q", p.Endpoint)
		}
		if c.last("a").Closes() != 1 {
			t.Errorf("the late connection was closed %d times", c.last("a").Closes())
		}
		s.Close()
	})
}

// Close does not wait for streams on members that went.
func TestCloseWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a")
		hold(t, mustPick(t, s, Unary))
		s.Replace(named("b"))
		s.Close()
		if c.last("a").Closes() != 1 {
			t.Error("a draining connection is left behind")
		}
		if _, err := pick(s, Unary); !errors.Is(err, ErrClosed) {
			t.Errorf("error is %v", err)
		}
	})
}

// A finder is no member: it is neither listed nor counted, and connected to only
// when there is nothing else. What it finds serves the pick that waits.
func TestFinder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		finder := Endpoint{Name: "finder", Finder: true, Target: transport.Target{Network: "srv", Address: "finder"}}
		s := New(Config{Endpoints: []Endpoint{finder}, Dial: c.Dial})
		found := named("a")
		c.Member("finder").OnDial(func(context.Context) error {
			s.Replace(append(slices.Clone(found), finder))
			return errors.New("found what there is")
		})
		if p := mustPick(t, s, Unary); p.Endpoint != "a" {
			t.Errorf("picked %s", p.Endpoint)
		}
		if got := s.Endpoints(); !slices.Equal(got, []string{"a"}) || s.Size() != 1 || len(s.States()) != 1 {
			t.Errorf("endpoints %v, size %d, states %v", got, s.Size(), s.States())
		}
		for range 100 {
			mustPick(t, s, Unary)
		}
		if n := c.dialed("finder"); n != 1 {
			t.Errorf("asked %d times while a member is up", n)
		}
		time.Sleep(redial.Cap) // it backs off like a member that was dialed in vain
		found = named("b")
		c.Member("a").Down(true)
		c.end("a", errors.New("gone"))
		if p := mustPick(t, s, Unary); p.Endpoint != "b" {
			t.Errorf("picked %s after the members have moved", p.Endpoint)
		}
		s.Close()
	})
}
