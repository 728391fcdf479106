package etcd

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// kept grants a lease.
func kept(t testing.TB, c *Client, ttl time.Duration) *Lease {
	t.Helper()
	l, err := c.Grant(t.Context(), GrantRequest{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// isLost waits until a lease is lost and returns when that was.
func isLost(t testing.TB, l *Lease, within time.Duration, reason error) time.Time {
	t.Helper()
	select {
	case <-l.Done():
	case <-time.After(within):
		t.Fatalf("not lost after %v", within)
	}
	if !errors.Is(l.Err(), reason) {
		t.Errorf("lost because %v, want %v", l.Err(), reason)
	}
	return time.Now()
}

func isAlive(t testing.TB, leases ...*Lease) {
	t.Helper()
	for _, l := range leases {
		if err := l.Err(); err != nil {
			t.Fatalf("lease %x is lost: %v", uint64(l.ID), err)
		}
	}
}

func TestKeepAliveSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		start := time.Now()
		l := kept(t, c, 30*time.Second)
		time.Sleep(time.Hour)
		isAlive(t, l)
		at := p.renewals(l.ID)
		if first := at[0].Sub(start); first < 5*time.Second || first > 10*time.Second {
			t.Errorf("first renewal after %v, want 5 to 10 s", first)
		}
		short := 0
		for i := 1; i < len(at); i++ {
			gap := at[i].Sub(at[i-1])
			if gap < 9*time.Second || gap > 10*time.Second {
				t.Fatalf("%v between two renewals, want 9 to 10 s", gap)
			}
			if gap < 10*time.Second {
				short++
			}
		}
		if short < 2 || short > len(at)/5 {
			t.Errorf("%d of %d renewals came a tick sooner, want one in sixteen", short, len(at))
		}
	})
}

func TestKeepAliveGoesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		var leases []*Lease
		for range 1000 {
			leases = append(leases, kept(t, c, 6*time.Second))
		}
		time.Sleep(time.Minute)
		isAlive(t, leases...)
		writes := make(map[time.Time]bool)
		p.set(func() {
			for _, r := range p.renewed {
				writes[r.at] = true
			}
		})
		if n, _, _ := p.count(); n < 30_000 || n > 33_000 || len(writes) > 70 {
			t.Errorf("%d renewals at %d moments; want 30,000 or some more, at a moment a second", n, len(writes))
		}
		if _, _, open := p.count(); open > 2 {
			t.Errorf("%d streams are open", open)
		}
	})
}

// Leases that are renewed together, because they could not be for a while, are
// spread out again.
func TestKeepAliveSpreadsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		for range 1000 {
			kept(t, c, 60*time.Second)
		}
		p.set(func() { p.fail = answeredWith("etcdserver: no leader") })
		time.Sleep(50 * time.Second)
		p.set(func() { p.fail = nil })
		time.Sleep(15 * time.Minute)
		p.set(func() { p.renewed = nil })
		time.Sleep(20 * time.Second)
		most := 0
		p.set(func() {
			at := make(map[time.Time]int)
			for _, r := range p.renewed {
				at[r.at]++
				most = max(most, at[r.at])
			}
		})
		if most > 300 {
			t.Errorf("%d of 1,000 renewals at one moment", most)
		}
	})
}

// Nothing is answered from a random moment on: the lease is lost no later than
// the server can expire it, and not much earlier.
func TestLeaseLostInTime(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			p.set(func() { p.before, p.after = 30*time.Millisecond, 30*time.Millisecond })
			c := p.client(t, 1+rand.IntN(3))
			ttl := time.Duration(1+rand.IntN(20)) * time.Second
			l := kept(t, c, ttl)
			time.Sleep(rand.N(4 * ttl))
			isAlive(t, l)
			p.set(func() { p.silent = true })
			deadline := l.Deadline()
			expires := p.expires(l.ID)
			at := isLost(t, l, 2*ttl, ErrLeaseNotRenewed)
			// An answer may have been on its way.
			if d := l.Deadline(); d.After(deadline) {
				deadline = d
			}
			if e := p.expires(l.ID); !e.IsZero() {
				expires = e
			}
			if at.After(expires) {
				t.Errorf("TTL %v: lost %v after the server may delete it", ttl, at.Sub(expires))
			}
			if early := expires.Sub(at); early > 100*time.Millisecond+ttl/clockDrift {
				t.Errorf("TTL %v: lost %v early", ttl, early)
			}
			if at.Sub(deadline).Abs() > time.Microsecond {
				t.Errorf("lost at %v, Deadline said %v", at, deadline)
			}
		})
	}
}

