package cache

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/yield"
)

// field is where the flights of a test leave and land.
type field struct {
	flights
	routines sync.WaitGroup
	over     bool
	left     []*flight
	land     chan struct{} // lets one of them land
}

func newField() *field {
	f := &field{land: make(chan struct{})}
	f.flights.launch = func(fly func()) bool {
		if !f.over {
			f.routines.Go(fly)
		}
		return !f.over
	}
	f.flights.settle, f.flights.turn = func(*flight) bool { return true }, yield.New()
	f.flights.read = func(fl *flight) {
		f.mu.Lock()
		f.left = append(f.left, fl)
		f.mu.Unlock()
		<-f.land
	}
	return f
}

// A flight that has left is not joined: it may have passed the store before the call began.
func TestFlightsAreJoinedBeforeTheyLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField()
		first := f.join()
		synctest.Wait()
		second, third := f.join(), f.join()
		if first == second || second != third || len(f.left) != 1 {
			t.Errorf("joined: the one that has left %v, two different ones %v; %d have left", first == second, second != third, len(f.left))
		}
		f.land <- struct{}{}
		<-first.over
		synctest.Wait()
		if len(f.left) != 2 || f.left[1] != second {
			t.Errorf("%d have left when the first one has landed", len(f.left))
		}
		if f.join() == second {
			t.Error("the second one is joined after it has left")
		}
		f.land <- struct{}{}
		f.land <- struct{}{}
		f.routines.Wait()
	})
}

// The next flight leaves while those of the one before it wait for the cache.
func TestFlightsLeaveWhileTheCacheCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField()
		caught := make(chan struct{})
		f.settle, f.await = func(*flight) bool { return false }, func(*flight) { <-caught }
		first := f.join()
		f.land <- struct{}{}
		synctest.Wait()
		second := f.join()
		synctest.Wait()
		if first == second || len(f.left) != 2 {
			t.Errorf("%d have left", len(f.left))
		}
		select {
		case <-first.over:
			t.Error("the first one is over before the cache has caught up")
		default:
		}
		f.land <- struct{}{}
		close(caught)
		<-first.over
		<-second.over
		f.routines.Wait()
	})
}

// A flight that hangs holds the next one up for two round trips, not longer.
func TestFlightsOvertakeOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField()
		f.join()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		f.land <- struct{}{}
		synctest.Wait()
		began := time.Now()
		f.join()
		synctest.Wait()
		f.join()
		time.Sleep(20*time.Millisecond - 1)
		synctest.Wait()
		if len(f.left) != 2 {
			t.Errorf("%d have left after %v", len(f.left), time.Since(began))
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(f.left) != 3 {
			t.Errorf("%d have left after two round trips", len(f.left))
		}
		f.join() // long after the last one but one
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if len(f.left) != 4 {
			t.Errorf("%d have left", len(f.left))
		}
		for range 3 {
			f.land <- struct{}{}
		}
		f.routines.Wait()
	})
}

// A reader that asks again with the answer of a flight does not wait for another flight
// that hangs.
func TestFlightsAfterAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField()
		hang, read := make(chan struct{}), f.read
		f.read = func(*flight) { <-hang }
		f.join()
		synctest.Wait()
		f.read = read
		time.Sleep(leastHeadway)
		second := f.join()
		var asking sync.WaitGroup
		asking.Go(func() {
			<-second.over
			f.join()
		})
		f.land <- struct{}{}
		asking.Wait()
		time.Sleep(leastHeadway)
		synctest.Wait()
		if len(f.left) != 2 {
			t.Errorf("%d have left beside the one that hangs, want 2", len(f.left))
		}
		close(hang)
		f.land <- struct{}{}
		f.routines.Wait()
	})
}

// Those who wait for a flight of a cache that is closed learn it.
func TestFlightsOfAClosedCache(t *testing.T) {
	f := newField()
	f.over = true
	fl := f.join()
	<-fl.over
	if !errors.Is(fl.err, ErrClosed) {
		t.Errorf("error %v", fl.err)
	}
}
