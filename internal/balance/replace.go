package balance

import (
	"slices"

	"silly.store/etcd/internal/transport"
)

// Replace makes endpoints, one at least, the members of the set. A member whose
// endpoint has the same name stays with its connections. Those that are not
// named any longer are not chosen again: their calls finish, holders of streams, who are to
// ask Picked.Removed afterwards, move, and each connection ends with its last stream.
//
// It reports false when the set is closed.
func (s *Set) Replace(endpoints []Endpoint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.mistrust.Store(true)
	before := s.view.Load().members
	now := newViewLocked(endpoints, slices.Concat(before, s.adHoc))
	s.view.Store(now)
	joined := func(m *member) bool { return slices.Contains(now.members, m) }
	s.adHoc = slices.DeleteFunc(s.adHoc, joined)
	for _, m := range before {
		if !joined(m) {
			s.retireLocked(m)
		}
	}
	return true
}

// Endpoints returns the names of the members, in the order in which they were given.
func (s *Set) Endpoints() []string {
	members := s.Members()
	names := make([]string, len(members))
	for i, e := range members {
		names[i] = e.Name
	}
	return names
}

// Removed reports whether the member has been taken out of the set. Streams that
// do not end by themselves move elsewhere then.
func (p Picked) Removed() bool { return p.member != nil && p.member.removed.Load() }

func (s *Set) retireLocked(m *member) {
	m.removed.Store(true)
	s.preferred.CompareAndSwap(m, nil)
	for _, c := range m.takeAllLocked() {
		s.routines.Go(func() { s.drain(c) })
	}
}

// drain is the goroutine of a connection that ends with its last stream.
func (s *Set) drain(c transport.Conn) {
	c.Drain()
	select {
	case <-c.Done():
	case <-s.ctx.Done():
	}
	_ = c.Close()
}
