package balance

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// suspectOf makes a set of one member whose connection, which has lived, is suspect.
func (c cluster) suspectOf(t *testing.T, lane Lane, addresses ...string) (*Set, Picked) {
	s := c.of(t, addresses...)
	p := mustPick(t, s, lane)
	time.Sleep(2 * stableAfter)
	c.last(p.Endpoint).TurnSuspect()
	return s, p
}

// Behind one address there may be several members: when the connection is suspect,
// calls get another one to the same address, and the first one ends with its streams.
func TestSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lane := range lanes {
			c := newCluster()
			s, p := c.suspectOf(t, lane, "a")
			old := c.last("a")
			hold(t, old)
			if !s.Elsewhere(p, lane) {
				t.Error("there is nothing elsewhere, though another connection could be made")
			}
			if _, ok := s.Other(p, lane); ok {
				t.Error("there is another connection already")
			}
			began := time.Now()
			q := mustPick(t, s, lane)
			if q.Conn == old || q.Same(p) || q.Endpoint != "a" || time.Since(began) != 0 {
				t.Errorf("picked %+v after %v", q, time.Since(began))
			}
			if up, ok := s.Up(lane); !ok || up.Conn != q.Conn {
				t.Errorf("Up gives %+v", up)
			}
			if other, ok := s.Other(p, lane); !ok || other.Conn != q.Conn || !s.Elsewhere(p, lane) {
				t.Error("the new connection is not elsewhere")
			}
			if _, ok := s.Other(q, lane); ok || s.Elsewhere(q, lane) {
				t.Error("the connection that is drained is elsewhere")
			}
			synctest.Wait()
			if old.State() != transport.Draining || old.Closes() != 0 {
				t.Errorf("the old connection is %v, closed %d times", old.State(), old.Closes())
			}
			if n := s.States()[0].Connections; n != 1 {
				t.Errorf("%d connections", n)
			}
			old.End(gone(transport.ErrSilent))
			synctest.Wait()
			if old.Closes() != 1 {
				t.Errorf("the old connection was closed %d times", old.Closes())
			}
			if n := c.dialed("a"); n != 2 {
				t.Errorf("%d dials", n)
			}
			s.Close()
		}
	})
}

// One that is replaced while it has streams does not hold up Close.
func TestCloseWithASpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s, _ := c.suspectOf(t, Unary, "a")
		old := c.last("a")
		hold(t, old)
		mustPick(t, s, Unary)
		s.Close()
		if old.Closes() == 0 || c.last("a").Closes() == 0 {
			t.Error("a connection is left")
		}
	})
}

// While a further connection cannot be had the suspect one is used, and dials are
// neither many nor at the same time.
func TestNoSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s, p := c.suspectOf(t, Unary, "a")
		c.Member("a").Down(true)
		for range 60_000 {
			if q := upOrPick(t, s); q.Conn != p.Conn {
				t.Fatalf("picked %+v", q)
			}
			time.Sleep(time.Millisecond)
		}
		if n := c.dialed("a"); n < 30 || n > 120 {
			t.Errorf("%d dials in a minute", n)
		}

		// Silent ones are waited for, but not for long.
		c.Member("a").OnDial(peertest.Ignore)
		time.Sleep(redial.Cap)
		before := c.dialed("a")
		began := time.Now()
		for range 3 { // each call, whoever has begun to dial
			again := time.Now()
			if q := upOrPick(t, s); q.Conn != p.Conn || time.Since(again) != stagger {
				t.Errorf("picked %+v after %v", q, time.Since(again))
			}
		}
		time.Sleep(defaultDialTimeout - time.Since(began) - 1)
		for range 50 {
			go func() { _, _ = pick(s, Unary) }()
		}
		synctest.Wait()
		if n := c.dialed("a") - before; n != 1+spareRepeats {
			t.Errorf("%d attempts in one dial", n)
		}
		s.Close()
	})
}

// A connection that recovers meanwhile stays, and the new one goes.
func TestSpareThatIsNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s, p := c.suspectOf(t, Unary, "a")
		release := make(chan struct{})
		c.Member("a").OnDial(func(context.Context) error { <-release; return nil })
		s.Up(Unary)
		synctest.Wait()
		p.Conn.(*peertest.Conn).Recover()
		close(release)
		synctest.Wait()
		if q, ok := s.Up(Unary); !ok || q.Conn != p.Conn {
			t.Errorf("picked %+v", q)
		}
		if n := c.Member("a").Counts().Conns; n < 2 || c.last("a").Closes() != 1 {
			t.Errorf("%d connections, the last one closed %d times", n, c.last("a").Closes())
		}
		// A pick that has waited for the new one has the old one.
		p.Conn.(*peertest.Conn).TurnSuspect()
		release = make(chan struct{})
		time.Sleep(redial.Cap)
		picked := make(chan Picked)
		go func() { picked <- upOrPick(t, s) }()
		synctest.Wait()
		p.Conn.(*peertest.Conn).Recover()
		close(release)
		if q := <-picked; q.Conn != p.Conn {
			t.Errorf("picked %+v", q)
		}
		s.Close()
	})
}

