package alarm

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// owner is an owner of one alarm, with what it needs.
type owner struct {
	mu       sync.Mutex
	routines sync.WaitGroup
	alarm    Alarm
	rung     []time.Duration // when, since the beginning
}

func newOwner() *owner {
	o := &owner{}
	began := time.Now()
	o.alarm = Of(&o.routines, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.rung = append(o.rung, time.Since(began))
	})
	return o
}

func (o *owner) set(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alarm.Set(d)
}

func (o *owner) stop() {
	o.mu.Lock()
	o.alarm.Stop()
	o.mu.Unlock()
	o.routines.Wait()
}

func (o *owner) check(t *testing.T, want ...time.Duration) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.rung) != len(want) {
		t.Fatalf("rang at %v, want %v", o.rung, want)
	}
	for i := range want {
		if o.rung[i] != want[i] {
			t.Fatalf("rang at %v, want %v", o.rung, want)
		}
	}
}

func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner()
		o.stop() // one that was never set
		o.set(time.Second)
		time.Sleep(3 * time.Second)
		o.check(t, time.Second)
		o.set(time.Second) // once more
		time.Sleep(3 * time.Second)
		o.check(t, time.Second, 4*time.Second)
		o.set(time.Second)
		o.set(2 * time.Second) // replaces the second before
		time.Sleep(3 * time.Second)
		o.check(t, time.Second, 4*time.Second, 8*time.Second)
		o.set(time.Second)
		o.stop()
		o.stop()
		time.Sleep(3 * time.Second)
		o.check(t, time.Second, 4*time.Second, 8*time.Second)
	})
}

// The owner waits for a call that has begun.
func TestAlarmIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, release := newOwner(), make(chan struct{})
		o.alarm.ring = func() { <-release }
		o.set(time.Second)
		time.Sleep(2 * time.Second)
		stopped := make(chan struct{})
		go func() { o.stop(); close(stopped) }()
		synctest.Wait()
		select {
		case <-stopped:
			t.Fatal("stopped during the call")
		default:
		}
		close(release)
		<-stopped
	})
}

// Setting, stopping and going off at the same time neither lose a count nor leave one.
func TestAlarmRaces(t *testing.T) {
	for range 2000 {
		o := newOwner()
		var setters sync.WaitGroup
		for i := range 3 {
			setters.Go(func() { o.set(time.Duration(i) * time.Microsecond) })
		}
		setters.Wait()
		o.stop()
	}
}
