package keepalive

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest/leasetest"
	"silly.store/etcd/internal/rpc"
)

// Without leases nothing runs and no stream is open.
func TestKeeperEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		for range 3 {
			l := kept(t, k, 10*time.Second)
			time.Sleep(time.Minute)
			isAlive(t, l)
			if err := revoke(t, k, l.ID); err != nil {
				t.Fatal(err)
			}
			isLost(t, l, time.Second, call.ErrLeaseRevoked)
			time.Sleep(10 * time.Second)
			k.mu.Lock()
			running := k.running
			k.mu.Unlock()
			if _, _, open := p.Count(); running || open > 0 {
				t.Errorf("running %v with %d streams", running, open)
			}
		}
	})
}

func TestCloseEndsKeeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		l := kept(t, k, 10*time.Second)
		time.Sleep(time.Minute)
		k.close()
		isLost(t, l, time.Second, call.ErrClosed)
		if p.Expires(l.ID).IsZero() {
			t.Error("Close has revoked the lease")
		}
		if _, _, err := k.Renew(t.Context(), rpc.KeepAliveOnce, l.ID); err == nil || err.Sentinel != call.ErrClosed {
			t.Errorf("Renew after Close: %v", err)
		}
		late := &lease{Entry: Entry{ID: 5}, k: k}
		late.Term(k.Now(), 10*time.Second)
		k.Add(&late.Entry)
		isLost(t, late, time.Millisecond, call.ErrClosed)
		if lost := k.reported(); len(lost) != 0 {
			t.Errorf("leases %x are reported as lost", lost)
		}
	})
}

// The server forgets a lease, and grants its ID again.
func TestSameIDGrantedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		first := keptAs(t, k, 5, 10*time.Second)
		p.Delete(5)
		second := keptAs(t, k, 5, 10*time.Second)
		isLost(t, first, time.Millisecond, call.ErrLeaseExpired)
		time.Sleep(time.Minute)
		isAlive(t, second)
		if lost := k.reported(); !slices.Equal(lost, []int64{5}) || k.Counts().Lost != 1 {
			t.Errorf("leases %x are reported as lost, %d counted; want the first one", lost, k.Counts().Lost)
		}
	})
}

// A renewal finds the lease gone while the Revoke that deleted it is in progress:
// the reason is the Revoke.
func TestRevokeSeenByRenewalFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		l := kept(t, k, 2*time.Second)
		done := make(chan *call.Error)
		p.Set(func() { p.After = 1900 * time.Millisecond })
		go func() { done <- revoke(t, k, l.ID) }()
		time.Sleep(time.Millisecond)
		p.Set(func() { p.After = 0 })
		time.Sleep(1500 * time.Millisecond)
		if len(p.Renewals(l.ID)) == 0 {
			t.Error("nothing was renewed")
		}
		isAlive(t, l)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		isLost(t, l, time.Millisecond, call.ErrLeaseRevoked)
	})
}
