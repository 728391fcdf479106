package coalesce

import "time"

// stallTick is how often a queue in which calls wait looks for stalled requests.
const stallTick = 250 * time.Millisecond

// stalls finds requests that hang. A hung member must not hold up calls that another
// member would answer, so a stalled request gives up its place in the window: the
// queue has stalls.count extra places until those requests have ended.
//
// It is idle or watching. watch starts its timer, look handles one tick:
//
//	idle      a call waits                                watching
//	watching  tick; no call waits, no request under way   idle
//	watching  tick; calls wait, no request has ended      all requests under way
//	          since the tick before                       are stalled; watching
//	watching  any other tick                              watching
//
// The first tick never finds anything, so a request counts as stalled after one to
// two ticks in which no request ended. An era begins whenever stalled requests are
// found: a request is stalled if and only if it was sent in an earlier era.
//
// Guarded by queue.mu.
type stalls struct {
	timer     *time.Timer // nil: no call has waited yet
	watching  bool        // the timer runs, or its tick waits for queue.mu
	completed bool        // a request has ended since the last tick
	era       int         // how often stalled requests were found
	count     int         // requests in flight that were sent before era
}

// watch leaves the idle state. tick is called at each tick.
func (s *stalls) watch(tick func()) {
	s.watching, s.completed = true, true
	if s.timer == nil {
		s.timer = time.AfterFunc(stallTick, tick)
		return
	}
	s.timer.Reset(stallTick)
}

// look reports whether it found stalled requests, and starts the next tick.
func (s *stalls) look(inFlight, waiting int) (found bool) {
	if found = waiting > 0 && !s.completed; found {
		s.count = inFlight
		s.era++
	}
	s.completed = false
	s.timer.Reset(stallTick)
	return found
}

// ended records the end of a request that was sent in era.
func (s *stalls) ended(era int) {
	s.completed = true
	if era < s.era {
		s.count--
	}
}

// stop makes the detector idle. It returns false if the detector is already idle, or
// if a tick has begun, which will make it idle.
func (s *stalls) stop() bool {
	if !s.watching || !s.timer.Stop() {
		return false
	}
	s.watching = false
	return true
}

// watchLocked starts looking for stalled requests. The timer counts as a routine of
// the coalescer until the detector is idle again.
func (q *queue) watchLocked() {
	if q.stalls.watching {
		return
	}
	q.c.routines.Add(1)
	q.stalls.watch(q.tick)
}

func (q *queue) tick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.waiting) == 0 && q.inFlight == 0 {
		q.stalls.watching = false
		q.c.routines.Done()
		return
	}
	if q.stalls.look(q.inFlight, len(q.waiting)) {
		q.launchLocked()
	}
}
