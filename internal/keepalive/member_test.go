package keepalive

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest/leasetest"
)

func TestConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		p.Set(func() { p.After = 50 * time.Millisecond })
		k := newKeeping(t, p, 3)
		var leases []*lease
		for range 200 {
			leases = append(leases, kept(t, k, 3*time.Second))
		}
		for range 100 {
			time.Sleep(rand.N(time.Second))
			p.Cut(nil)
		}
		isAlive(t, leases...)

		// Unanswered renewals are sent again at once, if the connection has lived
		// long enough that its end does not count as a failure to connect.
		time.Sleep(10*time.Second + 3*time.Millisecond)
		var open []int64
		for len(open) == 0 {
			time.Sleep(10 * time.Millisecond)
			k.mu.Lock()
			for _, s := range k.kept.open {
				for _, r := range s.sent.all() {
					open = append(open, r.lease.ID)
				}
			}
			k.mu.Unlock()
		}
		cut := time.Now()
		p.Cut(nil)
		time.Sleep(250 * time.Millisecond) // two backoffs may add up
		for _, id := range open {
			at := p.Renewals(id)
			if at[len(at)-1].Before(cut) {
				t.Errorf("lease %x was under way when the connection broke and is not sent again", uint64(id))
			}
		}
	})
}

// All members are down, but for less than the remaining time of the leases.
func TestMembersGoneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 3)
		l := kept(t, k, 10*time.Second)
		time.Sleep(time.Minute)
		p.Down(true)
		p.Cut(nil)
		time.Sleep(4 * time.Second)
		p.Down(false)
		time.Sleep(time.Minute)
		isAlive(t, l)
		p.Down(true)
		p.Cut(nil)
		isLost(t, l, 10*time.Second, call.ErrLeaseNotRenewed)
		if !errors.Is(l.Err(), call.ErrUnavailable) {
			t.Errorf("lost because %v, want it to be found that nothing was reachable", l.Err())
		}
	})
}

// One of three members, the one in use, stops answering renewals although its
// connections are fine. A lease is sent when it has 4 s left, the stream is given
// up after 1 s, and the next stream goes to another member. That includes the
// blamed lease, whose pool once chose the stuck member again, by chance even twice.
func TestMemberStuck(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 3)
			var leases []*lease
			for range 100 {
				leases = append(leases, kept(t, k, 6*time.Second))
			}
			for range 5 {
				time.Sleep(10*time.Second + rand.N(6*time.Second))
				p.Set(func() { p.Stuck = p.Renewed[len(p.Renewed)-1].Address })
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

// The member behind the only address goes silent, and for a while nothing else is behind
// it. Renewals leave the suspect connection as soon as another one can be had, though no
// call asks for one.
func TestConnectionReplaced(t *testing.T) {
	const ttl = 6 * time.Second
	var left []time.Duration // of the lease nearest to its end, for each replacement
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			k := newKeeping(t, p, 1)
			var leases []*lease
			for range 100 {
				leases = append(leases, kept(t, k, ttl))
			}
			m := p.Members()[0]
			for range 5 {
				time.Sleep(10*time.Second + rand.N(ttl))
				silent := m.LastConn()
				p.Set(func() { p.Dead = silent })
				m.Down(true)
				time.Sleep(1600 * time.Millisecond)
				silent.TurnSuspect()
				time.Sleep(rand.N(700 * time.Millisecond))
				m.Down(false)
				least := ttl
				for range 40 {
					time.Sleep(100 * time.Millisecond)
					for _, l := range leases {
						least = min(least, time.Until(l.Deadline()))
					}
				}
				left = append(left, least)
			}
			isAlive(t, leases...)
		})
	}
	slices.Sort(left)
	if half := left[len(left)/2]; half < 2*time.Second {
		t.Errorf("the leases nearest to their end had %v to %v left, half of them %v or less", left[0], left[len(left)-1], half)
	}
}

// One of three members hangs.
func TestMemberHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		var leases []*lease
		for range 100 {
			leases = append(leases, kept(t, k, 5*time.Second))
		}
		time.Sleep(10 * time.Second)
		// Open streams hang; new ones work.
		p.Set(func() { p.Silent = true })
		time.Sleep(1700 * time.Millisecond)
		p.Set(func() { p.Silent = false })
		time.Sleep(20 * time.Second)
		isAlive(t, leases...)
	})
}

// A follower takes 40 ms per renewal. One stream could keep 100 leases of 12 s, which are
// renewed every 4 s; here are twenty times as many.
func TestSlowFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		var leases []*lease
		for range 2000 {
			leases = append(leases, kept(t, k, 12*time.Second))
			time.Sleep(2 * time.Millisecond)
		}
		p.Set(func() { p.Service, p.Before, p.After = 40*time.Millisecond, 5*time.Millisecond, 5*time.Millisecond })
		time.Sleep(time.Minute)
		isAlive(t, leases...)
		_, _, open := p.Count()
		if open < 20 || open > 64 {
			t.Errorf("%d streams are open; 500 renewals of 40 ms a second need at least 20", open)
		}
		// Streams that are no longer needed are given back.
		p.Set(func() { p.Service = 0 })
		time.Sleep(time.Minute)
		if _, _, open := p.Count(); open > 4 {
			t.Errorf("%d streams are open when none is needed", open)
		}
		isAlive(t, leases...)
	})
}
