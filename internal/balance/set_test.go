package balance

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// New connects to nothing; the first pick does, and what it got is kept.
func TestConnectsWhenNeeded(t *testing.T) {
	c := newCluster()
	release := make(chan struct{})
	c.Member("a").OnDial(func(context.Context) error { <-release; return nil })
	s := c.of(t, "a")
	if n := c.dialed("a"); n != 0 {
		t.Fatalf("dialed %d times before anything was asked for", n)
	}
	if _, ok := s.Up(Unary); ok { // which dials in the background
		t.Fatal("a connection is up before the dial has ended")
	}
	close(release)
	first := mustPick(t, s, Unary)
	if first.Endpoint != "a" {
		t.Errorf("endpoint is %q", first.Endpoint)
	}
	if p, ok := s.Up(Unary); !ok || p.Conn != first.Conn {
		t.Errorf("Up gives %v, %v", p, ok)
	}
	if mustPick(t, s, Unary).Conn != first.Conn || c.dialed("a") != 1 {
		t.Errorf("dialed %d times", c.dialed("a"))
	}
	// Each lane has its own connection.
	if watch := mustPick(t, s, Watch); watch.Conn == first.Conn || c.dialed("a") != 2 {
		t.Error("the watch lane shares the unary lane's connection")
	}
}

// Callers share a dial; each waits only as long as its own context.
func TestSharedDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		release := make(chan struct{})
		c.Member("a").OnDial(func(context.Context) error { <-release; return nil })
		s := c.of(t, "a")
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := pick(s, Unary); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := s.Pick(ctx, Unary)
		var e *transport.Error
		if !errors.As(err, &e) || e.Outcome != transport.NotSent || e.Code != transport.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller whose context ends gets %v", err)
		}
		if !strings.Contains(err.Error(), "connecting to a") {
			t.Errorf("error does not name the endpoint: %v", err)
		}
		close(release)
		callers.Wait()
		if c.dialed("a") != 1 {
			t.Errorf("dialed %d times", c.dialed("a"))
		}
		s.Close()
	})
}

// When every member refuses, a pick fails at once and names each.
func TestEveryMemberRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for _, a := range []string{"a", "b", "c"} {
			c.Member(a).Down(true)
		}
		s := c.of(t, "a", "b", "c")
		began := time.Now()
		_, err := s.Pick(t.Context(), Unary)
		if d := time.Since(began); d > 0 {
			t.Errorf("took %v", d)
		}
		var e *transport.Error
		var u *UnreachableError
		if !errors.As(err, &e) || e.Code != transport.Unavailable || e.Outcome != transport.NotSent || !errors.As(err, &u) || len(u.Failures) != 3 {
			t.Fatalf("error is %v", err)
		}
		for _, a := range []string{"a: a refuses", "b: b refuses", "c: c refuses"} {
			if !strings.Contains(err.Error(), a) {
				t.Errorf("%q lacks %q", err, a)
			}
		}
		s.Close()
	})
}

// Failed members are tried again after a time that grows, with jitter, to two
// seconds at most; one that is down costs a caller no more than that.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var mu sync.Mutex        // guards gaps and last
		var gaps []time.Duration // a pick may see two dials: the one it starts in passing, and its own
		var last time.Time
		c.Member("a").OnDial(func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if !last.IsZero() {
				gaps = append(gaps, time.Since(last))
			}
			last = time.Now()
			return peertest.Refuse("a")(ctx)
		})
		s := c.of(t, "a")
		for over := false; !over; {
			if _, err := pick(s, Unary); err == nil {
				t.Fatal("a member that refuses is picked")
			}
			time.Sleep(time.Millisecond)
			mu.Lock()
			over = len(gaps) >= 60
			mu.Unlock()
		}
		for i, gap := range gaps {
			span := redial.Span(i)
			if gap > span+2*time.Millisecond {
				t.Errorf("gap %d is %v, its span %v", i, gap, span)
			}
		}
		var sum time.Duration
		for _, gap := range gaps[20:] {
			sum += gap
		}
		if mean := sum / time.Duration(len(gaps)-20); mean < redial.Cap/4 || mean > redial.Cap*3/4 {
			t.Errorf("mean of the later gaps is %v, want about a second", mean)
		}
		// Back at last: within the cap.
		c.Member("a").Down(false)
		began := time.Now()
		for {
			if _, err := pick(s, Unary); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(began); d > redial.Cap+10*time.Millisecond {
			t.Errorf("a member that is back is found after %v", d)
		}
		s.Close()
	})
}

// A short backoff is waited for, within the context.
func TestShortBackoffIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("a").Down(true)
		s := c.of(t, "a")
		if _, err := pick(s, Unary); err == nil {
			t.Fatal("picked")
		}
		c.Member("a").Down(false)
		if _, err := pick(s, Unary); err != nil {
			t.Errorf("a member that is back within its first backoff: %v", err)
		}
		s.Close()
	})
}

