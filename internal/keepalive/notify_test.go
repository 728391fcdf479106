package keepalive

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest/leasetest"
	"silly.store/etcd/internal/rpc"
)

// Listeners are called for each renewal of their lease until they are stopped or
// the lease ends.
func TestOnRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		l, other := kept(t, k, 30*time.Second), kept(t, k, 30*time.Second)

		var mu sync.Mutex
		var heard [2][]Renewal
		listen := func(i int) (stop func()) {
			return k.OnRenewal(&l.Entry, func(r Renewal) {
				mu.Lock()
				defer mu.Unlock()
				heard[i] = append(heard[i], r)
				_ = l.Deadline() // takes the keeper's lock, which must not be held here
			})
		}
		count := func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			return len(heard[0]), len(heard[1])
		}
		stop := listen(0)
		listen(1)
		time.Sleep(time.Minute)
		renewed := len(p.Renewals(l.ID))
		if a, b := count(); a != renewed || b != renewed || renewed == 0 {
			t.Errorf("%d and %d of %d renewals were reported", a, b, renewed)
		}
		for _, r := range heard[0] {
			if r.ID != l.ID || r.TTL != 30*time.Second || r.Endpoint != "a:1" || r.Margin < 19*time.Second || r.Margin > 25*time.Second {
				t.Errorf("reported: %+v", r)
			}
		}

		stop()
		stop()
		if _, _, err := k.Renew(t.Context(), rpc.KeepAliveOnce, l.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the stream's receiver calls listeners, maybe after the caller has its answer
		if a, b := count(); a != renewed || b != renewed+1 {
			t.Errorf("%d and %d renewals were reported, want %d and %d", a, b, renewed, renewed+1)
		}

		p.Delete(l.ID)
		isLost(t, l, time.Minute, call.ErrLeaseExpired)
		_, b := count()
		time.Sleep(time.Minute)
		if _, after := count(); after != b {
			t.Error("renewals of a lease that was over were reported")
		}
		k.OnRenewal(&l.Entry, func(Renewal) { t.Error("a renewal of a lease that was over was reported") })()
		isAlive(t, other)
		k.mu.Lock()
		defer k.mu.Unlock()
		if n := len(k.listeners); n != 0 {
			t.Errorf("the keeper remembers listeners of %d leases", n)
		}
	})
}
