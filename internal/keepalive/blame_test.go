package keepalive

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/peertest/leasetest"
)

// One lease among many may no longer be renewed. Each try ends its stream. The
// others are not affected, and the keeper retries the lease until its time is up.
func TestForbiddenLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		p.Set(func() { p.Before, p.Service = time.Millisecond, 50*time.Microsecond })
		k := newKeeping(t, p, 1)
		var leases []*lease
		for range 500 {
			leases = append(leases, kept(t, k, 10*time.Second))
		}
		time.Sleep(20 * time.Second)
		bad := leases[123]
		leases[123] = leases[0]
		p.Set(func() { p.Forbidden[bad.ID] = true; p.Renewed = nil })
		deadline := time.Now().Add(10 * time.Second)
		isLost(t, bad, 11*time.Second, call.ErrLeaseNotRenewed)
		if !errors.Is(bad.Err(), call.ErrPermissionDenied) {
			t.Errorf("lost because %v, want it to be found that it is denied", bad.Err())
		}
		if time.Now().After(deadline) || time.Now().Before(deadline.Add(-5*time.Second)) {
			t.Errorf("lost %v before the latest time", time.Until(deadline))
		}
		if tries := len(p.Renewals(bad.ID)); tries < 4 || tries > 20 {
			t.Errorf("it was tried %d times", tries)
		}
		if n, _, _ := p.Count(); n > 3*500+300 {
			t.Errorf("%d renewals of 500 leases in 10 s", n)
		}
		time.Sleep(time.Minute)
		isAlive(t, leases...)
	})
}

// The permission comes back before the lease is lost.
func TestForbiddenLeaseRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		l, other := kept(t, k, 10*time.Second), kept(t, k, 10*time.Second)
		p.Set(func() { p.Forbidden[l.ID] = true })
		time.Sleep(8 * time.Second)
		p.Set(func() { p.Forbidden[l.ID] = false })
		time.Sleep(time.Minute)
		isAlive(t, l, other)
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.quarantined {
			t.Error("it is in quarantine still")
		}
	})
}

// All leases are forbidden at once: this must not cost a resend of all for each.
func TestAllLeasesForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		p.Set(func() { p.Service = 100 * time.Microsecond })
		k := newKeeping(t, p, 1)
		var leases []*lease
		for range 1000 {
			leases = append(leases, kept(t, k, 10*time.Second))
		}
		time.Sleep(20 * time.Second)
		p.Set(func() {
			for _, l := range leases {
				p.Forbidden[l.ID] = true
			}
		})
		before := p.Sent()
		for _, l := range leases {
			isLost(t, l, 11*time.Second, call.ErrPermissionDenied)
		}
		if n := p.Sent() - before; n > 12*1000 {
			t.Errorf("%d renewals were sent for 1,000 leases", n)
		}
	})
}

// Without a leader a member ends every stream, and no lease is to blame.
func TestNoLeaderForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 3)
		var leases []*lease
		for range 100 {
			leases = append(leases, kept(t, k, 10*time.Second))
		}
		time.Sleep(15 * time.Second)
		p.Set(func() {
			p.Fail = peertest.NoLeader.Err
			p.Renewed = nil
		})
		time.Sleep(5 * time.Second)
		n, opened, _ := p.Count()
		if n > 500 || opened > 200 {
			t.Errorf("%d renewals on %d streams in 5 s without a leader", n, opened)
		}
		p.Set(func() { p.Fail = nil })
		time.Sleep(time.Minute)
		isAlive(t, leases...)
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, l := range leases {
			if l.quarantined {
				t.Fatal("a lease is blamed for the missing leader")
			}
		}
	})
}

// An expired lease holds up the stream until it is deleted. The renewals after it
// go elsewhere.
func TestExpiredLeaseHoldsUpAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		var leases []*lease
		for range 20 {
			leases = append(leases, kept(t, k, 2*time.Second))
		}
		time.Sleep(5 * time.Second)
		bad := leases[7]
		leases[7] = leases[0]
		// It has expired unnoticed and its deletion hangs.
		p.Set(func() {
			l := p.Leases[bad.ID]
			l.Expires = time.Now().Add(3 * time.Second)
			l.TTL = -10 * time.Second // each renewal finds it expired
		})
		time.Sleep(30 * time.Second)
		isAlive(t, leases...)
		if bad.Err() == nil {
			t.Error("the expired lease is not lost")
		}
	})
}