// A member that refuses is passed over for the others, and comes back.
func TestFailover(t *testing.T) {
	c := newCluster()
	c.Member("a").Down(true)
	c.Member("b").Down(true)
	s := c.of(t, "a", "b", "c")
	for range 20 {
		if p := mustPick(t, s, Unary); p.Endpoint != "c" {
			t.Fatalf("picked %s", p.Endpoint)
		}
	}
	c.Member("a").Down(false)
	c.Member("b").Down(false)
	seen := make(map[string]bool)
	for deadline := time.Now().Add(10 * time.Second); len(seen) < 3; {
		if time.Now().After(deadline) {
			t.Fatalf("only %v are used after all are back", seen)
		}
		if p, ok := s.Up(Unary); ok {
			seen[p.Endpoint] = true
			continue
		}
		mustPick(t, s, Unary)
		<-time.After(time.Millisecond)
	}
}

// Calls spread over the members that are up, also over those that were not the
// first choice.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b", "c")
		count := make(map[string]int)
		for range 3000 {
			p, ok := s.Up(Unary)
			if !ok {
				p = mustPick(t, s, Unary)
			}
			synctest.Wait() // the dial that it may have started is over
			count[p.Endpoint]++
		}
		for _, a := range []string{"a", "b", "c"} {
			if count[a] < 800 {
				t.Errorf("%s got %d of 3000 calls", a, count[a])
			}
		}
		s.Close()
	})
}

// A suspect member is avoided, also while no other is connected yet, but used
// when there is no other. See spare_test.go for a further connection to it.
func TestSuspectIsTheLastResort(t *testing.T) {
	c := newCluster()
	c.Member("b").Down(true)
	s := c.of(t, "a", "b")
	mustPick(t, s, Unary)
	c.Member("a").Down(true)
	c.last("a").TurnSuspect()
	if _, ok := s.Up(Unary); ok {
		t.Error("Up gives a suspect member")
	}
	for range 10 {
		if p := mustPick(t, s, Unary); p.Endpoint != "a" {
			t.Fatalf("picked %s", p.Endpoint)
		}
	}

	var fresh cluster
	for endpoint := ""; endpoint != "a"; { // the first choice is random
		fresh = newCluster()
		s = fresh.of(t, "a", "b")
		endpoint = mustPick(t, s, Unary).Endpoint
	}
	suspect := fresh.last("a")
	suspect.TurnSuspect()
	for range 20 {
		if p := mustPick(t, s, Unary); p.Conn == suspect {
			t.Fatal("picked the suspect connection though another could be had")
		}
	}
}

// A connection that ends is replaced: at once when it had lived, after a
// backoff when it dies young, so that a server that accepts and hangs up is not
// dialed in a loop.
func TestReplacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a")
		mustPick(t, s, Unary)
		time.Sleep(2 * stableAfter)
		old := c.last("a")
		old.End(gone(errors.New("reset")))
		began := time.Now()
		mustPick(t, s, Unary)
		if d := time.Since(began); d > 0 {
			t.Errorf("replacing a connection that had lived took %v", d)
		}
		synctest.Wait()
		if old.Closes() != 1 {
			t.Errorf("the old connection was closed %d times", old.Closes())
		}

		// From now on each dies at once.
		dials := c.dialed("a")
		began = time.Now()
		for time.Since(began) < 10*time.Second {
			if _, err := pick(s, Unary); err == nil {
				c.end("a", errors.New("reset young"))
			} else if !strings.Contains(err.Error(), "reset young") {
				t.Errorf("error does not say why: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
		if n := c.dialed("a") - dials; n > 60 {
			t.Errorf("a server that hangs up was dialed %d times in ten seconds", n)
		}
		s.Close()
	})
}

// A draining connection keeps its streams while another takes the new calls.
func TestDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a")
		hold(t, mustPick(t, s, Unary))
		time.Sleep(2 * stableAfter)
		old := c.last("a")
		old.Drain()
		if p := mustPick(t, s, Unary); p.Conn == transport.Conn(old) {
			t.Error("a draining connection is picked")
		}
		synctest.Wait()
		if old.Closes() != 0 {
			t.Error("a draining connection was closed under its streams")
		}
		s.Close()
		if old.Closes() == 0 {
			t.Error("Close leaves a draining connection behind")
		}
	})
}

// A member that complains of too many PINGs gets fewer.
func TestPingSpacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a")
		for _, want := range []time.Duration{0, 0, 12 * time.Second, 24 * time.Second} {
			mustPick(t, s, Unary)
			conn := c.last("a")
			if conn.Target.PingSpacing != want {
				t.Errorf("PINGs are %v apart, want %v", conn.Target.PingSpacing, want)
			}
			time.Sleep(2 * stableAfter)
			reason := transport.ErrTooManyPings
			if c.dialed("a") == 1 {
				reason = transport.ErrSilent
			}
			conn.End(gone(reason))
		}
		s.Close()
	})
}

