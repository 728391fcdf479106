package balance

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// probed makes a set whose members are probed by probe, and connects to all.
func (c *cluster) probed(t testing.TB, probe func(ctx context.Context, address string) error, addresses ...string) *Set {
	t.Helper()
	s := New(Config{Endpoints: named(addresses...), Dial: c.dial, Probe: func(ctx context.Context, conn transport.Conn) error {
		return probe(ctx, conn.(*fakeConn).address)
	}})
	t.Cleanup(s.Close)
	for up := make(map[string]bool); len(up) < len(addresses); synctest.Wait() {
		up[upOrPick(t, s).Endpoint] = true
	}
	return s
}

// upOrPick chooses as a call does.
func upOrPick(t testing.TB, s *Set) Picked {
	t.Helper()
	if p, ok := s.Up(Unary); ok {
		return p
	}
	return mustPick(t, s, Unary)
}

// of is a choice of that member.
func chosen(t testing.TB, s *Set, endpoint string) Picked {
	t.Helper()
	for {
		if p := upOrPick(t, s); p.Endpoint == endpoint {
			return p
		}
	}
}

// A member that is set aside is probed at growing intervals while there are calls,
// and not at all while there are none.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		sick := errors.New("sick")
		c := newCluster()
		s := c.probed(t, func(context.Context, string) error { at = append(at, time.Now()); return sick }, "a", "b")
		s.SetAside(chosen(t, s, "a"))
		for range 60_000 {
			if p := upOrPick(t, s); p.Endpoint != "b" || p.Aside() {
				t.Fatalf("picked %s", p.Endpoint)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if len(at) < 30 || len(at) > 120 {
			t.Errorf("%d probes in a minute", len(at))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap > min(asideFirst<<min(i, 10), asideCap)+20*time.Millisecond {
				t.Errorf("probe %d came after %v", i, gap)
			}
		}
		n := len(at)
		time.Sleep(time.Hour)
		if len(at) != n {
			t.Errorf("%d probes without a call", len(at)-n)
		}
		sick = nil
		for p := upOrPick(t, s); p.Endpoint != "a"; p = upOrPick(t, s) {
			synctest.Wait()
		}
		s.Close()
	})
}

// A member that is set aside again and again as soon as it is back is tried less
// and less often; one that was good for a while is forgiven.
func TestRelapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.probed(t, func(context.Context, string) error { return nil }, "a", "b")
		relapse := func() (back time.Duration) {
			s.SetAside(chosen(t, s, "a"))
			began := time.Now()
			for upOrPick(t, s).Endpoint != "a" {
				time.Sleep(time.Millisecond)
				synctest.Wait()
			}
			return time.Since(began)
		}
		var first, later time.Duration
		for i := range 40 {
			if d := relapse(); i == 0 {
				first = d
			} else if i >= 10 {
				later += d / 30
			}
		}
		if first > asideFirst+20*time.Millisecond || later < asideCap/4 || later > asideCap {
			t.Errorf("back after %v at first, %v later", first, later)
		}
		time.Sleep(goodFor)
		if d := relapse(); d > asideFirst+20*time.Millisecond {
			t.Errorf("back after %v though it was good for long", d)
		}
		s.Close()
	})
}

// A probe that is not answered ends, and Close ends one that waits.
func TestProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		c := newCluster()
		s := c.probed(t, func(ctx context.Context, _ string) error { probes.Add(1); <-ctx.Done(); return ctx.Err() }, "a", "b")
		s.SetAside(chosen(t, s, "a"))
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) {
			upOrPick(t, s)
		}
		n := probes.Load()
		if n < 3 || n > 15 {
			t.Errorf("%d probes in ten seconds", n)
		}
		for probes.Load() == n {
			upOrPick(t, s)
			time.Sleep(time.Millisecond)
		}
		s.Close()
	})
}

// Where all members are aside, or the only one, calls go to them all the same; a
// call that is answered brings its member back.
func TestAllAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.probed(t, func(context.Context, string) error { return errors.New("sick") }, "a", "b")
		a, b := chosen(t, s, "a"), chosen(t, s, "b")
		s.SetAside(a)
		if !s.Elsewhere(a, Unary) || s.Elsewhere(b, Unary) {
			t.Error("Elsewhere is wrong with one aside")
		}
		if p, ok := s.Other(a, Unary); !ok || p.Endpoint != "b" {
			t.Errorf("other than a is %s", p.Endpoint)
		}
		s.SetAside(b)
		if s.Elsewhere(a, Unary) {
			t.Error("Elsewhere is wrong with all aside")
		}
		count := make(map[string]int)
		for range 200 {
			p := upOrPick(t, s)
			if !p.Aside() {
				t.Fatal("picked one that is not aside")
			}
			count[p.Endpoint]++
		}
		if count["a"] < 50 || count["b"] < 50 {
			t.Errorf("calls are spread as %v", count)
		}
		s.Served(b)
		for range 50 {
			if p := upOrPick(t, s); p.Endpoint != "b" {
				t.Fatalf("picked %s though another has served", p.Endpoint)
			}
		}
		s.Close()

		alone := newCluster().of(t, "a")
		p := upOrPick(t, alone)
		alone.SetAside(p)
		for range maxLosses {
			alone.Lost(p)
		}
		if p.Aside() {
			t.Error("the only member is aside")
		}
	})
}

