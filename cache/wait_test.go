package cache

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Readers are woken at their revision and not before, in whatever order they came and left.
func TestWaiters(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		var ws waiters
		var all []*waiter
		for range 50 {
			all = append(all, ws.add(r.Int64N(100), r.IntN(2) == 0))
			if i := r.IntN(len(all)); r.IntN(3) == 0 {
				ws.remove(all[i])
				all = slices.Delete(all, i, i+1)
			}
		}
		for revision := range int64(100) {
			_, left := ws.wake(revision)
			later := false
			for _, w := range all {
				woken := false
				select {
				case <-w.woken:
					woken = true
				default:
				}
				later = later || w.revision > revision && w.asks
				if woken != (w.revision <= revision) {
					t.Fatalf("seed %d: at %d, one for %d is woken: %v", seed, revision, w.revision, woken)
				}
			}
			if left != later {
				t.Fatalf("seed %d: at %d, some are left: %v", seed, revision, left)
			}
		}
		for _, w := range all {
			ws.remove(w) // is gone already
		}
		last := ws.add(1000, true)
		ws.wakeAll()
		<-last.woken
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Unknown.String(): "unknown", Absent.String(): "absent", Present.String(): "present", Presence(7).String(): "Presence(7)",
		StateLoading.String(): "loading", StateLive.String(): "live", StateStale.String(): "stale", StateClosed.String(): "closed", State(7).String(): "State(7)",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What is published while a reader begins to wait wakes it.
func TestReachMissesNothing(t *testing.T) {
	ca := new(Cache)
	before, after := &published{epoch: 1, revision: 4}, &published{epoch: 1, revision: 5}
	ca.current.Store(before)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p, err := ca.reach(ctx, func(p *published) bool {
		if p == before {
			ca.current.Store(after)
			ca.waiters.wake(after.revision)
		}
		return p == after
	}, after.revision, false)
	if p != after || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if len(ca.waiters.heap) > 0 {
		t.Error("the waiter is kept")
	}
}
