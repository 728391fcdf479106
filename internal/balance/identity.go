package balance

import (
	"context"

	"silly.store/etcd/internal/transport"
)

// Identity is which member a connection leads to.
type Identity struct {
	Member  uint64 // 0: it did not say
	Learner bool   // it refuses most calls
}

// Checker looks at a new connection before it takes calls; its error refuses
// the connection.
type Checker func(ctx context.Context, conn transport.Conn) (Identity, error)

// wary reports whether new connections are checked: those of a set with one
// endpoint are not, until that is replaced or has shown that it needs it.
func (s *Set) wary() bool {
	return s.check != nil && (len(s.view.Load().members) > 1 || s.mistrust.Load())
}

// Reject gives up the connection of p, whose answers have shown that it is not
// fit for use, and has all connections checked from now on.
func (s *Set) Reject(p Picked, reason error) {
	s.mistrust.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || p.member == nil {
		return
	}
	p.member.trust = nil
	// The other lanes lead there too. What is under way learns the same from its
	// own answer.
	for i := range p.member.links {
		l := &p.member.links[i]
		for _, c := range l.takeAllLocked() {
			s.routines.Go(func() { s.drain(c) })
		}
		l.lastErr = reason
	}
}

// identifyLocked notes which member m is. An empty identity changes nothing.
func (s *Set) identifyLocked(m *member, id Identity) {
	if id == (Identity{}) || id == m.identity {
		return
	}
	m.identity = id
	s.view.Store(arrangeLocked(s.view.Load().members))
}

// Identify connects to e, as PickNamed does, and returns the identity of the member there. From now on
// all connections are checked.
func (s *Set) Identify(ctx context.Context, e Endpoint) (Identity, error) {
	s.mistrust.Store(true)
	p, err := s.PickNamed(ctx, Unary, e)
	if err != nil {
		return Identity{}, err
	}
	s.mu.Lock()
	id := p.member.identity
	s.mu.Unlock()
	if id != (Identity{}) && !id.Learner || s.check == nil {
		return id, nil
	}
	// It was not checked when it was the only endpoint, or may have been promoted.
	if id, err = s.check(ctx, p.Conn); err != nil {
		return Identity{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identifyLocked(p.member, id)
	return id, nil
}
