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

// reach dials m and checks what is there. It returns no connection that it has
// not found good.
func (s *Set) reach(ctx context.Context, target transport.Target) (transport.Conn, Identity, error) {
	conn, err := s.dial(ctx, target)
	if err != nil || !s.wary() {
		return conn, Identity{}, err
	}
	id, err := s.check(ctx, conn)
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil { // not the caller's context, whatever err says
			err = &transport.Error{
				Code: transport.Unavailable, Outcome: transport.NotSent,
				Message: "connected, but the member did not answer: " + context.Cause(ctx).Error(), Cause: context.Cause(ctx),
			}
		}
		return nil, Identity{}, err
	}
	return conn, id, nil
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

// identifyLocked notes which member m is. What is not known leaves all as it is.
func (s *Set) identifyLocked(m *member, id Identity) {
	if id == (Identity{}) || id == m.identity {
		return
	}
	m.identity = id
	s.view.Store(arrangeLocked(s.view.Load().members))
}

// Identify connects to e, as PickNamed does, and says who is there. From now on
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
