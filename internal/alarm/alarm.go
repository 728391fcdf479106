// Package alarm calls a function after a while and lets the owner wait for the call. A
// goroutine that sleeps on a timer costs two kilobytes of stack; an alarm costs nothing
// while it is not set, and a timer afterwards.
package alarm

import (
	"sync"
	"time"
)

// Alarm calls a function in its own goroutine when its time has come. The owner's lock
// guards its methods. The function is called without that lock, and once for each time that
// the alarm goes off; two calls may overlap when the alarm is set again during the first.
//
// The alarm counts in the owner's WaitGroup from Set until Stop or the end of the call. So
// an owner stops its alarms, sets none afterwards, and waits for the group.
type Alarm struct {
	routines *sync.WaitGroup
	ring     func()
	timer    *time.Timer // nil until the alarm is set first
}

// Of returns an alarm that is not set. It calls ring, and counts in routines.
func Of(routines *sync.WaitGroup, ring func()) Alarm {
	return Alarm{routines: routines, ring: ring}
}

// Set has the alarm go off after d. If it is set already, d replaces the time that was
// left.
func (a *Alarm) Set(d time.Duration) {
	if a.timer == nil {
		a.routines.Add(1)
		a.timer = time.AfterFunc(d, a.goOff)
		return
	}
	if !a.timer.Reset(d) {
		a.routines.Add(1)
	}
}

// Stop takes Set back. A call that has begun goes on.
func (a *Alarm) Stop() {
	if a.timer != nil && a.timer.Stop() {
		a.routines.Done()
	}
}

func (a *Alarm) goOff() {
	defer a.routines.Done()
	a.ring()
}
