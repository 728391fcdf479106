package keepalive

import (
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/peertest/leasetest"
)

func TestKeepAliveSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		start := time.Now()
		l := kept(t, k, 30*time.Second)
		time.Sleep(time.Hour)
		isAlive(t, l)
		at := p.Renewals(l.ID)
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
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		var leases []*lease
		for range 1000 {
			leases = append(leases, kept(t, k, 6*time.Second))
		}
		time.Sleep(time.Minute)
		isAlive(t, leases...)
		writes := make(map[time.Time]bool)
		p.Set(func() {
			for _, r := range p.Renewed {
				writes[r.At] = true
			}
		})
		if n, _, _ := p.Count(); n < 30_000 || n > 33_000 || len(writes) > 70 {
			t.Errorf("%d renewals at %d moments; want 30,000 or some more, at a moment a second", n, len(writes))
		}
		if _, _, open := p.Count(); open > 2 {
			t.Errorf("%d streams are open", open)
		}
	})
}

// Leases that are renewed together after an outage spread out again.
func TestKeepAliveSpreadsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := leasetest.NewCluster()
		k := newKeeping(t, p, 1)
		for range 1000 {
			kept(t, k, 60*time.Second)
		}
		p.Set(func() { p.Fail = peertest.NoLeader.Err })
		time.Sleep(50 * time.Second)
		p.Set(func() { p.Fail = nil })
		time.Sleep(15 * time.Minute)
		p.Set(func() { p.Renewed = nil })
		time.Sleep(20 * time.Second)
		most := 0
		p.Set(func() {
			at := make(map[time.Time]int)
			for _, r := range p.Renewed {
				at[r.At]++
				most = max(most, at[r.At])
			}
		})
		// Of 45 renewals one in sixteen went a tick earlier: the most frequent number of ticks is that of
		// 241 leases, and 330 are more than six standard deviations from that.
		if most > 330 {
			t.Errorf("%d of 1,000 renewals at one moment", most)
		}
	})
}