// The dial timeout is no context error of the caller.
func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("a").OnDial(peertest.Ignore)
		s := c.of(t, "a")
		began := time.Now()
		_, err := pick(s, Unary)
		if d := time.Since(began); d != defaultDialTimeout {
			t.Errorf("took %v", d)
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no connection within 5s") {
			t.Errorf("error is %v", err)
		}
		s.Close()
	})
}

// A member that accepts and stays silent holds a caller no longer than its
// context, and others not at all once some member is up.
func TestSilentMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("a").OnDial(peertest.Ignore)
		s := c.of(t, "a", "b")
		for p, err := pick(s, Unary); p.Endpoint != "b"; p, err = pick(s, Unary) {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			began := time.Now()
			if p := mustPick(t, s, Unary); p.Endpoint != "b" || time.Since(began) > 0 {
				t.Fatalf("picked %s after %v", p.Endpoint, time.Since(began))
			}
		}
		s.Close()
	})
}

// Close ends dials and waiting picks, closes what is there, and may be called
// again; later picks say so.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.of(t, "a", "b")
		up := mustPick(t, s, Unary)
		c.Member("a").OnDial(peertest.Ignore)
		c.Member("b").OnDial(peertest.Ignore)
		waiting := make(chan error, 1)
		go func() { _, err := pick(s, Watch); waiting <- err }()
		synctest.Wait()
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(s.Close)
		}
		closers.Wait()
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("a pick under way gets %v", err)
		}
		if n := up.Conn.(*peertest.Conn).Closes(); n != 1 {
			t.Errorf("the connection was closed %d times", n)
		}
		_, err := pick(s, Unary)
		var e *transport.Error
		if !errors.Is(err, ErrClosed) || !errors.As(err, &e) || e.Outcome != transport.NotSent || e.Code != transport.Canceled {
			t.Errorf("a pick after Close gets %v", err)
		}
		if _, ok := s.Up(Unary); ok {
			t.Error("Up gives a connection after Close")
		}
	})
}

// A dial that succeeds just as the set is closed leaves no connection behind.
func TestCloseDuringASuccessfulDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("a").OnDial(func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
		s := c.of(t, "a")
		got := make(chan error, 1)
		go func() { _, err := pick(s, Unary); got <- err }()
		synctest.Wait()
		s.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("pick gets %v", err)
		}
		if c.last("a").Closes() != 1 {
			t.Errorf("the late connection was closed %d times", c.last("a").Closes())
		}
	})
}

// The lanes of a member that is down share what is tried, and each connects at
// once when one of them has found it back.
func TestLanesBackOffTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("a").Down(true)
		s := c.of(t, "a")
		defer s.Close()
		const span = 5 * time.Minute
		for began := time.Now(); time.Since(began) < span; time.Sleep(10 * time.Millisecond) {
			for lane := range lanes {
				if _, err := pick(s, lane); err == nil {
					t.Fatal("a member that refuses is picked")
				}
			}
		}
		// Each alone would make one about every second.
		if most := int(span/time.Second) * 3 / 2; c.dialed("a") > most {
			t.Errorf("%d dials in %v, want %d at most", c.dialed("a"), span, most)
		}
		c.Member("a").Down(false)
		time.Sleep(redial.Cap)
		for lane := range lanes {
			if _, err := pick(s, lane); err != nil {
				t.Errorf("lane %d, when the member is back: %v", lane, err)
			}
		}
	})
}

// A pick that its context ends knows why it could not connect before.
func TestInterruptedPickKnowsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := peertest.NewCluster("a", "b")
		cluster.Member("a").Down(true)
		cluster.Member("b").OnDial(peertest.Ignore)
		s := New(Config{Endpoints: []Endpoint{endpointOf("a"), endpointOf("b")}, Dial: cluster.Dial})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Pick(ctx, Unary)
		var end *InterruptedError
		var last *UnreachableError
		if !errors.As(err, &end) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(end.Last, &last) {
			t.Fatalf("error %#v", err)
		}
		if len(last.Failures) != 1 || last.Failures[0].Endpoint != "a" || !strings.Contains(end.Last.Error(), "a refuses") {
			t.Errorf("failures %v", last)
		}
		if errors.As(err, &last) {
			t.Errorf("what was before is the cause of %v", err)
		}
		_, err = s.PickNamed(ctx, Unary, endpointOf("b"))
		if !errors.As(err, &end) || end.Last != nil {
			t.Errorf("b has not failed: %v", err)
		}
	})
}
