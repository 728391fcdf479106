package balance

import "time"

// A learner refuses nearly everything, and goes on refusing until it is promoted. Calls
// prefer every other member. A set that knows only learners asks for another connection
// to the same address once in a while, because a balancer in front of several members may
// have chosen the learner.

// seekAfter is how long a connection to a learner is kept before another one may be made
// to its address in search of another member.
const seekAfter = 2 * time.Second

// LearnerRefuses notes that p's member has refused a request because it is a learner. It
// reports whether another member may accept the request, now or later. With seek it gives
// up the connection where only another member behind the same address could, so that the
// next one may lead there.
func (s *Set) LearnerRefuses(p Picked, seek bool) bool {
	m := p.member
	if m == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identifyLocked(m, Identity{Member: m.identity.Member, Learner: true})
	for _, other := range s.view.Load().members {
		if other != m && !other.endpoint.Finder && !other.identity.Learner {
			return true
		}
	}
	l, now := &m.links[p.lane], time.Now()
	if !seek || s.closed || m.removed.Load() || now.Sub(m.sought) < seekAfter {
		return l.current() != p.Conn // the next connection may lead to another member
	}
	m.sought = now
	s.mistrust.Store(true)
	m.trust = nil
	for _, c := range l.takeAllLocked() {
		s.routines.Go(func() { s.drain(c) })
	}
	return true
}
