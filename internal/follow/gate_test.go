package follow

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd"
)

// A thousand followers that lose history together read two at a time, and spread.
func TestGateLetsTwoIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(etcd.Client)
		g := gateOf(c)
		defer g.leave()
		began := time.Now()
		var inside, most, late atomic.Int64
		var crowd sync.WaitGroup
		for range 1000 {
			crowd.Go(func() {
				done, err := g.pass(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer done()
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				if time.Since(began) > crowdSpread/2 {
					late.Add(1)
				}
				time.Sleep(100 * time.Microsecond)
				inside.Add(-1)
			})
		}
		crowd.Wait()
		if most.Load() != resyncsAtOnce || late.Load() < 300 || late.Load() > 700 {
			t.Errorf("%d were in at a time; %d of 1000 in the second half of the spread", most.Load(), late.Load())
		}
		if g.count(0) != 0 {
			t.Errorf("%d are still counted", g.count(0))
		}
	})
}

// One that is alone does not wait.
func TestGateAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(new(etcd.Client))
		defer g.leave()
		began := time.Now()
		for range 10 {
			done, err := g.pass(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			done()
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

// Readers that take longer than their time let others in, and give their slot back once.
func TestGateSlotsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(new(etcd.Client))
		defer g.leave()
		var slow []func()
		for range resyncsAtOnce {
			done, err := g.pass(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			slow = append(slow, done)
		}
		began := time.Now()
		done, err := g.pass(t.Context())
		if err != nil || time.Since(began) < slotTime-crowdSpread || time.Since(began) > slotTime {
			t.Errorf("let in after %v: %v", time.Since(began), err)
		}
		for _, done := range append(slow, done) {
			done()
		}
		if g.count(0) != 0 || len(g.slots) != 0 {
			t.Errorf("%d are still counted, %d slots are taken", g.count(0), len(g.slots))
		}
	})
}

// A context ends the wait, both the pause and that for a slot.
func TestGateContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(new(etcd.Client))
		defer g.leave()
		for range resyncsAtOnce {
			done, err := g.pass(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer done()
		}
		cause := errors.New("cause")
		for _, patience := range []time.Duration{1, 2 * crowdSpread} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, cause)
			if _, err := g.pass(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) {
				t.Errorf("after %v: %v", patience, err)
			}
			cancel()
		}
		if n := g.count(0); n != resyncsAtOnce {
			t.Errorf("%d are counted", n)
		}
	})
}

// The followers of a client share a gate, which goes with the last of them.
func TestGateOfAClient(t *testing.T) {
	a, b := new(etcd.Client), new(etcd.Client)
	first, second, other := gateOf(a), gateOf(a), gateOf(b)
	if first != second || first == other {
		t.Error("the gates are not those of the clients")
	}
	first.leave()
	if gateOf(a) != first {
		t.Error("the gate is gone before its followers")
	}
	for range 2 {
		first.leave()
	}
	other.leave()
	gates.mu.Lock()
	defer gates.mu.Unlock()
	if gates.of[a] != nil || gates.of[b] != nil {
		t.Error("the gate of a client without followers is kept")
	}
}