// Answers that are slow, but come before the deadline, keep a lease.
func TestLeaseSurvivesSlowAnswers(t *testing.T) {
	const ttl = 10 * time.Second
	t.Run("constant", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			c := p.client(t, 1)
			l := kept(t, c, ttl)
			p.set(func() { p.after = ttl * 6 / 10 })
			time.Sleep(20 * ttl)
			isAlive(t, l)
		})
	})
	t.Run("growing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			c := p.client(t, 1)
			l := kept(t, c, ttl)
			for d := time.Duration(0); d < ttl*9/10; d += ttl / 50 {
				p.set(func() { p.after = d })
				time.Sleep(2 * ttl)
				isAlive(t, l)
			}
			p.set(func() { p.after = ttl * 9 / 10 })
			time.Sleep(20 * ttl)
			isAlive(t, l)
		})
	})
	// From one moment to the next no renewal can answer in time: the last answer
	// that came sets the deadline, and the server's does not count.
	t.Run("sudden", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			c := p.client(t, 1)
			l := kept(t, c, ttl)
			time.Sleep(3 * ttl)
			p.set(func() { p.after = ttl * 9 / 10 })
			last := p.renewals(l.ID)
			at := isLost(t, l, 2*ttl, ErrLeaseNotRenewed)
			if d := at.Sub(last[len(last)-1]); d > ttl {
				t.Errorf("lost %v after the last answered renewal was sent", d)
			}
		})
	})
	t.Run("requests", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			c := p.client(t, 1)
			l := kept(t, c, ttl)
			p.set(func() { p.before = ttl * 6 / 10 })
			time.Sleep(20 * ttl)
			isAlive(t, l)
		})
	})
}

// The machine sleeps: its monotonic clock stops, the server's does not.
func TestLeaseLostAfterSleep(t *testing.T) {
	for _, test := range []struct {
		jump time.Duration
		lost bool
	}{{time.Hour, true}, {11 * time.Second, true}, {2 * time.Second, false}, {-time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			c := p.client(t, 1)
			k := &c.leases
			wall := int64(0)
			k.mu.Lock()
			read := k.clock.read
			k.clock.read = func() (int64, int64) {
				m, w := read()
				return m, w + wall
			}
			k.mu.Unlock()
			l := kept(t, c, 10*time.Second)
			time.Sleep(time.Minute)
			isAlive(t, l)
			k.mu.Lock()
			wall += int64(test.jump)
			k.mu.Unlock()
			time.Sleep(1100 * time.Millisecond)
			if lost := l.Err() != nil; lost != test.lost {
				t.Errorf("jump of %v: lost: %v, want %v: %v", test.jump, lost, test.lost, l.Err())
			}
		})
	}
}

func TestLeaseGoneOnTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		gone, other := kept(t, c, 9*time.Second), kept(t, c, 9*time.Second)
		time.Sleep(20 * time.Second)
		p.set(func() { p.revokeLocked(gone.ID) })
		isLost(t, gone, 3*time.Second+time.Millisecond, ErrLeaseExpired)
		time.Sleep(time.Minute)
		isAlive(t, other)
	})
}

// One lease among many may not be renewed any more. Each try ends its stream.
// The others do not suffer, and it is tried again until its time is up.
func TestForbiddenLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		p.set(func() { p.before, p.service = time.Millisecond, 50*time.Microsecond })
		c := p.client(t, 1)
		var leases []*Lease
		for range 500 {
			leases = append(leases, kept(t, c, 10*time.Second))
		}
		time.Sleep(20 * time.Second)
		bad := leases[123]
		leases[123] = leases[0]
		p.set(func() { p.forbidden[bad.ID] = true; p.renewed = nil })
		deadline := time.Now().Add(10 * time.Second)
		isLost(t, bad, 11*time.Second, ErrLeaseNotRenewed)
		if !errors.Is(bad.Err(), ErrPermissionDenied) {
			t.Errorf("lost because %v, want it to be found that it is denied", bad.Err())
		}
		if time.Now().After(deadline) || time.Now().Before(deadline.Add(-5*time.Second)) {
			t.Errorf("lost %v before the latest time", time.Until(deadline))
		}
		if tries := len(p.renewals(bad.ID)); tries < 4 || tries > 20 {
			t.Errorf("it was tried %d times", tries)
		}
		if n, _, _ := p.count(); n > 3*500+300 {
			t.Errorf("%d renewals of 500 leases in 10 s", n)
		}
		time.Sleep(time.Minute)
		isAlive(t, leases...)
	})
}

