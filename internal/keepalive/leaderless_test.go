package keepalive

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/peertest/leasetest"
	"silly.store/etcd/internal/rpc"
)

// Renewals that find no leader are reported, and other troubles are not. The lease lives
// on.
func TestLeaderless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 3)
		var reports atomic.Int32
		k.config.Leaderless = func() { reports.Add(1) }
		l := kept(t, k, 10*time.Second)
		time.Sleep(time.Minute)
		p.Cut(nil)
		p.Down(true)
		time.Sleep(4 * time.Second)
		p.Down(false)
		time.Sleep(time.Minute)
		if n := reports.Load(); n != 0 {
			t.Errorf("%d reports although there is a leader", n)
		}
		p.Set(func() { p.Fail = peertest.NoLeader.Err })
		time.Sleep(5 * time.Second)
		if reports.Load() == 0 {
			t.Error("no report that there is no leader")
		}
		p.Set(func() { p.Fail = nil })
		time.Sleep(time.Minute)
		isAlive(t, l)
	})
}

// A single renewal ends when its context limits how long it waits for a leader.
func TestRenewalWithElectionLimit(t *testing.T) {
	for _, limit := range []time.Duration{0, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := leasetest.NewCluster()
			p.Set(func() { p.Fail = peertest.NoLeader.Err })
			k := newKeeping(t, p, 3)
			began := time.Now()
			_, _, err := k.Renew(call.WithElectionLimit(t.Context(), limit), rpc.KeepAliveOnce, 7)
			took := time.Since(began)
			if err == nil || !errors.Is(err, call.ErrNoLeader) || took < limit || took > limit+300*time.Millisecond {
				t.Errorf("limit %v: after %v: %v", limit, took, err)
			}
		})
	}
}
