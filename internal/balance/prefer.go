package balance

// Prefer makes Preferred give the member of that name; with "" or the name of
// none it gives none.
func (s *Set) Prefer(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var preferred *member
	for _, m := range s.view.Load().members {
		if m.endpoint.Name == name {
			preferred = m
		}
	}
	s.preferred.Store(preferred)
}

// Preferred is the preferred member's connection, if there is one, fit and not quiet.
// Like Up it never waits, and has a member that is not fit tended to.
func (s *Set) Preferred(lane Lane) (Picked, bool) {
	m := s.preferred.Load()
	if m == nil {
		return Picked{}, false
	}
	switch c := m.fit(lane); {
	case c == nil:
		s.tend(m, lane)
	case !c.Quiet():
		return m.picked(c, lane), true
	}
	return Picked{}, false
}

// Members are the endpoints of the members.
func (s *Set) Members() []Endpoint {
	var list []Endpoint
	for _, m := range s.view.Load().members {
		if !m.endpoint.Finder {
			list = append(list, m.endpoint)
		}
	}
	return list
}
