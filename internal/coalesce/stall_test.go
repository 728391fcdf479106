package coalesce

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledRequests: calls that wait behind hung requests are sent.
func TestStalledRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		fillers := fillWindow(c, g)
		a := c.startGet(context.Background(), "a")
		synctest.Wait()
		began := time.Now()
		time.Sleep(2*stallTick + time.Millisecond)
		came := g.came()
		if len(came) != 1 {
			t.Fatalf("after %v %d requests", time.Since(began), len(came))
		}
		came[0].single("1")
		if r := <-a; r.err != nil {
			t.Error(r.err)
		}
		nothingIsLeft(t, c, fillers)
	})
}

// nothingIsLeft answers the fillers and checks that no request counts any longer.
func nothingIsLeft(t *testing.T, c *Coalescer, fillers []gated) {
	t.Helper()
	for _, f := range fillers {
		f.single("x")
	}
	synctest.Wait()
	if q := c.patientQueue(Get); q.inFlight != 0 || q.stalls.count != 0 {
		t.Errorf("%d under way, %d stalled", q.inFlight, q.stalls.count)
	}
}

// TestStalledRequestsHoldUpOnce: as long as requests are stalled, new calls proceed
// as if the stalled ones did not exist. They used to occupy the extra places for
// the stalled ones, and waited half a second each.
func TestStalledRequestsHoldUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		fillers := fillWindow(c, g)
		c.startGet(context.Background(), "first")
		time.Sleep(2*stallTick + time.Millisecond)
		g.came()[0].single("x")
		for i := range 3 * firstWindow {
			done := c.startGet(context.Background(), fmt.Sprint("k", i))
			came := g.came()
			if len(came) != 1 {
				t.Fatalf("call %d behind stalled ones is not sent", i)
			}
			came[0].single("x")
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
		}
		nothingIsLeft(t, c, fillers)
	})
}

// TestStallsEndWithTheirQueue: the detector is idle while nothing waits and nothing
// is in flight, and watches again once a call waits.
func TestStallsEndWithTheirQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		q := c.patientQueue(Get)
		for round := range 2 {
			fillers := fillWindow(c, g)
			if q.stalls.watching {
				t.Fatalf("round %d: it watches though no call waits", round)
			}
			c.startGet(context.Background(), "a")
			synctest.Wait()
			if !q.stalls.watching {
				t.Fatalf("round %d: it does not watch", round)
			}
			for _, f := range fillers {
				f.single("x")
			}
			g.came()[0].single("x")
			c.Wait() // for the timer too
			if q.stalls.watching {
				t.Fatalf("round %d: it watches an empty queue", round)
			}
		}
	})
}

func TestStalls(t *testing.T) {
	var s stalls
	s.watch(func() {})
	defer s.stop()
	for _, step := range []struct {
		name              string
		ended             []int // the eras of requests that have ended since the last tick
		inFlight, waiting int
		found             bool
		count             int
	}{
		{"the first tick", nil, 16, 1, false, 0},
		{"one has ended since", []int{0}, 16, 1, false, 0},
		{"no call waits", nil, 16, 0, false, 0},
		{"calls wait, and nothing has ended", nil, 16, 1, true, 16},
		{"one of the stalled has ended", []int{0}, 20, 1, false, 15},
		{"a later one has ended", []int{1}, 20, 1, false, 15},
		{"the later ones are stalled too", nil, 19, 1, true, 19},
		{"of each era one has ended", []int{0, 1, 2}, 17, 1, false, 17},
	} {
		for _, era := range step.ended {
			s.ended(era)
		}
		if found := s.look(step.inFlight, step.waiting); found != step.found || s.count != step.count {
			t.Errorf("%s: found %v, %d stalled; want %v, %d", step.name, found, s.count, step.found, step.count)
		}
	}
	if !s.stop() || s.stop() {
		t.Error("it does not stop once")
	}
}
