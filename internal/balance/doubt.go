package balance

import (
	"context"
	"slices"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/transport"
)

// A member may answer PINGs and no requests. Where there are other endpoints it is set
// aside. Behind the only one there may be another member, to which another connection
// would lead; or one member, or all, may be slow. So members are compared before a
// connection is replaced:
//
//	good      until a request on it is not answered in time
//	doubted   it is probed; good again if the probe is answered
//	mute      the probe was not answered: others are dialed to the same address, as beside
//	          a suspect one, and each of them is probed
//	replaced  by the first whose probe is answered; it ends with its last stream
//
// A mute connection is good again when no other one answers either. The next doubt
// counts after a pause that doubles each time.

// doubtAgain spaces the comparisons.
var doubtAgain = backoff.Backoff{First: 2 * time.Second, Cap: 30 * time.Second}

// Doubt notes that a request on p was not answered in time. It returns what is closed when
// the comparison that follows, or was under way, is over; nil when there is none, as where
// p's endpoint is not the only one. A full connection is no sign of a mute member: spare.go
// sees to that.
func (s *Set) Doubt(p Picked) <-chan struct{} {
	m := p.member
	if m == nil || s.probe == nil || s.Size() != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, now := &m.links[p.lane], time.Now()
	b := l.conn.Load()
	switch {
	case s.closed || m.removed.Load() || !slices.Contains(s.view.Load().members, m):
		return nil
	case b == nil || b.Conn != p.Conn || b.State() != transport.Ready || isFull(b):
		return nil
	case l.comparing != nil:
		return l.comparing
	case now.Before(l.doubtDue):
		return nil
	case now.Sub(l.doubtDue) >= goodFor:
		l.doubts = 0
	}
	l.comparing = make(chan struct{})
	s.routines.Go(func() { s.compare(m, p.lane, b) })
	return l.comparing
}

// Replaced reports whether p's member has another connection in the place of p's.
func (p Picked) Replaced() bool {
	return p.member != nil && p.member.links[p.lane].current() != p.Conn
}

// compare is the goroutine of one comparison.
func (s *Set) compare(m *member, lane Lane, b *connBox) {
	if s.unanswered(s.ctx, b.Conn) != nil && !isFull(b) {
		s.mu.Lock()
		b.mute = true
		d, _ := s.connectLocked(m, lane, isMute) // when closed, there is nothing to do
		s.mu.Unlock()
		if d != nil {
			<-d.done
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &m.links[lane]
	b.mute = false
	l.doubtDue = time.Now().Add(doubtAgain.Span(l.doubts))
	l.doubts++
	close(l.comparing)
	l.comparing = nil
}

// unanswered probes the member at the end of a connection.
func (s *Set) unanswered(ctx context.Context, c transport.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return s.probe(ctx, c)
}

func isMute(b *connBox) bool { return b.mute }
