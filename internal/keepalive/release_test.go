package keepalive

import (
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest/leasetest"
)

// A lease is released while its renewal is in flight on a stream that then ends, or
// while it waits for a stream: it is not queued again.
func TestReleaseUnderWay(t *testing.T) {
	for name, trouble := range map[string]func(*leasetest.Cluster){
		"silent": func(p *leasetest.Cluster) { p.Set(func() { p.Silent = true }) },
		"down":   func(p *leasetest.Cluster) { p.Down(true); p.Cut(nil) },
		"denied": func(p *leasetest.Cluster) {
			p.Set(func() {
				p.Before = 300 * time.Millisecond // so that the stream ends after the lease was left
				for id := range p.Leases {
					p.Forbidden[id] = true
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := leasetest.NewCluster()
				k := newKeeping(t, p, 1)
				l := kept(t, k, 30*time.Second)
				time.Sleep(time.Minute)
				before := p.Sent()
				trouble(p)
				for range 12_000 { // until a renewal is due, and sent if it can be
					if p.Sent() > before {
						break
					}
					time.Sleep(time.Millisecond)
				}
				isAlive(t, l)
				k.Release(&l.Entry)
				tries := p.Sent()
				time.Sleep(500 * time.Millisecond)
				p.Cut(nil)
				p.Down(false)
				p.Set(func() { p.Silent = false; clear(p.Forbidden) })
				isLost(t, l, time.Minute, call.ErrLeaseExpired)
				if n := p.Sent(); n != tries {
					t.Errorf("renewed %d times after it was left", n-tries)
				}
			})
		})
	}
}