// The permission comes back before the lease is lost.
func TestForbiddenLeaseRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		l, other := kept(t, c, 10*time.Second), kept(t, c, 10*time.Second)
		p.set(func() { p.forbidden[l.ID] = true })
		time.Sleep(8 * time.Second)
		p.set(func() { p.forbidden[l.ID] = false })
		time.Sleep(time.Minute)
		isAlive(t, l, other)
		l.keeper.mu.Lock()
		defer l.keeper.mu.Unlock()
		if l.alone {
			t.Error("it is in quarantine still")
		}
	})
}

// All leases are forbidden at once: this must not cost a resend of all for each.
func TestAllLeasesForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		p.set(func() { p.service = 100 * time.Microsecond })
		c := p.client(t, 1)
		var leases []*Lease
		for range 1000 {
			leases = append(leases, kept(t, c, 10*time.Second))
		}
		time.Sleep(20 * time.Second)
		p.set(func() {
			for _, l := range leases {
				p.forbidden[l.ID] = true
			}
			p.asked = 0
		})
		for _, l := range leases {
			isLost(t, l, 11*time.Second, ErrPermissionDenied)
		}
		if p.asked > 12*1000 {
			t.Errorf("%d renewals were sent for 1,000 leases", p.asked)
		}
	})
}

// Without a leader a member ends every stream, which is nobody's fault.
func TestNoLeaderForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 3)
		var leases []*Lease
		for range 100 {
			leases = append(leases, kept(t, c, 10*time.Second))
		}
		time.Sleep(15 * time.Second)
		p.set(func() {
			p.fail = answeredWith("etcdserver: no leader")
			p.renewed = nil
		})
		time.Sleep(5 * time.Second)
		n, opened, _ := p.count()
		if n > 500 || opened > 200 {
			t.Errorf("%d renewals on %d streams in 5 s without a leader", n, opened)
		}
		p.set(func() { p.fail = nil })
		time.Sleep(time.Minute)
		isAlive(t, leases...)
		c.leases.mu.Lock()
		defer c.leases.mu.Unlock()
		for _, l := range leases {
			if l.alone {
				t.Fatal("a lease is blamed for the missing leader")
			}
		}
	})
}

// An expired lease holds up the stream until it is deleted. What is behind it
// goes elsewhere.
func TestExpiredLeaseHoldsUpAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		var leases []*Lease
		for range 20 {
			leases = append(leases, kept(t, c, 2*time.Second))
		}
		time.Sleep(5 * time.Second)
		bad := leases[7]
		leases[7] = leases[0]
		// It has expired behind our back and its deletion hangs.
		p.set(func() {
			l := p.leases[bad.ID]
			l.expires = time.Now().Add(3 * time.Second)
			l.ttl = -10 * time.Second // each renewal finds it expired
		})
		time.Sleep(30 * time.Second)
		isAlive(t, leases...)
		if bad.Err() == nil {
			t.Error("the expired lease is not lost")
		}
	})
}

func TestConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		p.set(func() { p.after = 50 * time.Millisecond })
		c := p.client(t, 3)
		var leases []*Lease
		for range 200 {
			leases = append(leases, kept(t, c, 3*time.Second))
		}
		for range 100 {
			time.Sleep(rand.N(time.Second))
			p.cut("")
		}
		isAlive(t, leases...)

		// What was unanswered is sent again at once, if the connection has lived
		// long enough for its end not to be taken for a failure to connect.
		time.Sleep(10*time.Second + 3*time.Millisecond)
		var open []LeaseID
		for len(open) == 0 {
			time.Sleep(10 * time.Millisecond)
			k := &c.leases
			k.mu.Lock()
			for _, s := range k.kept.open {
				for _, r := range s.sent.all() {
					open = append(open, r.lease.ID)
				}
			}
			k.mu.Unlock()
		}
		cut := time.Now()
		p.cut("")
		time.Sleep(250 * time.Millisecond) // two backoffs may add up
		for _, id := range open {
			at := p.renewals(id)
			if at[len(at)-1].Before(cut) {
				t.Errorf("lease %x was under way when the connection broke and is not sent again", uint64(id))
			}
		}
	})
}

