package balance

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// An outage is a time in which no member can be reached. At its end all clients of the
// cluster come back at once, to members that are busy with their own start, so each dial
// takes longer than usual, and each one more makes all of them longer. For recovery after
// the first connection is up, a client therefore dials what it needs and no more: one
// member for each lane, and the others at times of its own choice.

const (
	// recovery is over how long the dials of members that are not needed are spread.
	recovery = 4 * time.Second
	// outageStagger takes the place of stagger during an outage and the recovery.
	outageStagger = 600 * time.Millisecond
)

// outage is what a set knows of the last one.
type outage struct {
	// until is when the recovery is over, on Set.now's clock. Written with Set.mu held.
	until atomic.Int64
	// revived is closed, and replaced, when a connection has come up. Guarded by Set.mu.
	revived chan struct{}
}

// Revived is closed when the next connection comes up, in any lane.
func (s *Set) Revived() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outage.revived
}

// NextTry is when the next pick in lane may dial a member, if none is up.
func (s *Set) NextTry(lane Lane) time.Time { return s.nextTry(lane) }

// inOutageLocked reports whether every member was tried in some lane, and none is up.
func (s *Set) inOutageLocked() bool {
	for _, m := range s.view.Load().members {
		if !m.endpoint.Finder && !m.unreachedLocked() {
			return false
		}
	}
	return true
}

func (m *member) unreachedLocked() bool {
	failed := false
	for i := range m.links {
		l := &m.links[i]
		if l.current() != nil {
			return false
		}
		failed = failed || l.failures > 0
	}
	return failed
}

// staggerLocked is how long a pick waits for one dial before it starts another one.
func (s *Set) staggerLocked() time.Duration {
	if int64(s.now()) < s.outage.until.Load() || s.inOutageLocked() {
		return outageStagger
	}
	return stagger
}

// cameUpLocked notes that a connection of m has come up, the first one after an outage or
// another one. What is up in one lane can be reached in the others.
func (s *Set) cameUpLocked(m *member, afterOutage bool) {
	close(s.outage.revived)
	s.outage.revived = make(chan struct{})
	now := time.Now()
	for i := range m.links {
		if l := &m.links[i]; l.dialing == nil && l.current() == nil && l.notBefore.After(now) {
			l.notBefore = now
			l.due.Store(int64(now.Sub(s.epoch)))
		}
	}
	if !afterOutage {
		return
	}
	s.outage.until.Store(int64(s.now() + recovery))
	for _, m := range s.view.Load().members {
		for i := range m.links {
			m.links[i].spareDue.Store(int64(s.now() + rand.N(recovery)))
		}
	}
}
