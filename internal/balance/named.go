package balance

import (
	"context"
	"slices"
	"time"

	"silly.store/etcd/internal/transport"
)

// PickNamed connects to one endpoint, for calls that are meant for one member. If the
// set has a member at that address, PickNamed uses it. Otherwise it makes an ad-hoc
// member: connected to like any member, but never chosen by Pick, and forgotten when its
// connections have ended and another ad-hoc member is made.
func (s *Set) PickNamed(ctx context.Context, lane Lane, e Endpoint) (Picked, error) {
	for {
		// Looked up each time: a member that was removed from the set is ad hoc then.
		m, d, err := s.connectNamed(e, lane)
		if err != nil {
			return Picked{}, err
		}
		if c := m.links[lane].current(); c != nil && c.State() <= transport.Suspect {
			return m.picked(c, lane), nil
		}
		if err := s.awaitNamed(ctx, m, lane, d); err != nil {
			return Picked{}, err
		}
	}
}

// PickBeside connects to the endpoint of p, which drains, in the given lane.
func (s *Set) PickBeside(ctx context.Context, lane Lane, p Picked) (Picked, error) {
	m := p.member
	for {
		d, err := s.connect(m, lane, nil)
		if err != nil {
			return Picked{}, err
		}
		if c := m.links[lane].current(); c != nil && c.State() <= transport.Suspect {
			return m.picked(c, lane), nil
		}
		if p.Removed() {
			return Picked{}, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrDraining}
		}
		if err := s.awaitNamed(ctx, m, lane, d); err != nil {
			return Picked{}, err
		}
	}
}

// awaitNamed waits for a dial of m; without one, after a failure, until m may be
// tried again, if that is soon.
func (s *Set) awaitNamed(ctx context.Context, m *member, lane Lane, d *dial) error {
	if d == nil {
		return s.awaitBackoff(ctx, m, lane)
	}
	select {
	case <-d.done:
		if d.conn == nil {
			return s.namedError(m, lane)
		}
		return nil
	case <-ctx.Done():
		return s.interruptedNamed(ctx, m, lane)
	}
}

func (s *Set) awaitBackoff(ctx context.Context, m *member, lane Lane) error {
	s.mu.Lock()
	wait := time.Until(m.links[lane].notBefore)
	s.mu.Unlock()
	if wait > shortBackoff {
		return s.namedError(m, lane)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return s.interruptedNamed(ctx, m, lane)
	}
}

func (s *Set) interruptedNamed(ctx context.Context, m *member, lane Lane) error {
	return interrupted(ctx, "connecting to "+m.endpoint.Name, s.failures([]*member{m}, lane))
}

// connectNamed is connect for the member at e's address, or an ad-hoc member. Both steps
// hold the lock: an ad-hoc member without a connection is forgotten when the next one is
// made.
func (s *Set) connectNamed(e Endpoint, lane Lane) (*member, *dial, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, closedError()
	}
	m := s.namedLocked(e)
	d, err := s.connectLocked(m, lane, nil)
	return m, d, err
}

// namedLocked returns the member at e's address, or an ad-hoc member.
func (s *Set) namedLocked(e Endpoint) *member {
	for _, all := range [][]*member{s.view.Load().members, s.adHoc} {
		for _, m := range all {
			if m.endpoint.SameAddress(e) {
				return m
			}
		}
	}
	s.adHoc = slices.DeleteFunc(s.adHoc, s.forgetLocked)
	s.mistrust.Store(true) // it may be of another cluster
	m := newMember(e)
	s.adHoc = append(s.adHoc, m)
	return m
}

// SameAddress reports whether both lead to the same place in the same way.
func (e Endpoint) SameAddress(o Endpoint) bool {
	return e.Target.Network == o.Target.Network && e.Target.Address == o.Target.Address &&
		(e.Target.TLS != nil) == (o.Target.TLS != nil)
}

// forgetLocked gives up an ad-hoc member without connections. It reports whether it did.
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
		for _, b := range l.full {
			if b.State() != transport.Closed {
				return false
			}
		}
	}
	return true
}

// namedError is why m cannot be had.
func (s *Set) namedError(m *member, lane Lane) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedError()
	}
	return unreachable([]EndpointError{{m.endpoint.Name, m.links[lane].lastErr}})
}