// While another member is fit nothing is dialed beside a suspect connection, nor for
// calls that name the member.
func TestSpareOnlyWhereItHelps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b")
		for c.dialed("a")+c.dialed("b") < 2 {
			upOrPick(t, s)
			synctest.Wait()
		}
		time.Sleep(2 * stableAfter)
		a := c.last("a")
		a.TurnSuspect()
		for range 1000 {
			if p := upOrPick(t, s); p.Endpoint != "b" {
				t.Fatalf("picked %s", p.Endpoint)
			}
			time.Sleep(time.Millisecond)
		}
		if p, err := pickNamed(s, "a"); err != nil || p.Conn != a {
			t.Errorf("%+v, %v", p, err)
		}
		if n := c.dialed("a"); n != 1 {
			t.Errorf("%d dials of a", n)
		}
		// When that one is suspect too, or lost, both are dialed.
		c.last("b").TurnSuspect()
		for range 1000 {
			upOrPick(t, s)
			time.Sleep(time.Millisecond)
		}
		if c.dialed("a") != 2 && c.dialed("b") != 2 {
			t.Errorf("%d dials of a, %d of b", c.dialed("a"), c.dialed("b"))
		}
		s.Close()
	})
}

// A further connection is checked, also where there is but one endpoint: a balancer
// may have chosen the same member again, and that says nothing.
func TestSpareIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var checks atomic.Int32
		s := c.checked(t, func(ctx context.Context, _ string) (Identity, error) {
			if checks.Add(1) < 3 {
				<-ctx.Done()
				return Identity{}, ctx.Err()
			}
			return Identity{Member: 1}, nil
		}, "a")
		mustPick(t, s, Unary)
		time.Sleep(2 * stableAfter)
		if n := checks.Load(); n != 0 {
			t.Fatalf("%d checks of the only connection", n)
		}
		old := c.last("a")
		old.TurnSuspect()
		began := time.Now()
		p := mustPick(t, s, Unary)
		for p.Conn == old {
			p = mustPick(t, s, Unary)
		}
		if checks.Load() != 3 || time.Since(began) != 3*spareStagger {
			t.Errorf("picked %+v after %d checks and %v", p, checks.Load(), time.Since(began))
		}
		s.Close()
		for _, conn := range c.Member("a").Conns() {
			if conn.Closes() == 0 {
				t.Error("a connection is left")
			}
		}
	})
}

// Connections that turn suspect one after the other are few: each has its time.
func TestSparesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a")
		for range 600 {
			upOrPick(t, s)
			c.last("a").TurnSuspect()
			time.Sleep(100 * time.Millisecond)
		}
		if n := c.dialed("a"); n > 200 {
			t.Errorf("%d dials in a minute", n)
		}
		s.Close()
	})
}

// The attempts of one dial are spread out: a balancer needs a while to find out about a
// member too. A good one among them is taken at once.
func TestSparesAreSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s, p := c.suspectOf(t, Unary, "a")
		began := time.Now()
		var mu sync.Mutex // guards attempts
		var attempts []time.Duration
		c.Member("a").OnDial(func(ctx context.Context) error {
			mu.Lock()
			attempts = append(attempts, time.Since(began))
			good := len(attempts) == 5
			mu.Unlock()
			if good {
				return nil
			}
			return peertest.Ignore(ctx)
		})
		for q := p; q.Conn == p.Conn; {
			q = upOrPick(t, s)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []time.Duration{0, spareStagger, 3 * spareStagger, 7 * spareStagger, 15 * spareStagger}
		if !slices.Equal(attempts, want) || time.Since(began) != want[4] {
			t.Errorf("attempts at %v, the last one good; picked after %v", attempts, time.Since(began))
		}
		s.Close()
	})
}

// Several endpoints, all suspect: only the call that begins the dials waits for each.
func TestSparesOfSeveralMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b", "c")
		for c.dialed("a")*c.dialed("b")*c.dialed("c") == 0 {
			upOrPick(t, s)
			synctest.Wait()
		}
		time.Sleep(2 * stableAfter)
		for _, m := range c.Members() {
			m.LastConn().TurnSuspect()
			m.OnDial(peertest.Ignore)
		}
		for i := range 4 {
			began := time.Now()
			q := upOrPick(t, s)
			if took := time.Since(began); q.State() != transport.Suspect || took > 3*stagger || i > 0 && took != stagger {
				t.Errorf("pick %d: %v after %v", i, q.State(), took)
			}
		}
		s.Close()
	})
}
