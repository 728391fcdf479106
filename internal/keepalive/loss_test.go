package keepalive

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest/leasetest"
)

// From a random moment on nothing is answered. The lease is lost no later than the
// server can expire it, and not much earlier.
func TestLeaseLostInTime(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			p.Set(func() { p.Before, p.After = 30*time.Millisecond, 30*time.Millisecond })
			k := newKeeping(t, p, 1+rand.IntN(3))
			ttl := time.Duration(1+rand.IntN(20)) * time.Second
			l := kept(t, k, ttl)
			time.Sleep(rand.N(4 * ttl))
			isAlive(t, l)
			p.Set(func() { p.Silent = true })
			deadline := l.Deadline()
			expires := p.Expires(l.ID)
			at := isLost(t, l, 2*ttl, call.ErrLeaseNotRenewed)
			// An answer may have been in flight.
			if d := l.Deadline(); d.After(deadline) {
				deadline = d
			}
			if e := p.Expires(l.ID); !e.IsZero() {
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

// Slow answers keep a lease if they arrive before the deadline.
func TestLeaseSurvivesSlowAnswers(t *testing.T) {
	const ttl = 10 * time.Second
	t.Run("constant", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 1)
			l := kept(t, k, ttl)
			p.Set(func() { p.After = ttl * 6 / 10 })
			time.Sleep(20 * ttl)
			isAlive(t, l)
		})
	})
	t.Run("growing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 1)
			l := kept(t, k, ttl)
			for d := time.Duration(0); d < ttl*9/10; d += ttl / 50 {
				p.Set(func() { p.After = d })
				time.Sleep(2 * ttl)
				isAlive(t, l)
			}
			p.Set(func() { p.After = ttl * 9 / 10 })
			time.Sleep(20 * ttl)
			isAlive(t, l)
		})
	})
	// Suddenly no renewal can be answered in time: the last answer that arrived
	// sets the deadline, and the server's deadline does not count.
	t.Run("sudden", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 1)
			l := kept(t, k, ttl)
			time.Sleep(3 * ttl)
			p.Set(func() { p.After = ttl * 9 / 10 })
			last := p.Renewals(l.ID)
			at := isLost(t, l, 2*ttl, call.ErrLeaseNotRenewed)
			if d := at.Sub(last[len(last)-1]); d > ttl {
				t.Errorf("lost %v after the last answered renewal was sent", d)
			}
		})
	})
	t.Run("requests", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 1)
			l := kept(t, k, ttl)
			p.Set(func() { p.Before = ttl * 6 / 10 })
			time.Sleep(20 * ttl)
			isAlive(t, l)
		})
	})
}

// The machine sleeps: its monotonic clock stops, but the server's does not.
func TestLeaseLostAfterSleep(t *testing.T) {
	for _, test := range []struct {
		jump time.Duration
		lost bool
	}{{time.Hour, true}, {11 * time.Second, true}, {2 * time.Second, false}, {-time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 1)
			wall := int64(0)
			k.mu.Lock()
			read := k.clock.read
			k.clock.read = func() (int64, int64) {
				m, w := read()
				return m, w + wall
			}
			k.mu.Unlock()
			l := kept(t, k, 10*time.Second)
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
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		gone, other := kept(t, k, 9*time.Second), kept(t, k, 9*time.Second)
		time.Sleep(20 * time.Second)
		p.Delete(gone.ID)
		isLost(t, gone, 3*time.Second+time.Millisecond, call.ErrLeaseExpired)
		time.Sleep(time.Minute)
		isAlive(t, other)
	})
}
