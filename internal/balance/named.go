package balance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"silly.store/etcd/internal/transport"
)

// PickNamed connects to one endpoint, for calls that are meant for one member.
// If the set has a member at that address it is that one. Otherwise it is a
// guest: connected to like a member, but never chosen by Pick, and forgotten when
// its connections are over and another guest comes.
func (s *Set) PickNamed(ctx context.Context, lane Lane, e Endpoint) (Picked, error) {
	for {
		// Anew each time: a member that is taken out of the set is a guest then.
		m, d, err := s.connectNamed(e, lane)
		if err != nil {
			return Picked{}, err
		}
		l := &m.links[lane]
		if c := l.current(); c != nil && c.State() <= transport.Suspect {
			return m.picked(c), nil
		}
		if err := s.awaitNamed(ctx, m, l, d); err != nil {
			return Picked{}, err
		}
	}
}

// awaitNamed waits for a dial of m; without one, after a failure, until m may be
// tried again, if that is soon.
func (s *Set) awaitNamed(ctx context.Context, m *member, l *link, d *dial) error {
	if d == nil {
		return s.awaitBackoff(ctx, m, l)
	}
	select {
	case <-d.done:
		if d.conn == nil {
			return s.namedError(m, l)
		}
		return nil
	case <-ctx.Done():
		return contextError(ctx, connectingTo(m))
	}
}

func (s *Set) awaitBackoff(ctx context.Context, m *member, l *link) error {
	s.mu.Lock()
	wait := time.Until(l.notBefore)
	s.mu.Unlock()
	if wait > shortBackoff {
		return s.namedError(m, l)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return contextError(ctx, connectingTo(m))
	}
}

func connectingTo(m *member) error { return fmt.Errorf("connecting to %s", m.endpoint.Name) }

// connectNamed is connect for the member at e's address, or a guest. Both under
// one lock: a guest that is not connected to is forgotten when the next one comes.
func (s *Set) connectNamed(e Endpoint, lane Lane) (*member, *dial, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, closedError()
	}
	m := s.namedLocked(e)
	d, err := s.connectLocked(m, lane)
	return m, d, err
}

// namedLocked is the member at e's address, or a guest.
func (s *Set) namedLocked(e Endpoint) *member {
	for _, all := range [][]*member{s.view.Load().members, s.guests} {
		for _, m := range all {
			if m.endpoint.SameAddress(e) {
				return m
			}
		}
	}
	s.guests = slices.DeleteFunc(s.guests, s.forgetLocked)
	s.mistrust.Store(true) // it may be of another cluster
	guest := newMember(e)
	s.guests = append(s.guests, guest)
	return guest
}

// SameAddress reports whether both lead to the same place in the same way.
func (e Endpoint) SameAddress(o Endpoint) bool {
	return e.Target.Network == o.Target.Network && e.Target.Address == o.Target.Address &&
		(e.Target.TLS != nil) == (o.Target.TLS != nil)
}

// forgetLocked gives up a guest that is not used. It reports whether it was.
func (s *Set) forgetLocked(m *member) bool {
	if !m.unusedLocked() {
		return false
	}
	for _, over := range m.takeAllLocked() {
		s.routines.Go(func() { _ = over.Close() })
	}
	return true
}

// unusedLocked: m has no connection and none is being made.
func (m *member) unusedLocked() bool {
	for i := range m.links {
		l := &m.links[i]
		if l.dialing != nil {
			return false
		}
		for _, c := range append(slices.Clone(l.draining), l.current()) {
			if c != nil && c.State() != transport.Closed {
				return false
			}
		}
	}
	return true
}

// namedError is why m cannot be had.
func (s *Set) namedError(m *member, l *link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedError()
	}
	e := &UnreachableError{Failures: []EndpointError{{m.endpoint.Name, l.lastErr}}}
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: e}
}
