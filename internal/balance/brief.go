package balance

import (
	"time"

	"silly.store/etcd/internal/transport"
)

// A proxy in front of a member may end each connection after few requests. The check of
// a new connection is one of them, and may be the only one. So where connections are
// that brief, one that was made soon after another was found good is not checked: each
// answer says which cluster it is from anyway.

const (
	// fewRequests: a connection that the server has ended in good order after so many
	// answers or less was brief.
	fewRequests = 100
	// trustFor is for how long a check is good for later connections.
	trustFor = time.Minute
)

// trust records how connections to one place have fared.
type trust struct {
	brief   bool      // the last one that is over was
	checked time.Time // when one was found good last
}

// trusted: a connection to the place need not be checked.
func (s *Set) trusted(m *member, place string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := m.trust[place]
	return t.brief && time.Since(t.checked) < trustFor
}

// found notes that a connection to the place was found good. brief: that has used it up.
func (s *Set) found(m *member, place string, brief bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := m.trust[place]
	t.checked, t.brief = time.Now(), t.brief || brief
	m.trustLocked(place, t)
}

func (m *member) trustLocked(place string, t trust) {
	if m.trust == nil {
		m.trust = make(map[string]trust)
	}
	m.trust[place] = t
}

// served is how many requests the connection has answered, those of the check not
// counted, and whether it was ended in good order.
func (b *connBox) served() (requests int, orderly bool) {
	l, ok := b.Conn.(transport.Limited)
	if !ok {
		return 0, false
	}
	requests, orderly = l.Served()
	return requests - b.checks, orderly
}

// partedLocked notes that b, a connection of m's for l, takes no more requests, and when
// another may be made.
func (m *member) partedLocked(l *link, b *connBox, now time.Time) {
	young := now.Sub(b.since) < stableAfter
	served, orderly := b.served()
	t := m.trust[b.place]
	usedUp := orderly && served == 0 && b.checks > 0 && !t.brief // by the check, which the next one does without
	t.brief = young && orderly && served < fewRequests
	m.trustLocked(b.place, t)
	if !young || b.Answered() {
		l.failures = 0
	}
	if young && !(orderly && served > 0) && !usedUp {
		l.backOffLocked(now)
	}
}