// Losing one hedged call is nothing, losing several in a row is.
func TestLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.probed(t, func(context.Context, string) error { return errors.New("sick") }, "a", "b")
		a := chosen(t, s, "a")
		for range 10 {
			for range maxLosses - 1 {
				s.Lost(a)
			}
			s.Served(a)
		}
		if a.Aside() {
			t.Error("aside though it has served in between")
		}
		for range maxLosses {
			s.Lost(a)
		}
		if !a.Aside() {
			t.Error("not aside")
		}
		s.Close()
	})
}

// The first pick waits for a silent member no longer than stagger, and what takes
// longer is kept when it comes.
func TestStaggeredDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // the first choice is random
			c := newCluster()
			slow := func(ctx context.Context) (transport.Conn, error) {
				select {
				case <-time.After(time.Second):
					return nil, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			c.set("a", slow)
			c.set("b", slow)
			c.set("c", refuse("c"))
			s := c.of(t, "a", "b", "c", "d")
			began := time.Now()
			p := mustPick(t, s, Unary)
			if d := time.Since(began); p.Endpoint != "d" || d > 2*stagger {
				t.Errorf("picked %s after %v", p.Endpoint, d)
			}
			dialed := c.dialed("a") + c.dialed("b")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if up := c.connections("a") + c.connections("b"); up != dialed {
				t.Errorf("%d of %d slow connections are kept", up, dialed)
			}
			s.Close()
		}
	})
}

// With nothing but a member that is aside or suspect, a pick tries the others, and
// makes do with that one when they take long.
func TestSilentMembersBesideASuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.set("b", silent)
		c.set("c", silent)
		s := c.of(t, "a", "b", "c")
		for upOrPick(t, s).Endpoint != "a" {
		}
		c.last("a").become(transport.Suspect, nil)
		began := time.Now()
		if p := mustPick(t, s, Unary); p.Endpoint != "a" || time.Since(began) > 4*stagger {
			t.Errorf("picked %s after %v", p.Endpoint, time.Since(began))
		}
		s.Close()
	})
}

// While all members are down a client that keeps calling dials each of them less
// than twice a second, and finds the first that is back within two seconds.
func TestAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		names := []string{"a", "b", "c"}
		for _, a := range names {
			c.set(a, refuse(a))
		}
		s := c.of(t, names...)
		call := func() bool {
			_, ok := s.Up(Unary)
			if !ok {
				_, err := pick(s, Unary)
				ok = err == nil
			}
			time.Sleep(time.Millisecond)
			return ok
		}
		for began := time.Now(); time.Since(began) < time.Minute; {
			if call() {
				t.Fatal("picked one that refuses")
			}
		}
		for _, a := range names {
			if n := c.dialed(a); n > 120 {
				t.Errorf("%s was dialed %d times in a minute", a, n)
			}
		}
		c.set("b", nil)
		began := time.Now()
		for !call() {
		}
		if d := time.Since(began); d > backoffCap+10*time.Millisecond {
			t.Errorf("one that is back is found after %v", d)
		}
		s.Close()
	})
}

// A connection that ends young, again and again, keeps the others in use and its
// own member out no longer than the backoff lasts.
// Connections that are cut again and again, but answer meanwhile, are made anew
// within moments (robustness scenario 10: half a second of silence after each
// cut, once the backoff had grown).
func TestYoungConnectionsThatAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = true
		s := c.of(t, "a")
		for range 100 {
			mustPick(t, s, Unary)
			time.Sleep(80 * time.Millisecond)
			c.last("a").become(transport.Closed, errors.New("reset young"))
			began := time.Now()
			mustPick(t, s, Unary)
			if d := time.Since(began); d > backoffFirst {
				t.Fatalf("back after %v", d)
			}
		}
		s.Close()
	})
}

func TestYoungConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b")
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) {
			if p := upOrPick(t, s); p.Endpoint == "a" {
				c.last("a").become(transport.Closed, errors.New("reset young"))
			}
		}
		if n := c.dialed("a"); n < 5 || n > 60 {
			t.Errorf("dialed %d times in ten seconds", n)
		}
		began := time.Now() // from now on it lives
		for upOrPick(t, s).Endpoint != "a" {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(began); d > backoffCap+10*time.Millisecond {
			t.Errorf("back after %v", d)
		}
		time.Sleep(2 * stableAfter)
		c.last("a").become(transport.Closed, errors.New("reset at last")) // and is replaced at once
		for range 100 {
			upOrPick(t, s)
			synctest.Wait()
		}
		if p := chosen(t, s, "a"); p.State() != transport.Ready {
			t.Errorf("it is %v", p.State())
		}
		s.Close()
	})
}

// Choosing costs no allocation, and none either while a member is aside.
func TestUpDoesNotAllocate(t *testing.T) {
	c := newCluster()
	s := c.of(t, "a", "b", "c")
	for range 1000 {
		upOrPick(t, s)
	}
	for _, what := range []string{"all fit", "one aside"} {
		if n := testing.AllocsPerRun(1000, func() { s.Up(Unary) }); n > 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
		p := upOrPick(t, s)
		s.SetAside(p)
		p.member.health.probeDue.Store(notDue)
	}
}
