package balance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// probed makes a set whose members are probed by probe, and connects to all.
func (c cluster) probed(t testing.TB, probe func(ctx context.Context, address string) error, addresses ...string) *Set {
	t.Helper()
	s := New(Config{Endpoints: named(addresses...), Dial: c.Dial, Probe: func(ctx context.Context, conn transport.Conn) error {
		return probe(ctx, addressOf(conn))
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
			if gap := at[i].Sub(at[i-1]); gap > reprobe.Span(i)+20*time.Millisecond {
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
		if first > reprobe.First+20*time.Millisecond || later < reprobe.Cap/4 || later > reprobe.Cap {
			t.Errorf("back after %v at first, %v later", first, later)
		}
		time.Sleep(goodFor)
		if d := relapse(); d > reprobe.First+20*time.Millisecond {
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

// A member that has failed in one lane is probed over that lane's connection, and
// what it serves in another lane does not bring it back. One that has failed in two
// is back when it serves in both.
func TestProbedInTheLaneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		stuck := make(map[transport.Conn]bool)
		probed := make(map[transport.Conn]int)
		s := New(Config{Endpoints: named("a", "b"), Dial: c.Dial, Probe: func(_ context.Context, conn transport.Conn) error {
			probed[conn]++
			if stuck[conn] {
				return errors.New("stuck")
			}
			return nil
		}})
		defer s.Close()
		on := make(map[Lane]Picked)
		for lane := range lanes {
			p, err := s.PickNamed(t.Context(), lane, named("a")[0])
			if err != nil {
				t.Fatal(err)
			}
			on[lane] = p
		}
		// calls makes calls for a while and reports whether one went to a.
		calls := func() (toA bool) {
			for range 4000 {
				toA = toA || upOrPick(t, s).Endpoint == "a"
				time.Sleep(time.Millisecond)
				synctest.Wait()
			}
			return toA
		}

		calls() // b is up
		stuck[on[Watch].Conn] = true
		s.SetAside(on[Watch])
		s.Served(on[Unary])
		if calls() {
			t.Error("a member whose watch streams are stuck came back for what it serves in another lane")
		}
		if probed[on[Watch].Conn] == 0 || len(probed) != 1 {
			t.Errorf("probes by connection: %v, want them on the one for watches only", probed)
		}

		stuck[on[Bulk].Conn] = true
		s.SetAside(on[Bulk])
		stuck[on[Watch].Conn] = false
		if calls() {
			t.Error("a member that is stuck in one of two lanes came back")
		}
		s.Served(on[Watch])
		clear(probed)
		stuck[on[Bulk].Conn] = false
		if !calls() {
			t.Error("a member that serves again in all lanes is not back")
		}
		if len(probed) != 1 || probed[on[Bulk].Conn] == 0 {
			t.Errorf("probes by connection: %v, want them on the one for bulk only", probed)
		}
	})
}

// A member whose connection in the lane that failed is gone gets that connection
// back before it is probed.
func TestProbeReconnectsTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var probed []transport.Conn
		s := New(Config{Endpoints: named("a", "b"), Dial: c.Dial, Probe: func(_ context.Context, conn transport.Conn) error {
			probed = append(probed, conn)
			return nil
		}})
		defer s.Close()
		p, err := s.PickNamed(t.Context(), Watch, named("a")[0])
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(stableAfter)
		p.Conn.(*peertest.Conn).End(gone(errors.New("lost")))
		s.SetAside(p)
		for p.Aside() {
			upOrPick(t, s)
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if len(probed) != 1 || probed[0] != on(s, "a", Watch) {
			t.Errorf("probed %v", probed)
		}
	})
}

// on is the connection of a member for a lane.
func on(s *Set, endpoint string, lane Lane) transport.Conn {
	for _, m := range s.view.Load().members {
		if m.endpoint.Name == endpoint {
			return m.links[lane].current()
		}
	}
	return nil
}

// If all members are aside, or the only one is, calls still go to them; a
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
			slow := func(ctx context.Context) error { return peertest.Sleep(ctx, time.Second) }
			c.Member("a").OnDial(slow)
			c.Member("b").OnDial(slow)
			c.Member("c").Down(true)
			s := c.of(t, "a", "b", "c", "d")
			began := time.Now()
			p := mustPick(t, s, Unary)
			if d := time.Since(began); p.Endpoint != "d" || d > 2*stagger {
				t.Errorf("picked %s after %v", p.Endpoint, d)
			}
			dialed := c.dialed("a") + c.dialed("b")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if up := c.Member("a").Counts().Conns + c.Member("b").Counts().Conns; up != dialed {
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
		c.Member("b").OnDial(peertest.Ignore)
		c.Member("c").OnDial(peertest.Ignore)
		s := c.of(t, "a", "b", "c")
		for upOrPick(t, s).Endpoint != "a" {
		}
		c.last("a").TurnSuspect()
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
			c.Member(a).Down(true)
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
		c.Member("b").Down(false)
		began := time.Now()
		for !call() {
		}
		if d := time.Since(began); d > redial.Cap+10*time.Millisecond {
			t.Errorf("one that is back is found after %v", d)
		}
		s.Close()
	})
}

// A connection that ends young, again and again, keeps the others in use and its
// own member out no longer than the backoff lasts.
// Connections that are cut again and again, but answer in between, are replaced
// within moments (robustness scenario 10: half a second of silence after each
// cut, once the backoff had grown).
func TestYoungConnectionsThatAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a")
		for range 100 {
			if _, err := mustPick(t, s, Unary).Call(t.Context(), transport.Request{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(80 * time.Millisecond)
			c.end("a", errors.New("reset young"))
			began := time.Now()
			mustPick(t, s, Unary)
			if d := time.Since(began); d > redial.First {
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
				c.end("a", errors.New("reset young"))
			}
		}
		if n := c.dialed("a"); n < 5 || n > 60 {
			t.Errorf("dialed %d times in ten seconds", n)
		}
		began := time.Now() // from now on it lives
		for upOrPick(t, s).Endpoint != "a" {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(began); d > redial.Cap+10*time.Millisecond {
			t.Errorf("back after %v", d)
		}
		time.Sleep(2 * stableAfter)
		c.end("a", errors.New("reset at last")) // and is replaced at once
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

// A quiet connection comes after the others, in Up and where a member is
// preferred, and is used when all are quiet.
func TestQuietComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.probed(t, func(context.Context, string) error { return nil }, "a", "b", "c")
		// seen is the members that calls go to.
		seen := func() string {
			seen := make(map[string]bool)
			for range 300 {
				p, ok := s.Up(Unary)
				if !ok {
					t.Fatal("none is up")
				}
				seen[p.Endpoint] = true
			}
			return strings.Join(slices.Sorted(maps.Keys(seen)), "")
		}
		s.Prefer("a")
		c.last("a").TurnQuiet()
		if got := seen(); got != "bc" {
			t.Errorf("with a quiet, calls go to %s", got)
		}
		if p, ok := s.Preferred(Unary); ok {
			t.Errorf("%s is preferred although it is quiet", p.Endpoint)
		}
		c.last("b").TurnQuiet()
		p, _ := s.Up(Unary)
		if p.Endpoint != "c" || s.Elsewhere(p, Unary) {
			t.Errorf("with a and b quiet, calls go to %s", p.Endpoint)
		}
		c.last("c").TurnQuiet()
		if got := seen(); got != "abc" {
			t.Errorf("with all quiet, calls go to %s", got)
		}
		c.last("a").Recover()
		if p, ok := s.Preferred(Unary); !ok || p.Endpoint != "a" {
			t.Error("a is not preferred again")
		}
	})
}
