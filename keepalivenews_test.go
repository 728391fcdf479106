package etcd

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		l, other := kept(t, c, 30*time.Second), kept(t, c, 30*time.Second)

		var mu sync.Mutex
		var told [2][]KeepAliveResponse
		listen := func(i int) (stop func()) {
			return l.OnRenewal(func(r KeepAliveResponse) {
				mu.Lock()
				defer mu.Unlock()
				told[i] = append(told[i], r)
				_ = l.Deadline() // takes the keeper's lock, which must not be held here
			})
		}
		count := func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			return len(told[0]), len(told[1])
		}
		stop := listen(0)
		listen(1)
		time.Sleep(time.Minute)
		renewed := len(p.renewals(l.ID))
		if a, b := count(); a != renewed || b != renewed || renewed == 0 {
			t.Errorf("told of %d and %d of %d renewals", a, b, renewed)
		}
		for _, r := range told[0] {
			if r.ID != l.ID || r.TTL != 30*time.Second {
				t.Errorf("told of %+v", r)
			}
		}

		stop()
		stop()
		if _, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: l.ID}); err != nil {
			t.Fatal(err)
		}
		if a, b := count(); a != renewed || b != renewed+1 {
			t.Errorf("told of %d and %d renewals, want %d and %d", a, b, renewed, renewed+1)
		}

		p.set(func() { delete(p.leases, l.ID) })
		isLost(t, l, time.Minute, ErrLeaseExpired)
		_, b := count()
		time.Sleep(time.Minute)
		if _, after := count(); after != b {
			t.Error("told of renewals of a lease that was over")
		}
		l.OnRenewal(func(KeepAliveResponse) { t.Error("told of a lease that was over") })()
		isAlive(t, other)
		c.leases.mu.Lock()
		defer c.leases.mu.Unlock()
		if n := len(c.leases.listeners); n != 0 {
			t.Errorf("the keeper remembers listeners of %d leases", n)
		}
	})
}

func TestStopKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLessor()
		c := p.client(t, 1)
		l := kept(t, c, 10*time.Second)
		time.Sleep(time.Minute)
		l.StopKeepAlive()
		renewed := len(p.renewals(l.ID))
		start, left := time.Now(), time.Until(p.expires(l.ID))
		if d := isLost(t, l, time.Minute, ErrLeaseExpired).Sub(start); d > left || d < left-20*time.Millisecond {
			t.Errorf("lost after %v with %v left", d, left)
		}
		if n := len(p.renewals(l.ID)); n != renewed {
			t.Errorf("renewed %d times after that", n-renewed)
		}
		l.StopKeepAlive() // does nothing

		// What a Grant and two Adopts want is kept until all three want it no more.
		l = kept(t, c, 10*time.Second)
		for range 2 {
			if a, err := c.Adopt(t.Context(), l.ID); err != nil || a != l {
				t.Fatalf("%p, %v; want %p", a, err, l)
			}
		}
		l.StopKeepAlive()
		l.StopKeepAlive()
		time.Sleep(time.Minute)
		isAlive(t, l)
		l.StopKeepAlive()
		l.StopKeepAlive()
		time.Sleep(5 * time.Second)
		isAlive(t, l)
		if a, err := c.Adopt(t.Context(), l.ID); err != nil || a != l {
			t.Fatalf("taken up again: %p, %v; want %p", a, err, l)
		}
		time.Sleep(time.Minute)
		isAlive(t, l)
		if s := c.Stats(); s.LeasesLost != 0 {
			t.Errorf("%d leases count as lost", s.LeasesLost)
		}
	})
}

// sent is how many renewals clients have sent.
func (p *lessor) sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// A lease is left while its renewal is under way on a stream that then ends, or
// while it waits for one: it is not put in line again.
func TestStopKeepAliveUnderWay(t *testing.T) {
	for name, trouble := range map[string]func(*lessor){
		"silent": func(p *lessor) { p.set(func() { p.silent = true }) },
		"down":   func(p *lessor) { p.set(func() { p.down["a:1"] = true }); p.cut("") },
		"denied": func(p *lessor) {
			p.set(func() {
				p.before = 300 * time.Millisecond // so that it is told after the lease was left
				for id := range p.leases {
					p.forbidden[id] = true
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newLessor()
				c := p.client(t, 1)
				l := kept(t, c, 30*time.Second)
				time.Sleep(time.Minute)
				before := p.sent()
				trouble(p)
				for range 12_000 { // until a renewal is due, and sent if it can be
					if p.sent() > before {
						break
					}
					time.Sleep(time.Millisecond)
				}
				isAlive(t, l)
				l.StopKeepAlive()
				tries := p.sent()
				time.Sleep(500 * time.Millisecond)
				p.cut("")
				p.set(func() { p.silent, p.down = false, make(map[string]bool); clear(p.forbidden) })
				isLost(t, l, time.Minute, ErrLeaseExpired)
				if n := p.sent(); n != tries {
					t.Errorf("renewed %d times after it was left", n-tries)
				}
			})
		})
	}
}