// All members are gone for less than what the leases have left.
func TestMembersGoneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 3)
		l := kept(t, c, 10*time.Second)
		time.Sleep(time.Minute)
		gone := func(down bool) {
			p.set(func() {
				for _, a := range []string{"a:1", "b:1", "c:1"} {
					p.down[a] = down
				}
			})
		}
		gone(true)
		p.cut("")
		time.Sleep(4 * time.Second)
		gone(false)
		time.Sleep(time.Minute)
		isAlive(t, l)
		gone(true)
		p.cut("")
		isLost(t, l, 10*time.Second, ErrLeaseNotRenewed)
		if !errors.Is(l.Err(), ErrUnavailable) {
			t.Errorf("lost because %v, want it to be found that nothing was reachable", l.Err())
		}
	})
}

// One of three members, the one in use, answers no renewals any more, though its
// connections are well. A lease is sent when it has 4 s left, the stream is given
// up after 1 s, and the next one is of another member: also for the lease that is
// blamed, whose pool once chose the stuck member again, by chance even twice.
func TestMemberStuck(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p := newLessor()
			c := p.client(t, 3)
			var leases []*Lease
			for range 100 {
				leases = append(leases, kept(t, c, 6*time.Second))
			}
			for range 5 {
				time.Sleep(10*time.Second + rand.N(6*time.Second))
				p.set(func() { p.stuck = p.renewed[len(p.renewed)-1].addr })
				least := 6 * time.Second
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					for _, l := range leases {
						least = min(least, time.Until(l.Deadline()))
					}
				}
				isAlive(t, leases...)
				if least < 2500*time.Millisecond {
					t.Errorf("the nearest to its end had %v left", least)
				}
			}
		})
	}
}

// One of three members hangs.
func TestMemberHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		var leases []*Lease
		for range 100 {
			leases = append(leases, kept(t, c, 5*time.Second))
		}
		time.Sleep(10 * time.Second)
		// Streams that are open hang; new ones work.
		p.set(func() { p.silent = true })
		time.Sleep(1700 * time.Millisecond)
		p.set(func() { p.silent = false })
		time.Sleep(20 * time.Second)
		isAlive(t, leases...)
	})
}

// A follower that takes 10 ms for each renewal: one stream could keep 1,200
// leases of 12 s, here are ten times as many.
func TestSlowFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		var leases []*Lease
		for range 8000 {
			leases = append(leases, kept(t, c, 12*time.Second))
			time.Sleep(time.Millisecond / 2)
		}
		p.set(func() { p.service, p.before, p.after = 10*time.Millisecond, 5*time.Millisecond, 5*time.Millisecond })
		time.Sleep(time.Minute)
		isAlive(t, leases...)
		_, _, open := p.count()
		if open < 20 || open > 64 {
			t.Errorf("%d streams are open; 2,000 renewals of 10 ms a second need at least 20", open)
		}
		// What is not needed any longer is given back.
		p.set(func() { p.service = 0 })
		time.Sleep(time.Minute)
		if _, _, open := p.count(); open > 4 {
			t.Errorf("%d streams are open when none is needed", open)
		}
		isAlive(t, leases...)
	})
}

// Without leases nothing runs and no stream is open.
func TestKeeperEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		for range 3 {
			l := kept(t, c, 10*time.Second)
			time.Sleep(time.Minute)
			isAlive(t, l)
			if _, err := c.Revoke(t.Context(), RevokeRequest{ID: l.ID}); err != nil {
				t.Fatal(err)
			}
			isLost(t, l, time.Second, ErrLeaseRevoked)
			time.Sleep(10 * time.Second)
			k := &c.leases
			k.mu.Lock()
			running := k.running
			k.mu.Unlock()
			if _, _, open := p.count(); running || open > 0 {
				t.Errorf("running %v with %d streams", running, open)
			}
		}
	})
}

func TestCloseEndsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		l := kept(t, c, 10*time.Second)
		time.Sleep(time.Minute)
		_ = c.Close()
		isLost(t, l, time.Second, ErrClosed)
		if p.expires(l.ID).IsZero() {
			t.Error("Close has revoked the lease")
		}
		if _, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: l.ID}); !errors.Is(err, ErrClosed) {
			t.Errorf("KeepAliveOnce after Close: %v", err)
		}
		if _, err := c.Adopt(t.Context(), l.ID); !errors.Is(err, ErrClosed) {
			t.Errorf("Adopt after Close: %v", err)
		}
	})
}
